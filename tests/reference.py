"""A second simulator, slow and plain: what the engine must agree with, span by span.

It walks the schedule's programs in order of simulated time, one event after another, and never lets a worker run
ahead of the clock: a worker begins its next op when the op before has ended; a link carries one message at a time
in the order of posting; a device that several workers use serves them one at a time, or divides its speed.
A worker's host has a time of its own, at which it is done with what it issued so far.
Constant durations only. No SimPy, and nothing of `spdsim.engine`.
"""

from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field

from spdsim.distributions import Constant, Distribution
from spdsim.machine import Duration, Machine
from spdsim.schedules.ops import Compute, Op, Payload, Recv, Send, Verdict, op_name
from spdsim.schedules.spd import Layout, advance, program, start
from spdsim.trace import Span

Channel = tuple[Payload, int, int]


@dataclass(frozen=True, slots=True)
class Todo:
    """An op that a worker has to perform, with what is known of its cycle."""

    cycle: int
    depth: int
    op: Op


@dataclass(slots=True)
class Job:
    """A computation on a device that several workers use: alone it takes `duration_s`; `left_s` is still to do."""

    worker: int
    duration_s: float
    left_s: float
    start_s: float
    issued_s: float


@dataclass(slots=True)
class Device:
    """The computations that run, and those that wait for their turn."""

    running: list[Job] = field(default_factory=list)
    queue: deque[Job] = field(default_factory=deque)


@dataclass(slots=True)
class Link:
    """The messages that wait: (seconds on the way, channel); and whether one is on its way."""

    is_busy: bool = False
    queue: deque[tuple[float, Channel]] = field(default_factory=deque)


def simulate(machine: Machine, verdicts: str, start_s: float = 0.0) -> list[Span]:
    """Return the spans of one sequence of len(verdicts) + 1 tokens, in the order in which they ended.

    verdicts: a letter per verified draft, "A" accepted or "R" rejected.
    """
    return _Simulation(machine, verdicts, start_s).run()


def todo_of(machine: Machine, verdicts: str, worker: int) -> list[Todo]:
    """Return everything that `worker` does in one sequence, in its order."""
    todo = []
    assert isinstance(machine.layout, Layout)
    state = start(machine.layout, len(verdicts) + 1)
    while not state.is_done:
        todo += [Todo(state.cycle, len(state.in_flight), op) for op in program(state, worker)]
        is_accepted = state.cycle < 0 or verdicts[state.committed - 1] == "A"
        state = advance(state, Verdict(is_accepted) if state.is_full else None)
    return todo


class _Simulation:
    def __init__(self, machine: Machine, verdicts: str, start_s: float) -> None:
        workers = range(machine.layout.num_workers)
        users = [worker.device for worker in machine.workers]
        self._machine = machine
        self._now = start_s
        self._todo = [deque(todo_of(machine, verdicts, worker)) for worker in workers]
        self._began = [start_s for _ in workers]
        self._host_s = [start_s for _ in workers]
        self._agenda: list[tuple[float, Callable[[], None]]] = []
        self._devices = {device: Device() for device in users if users.count(device) > 1}
        self._links = [Link() for _ in machine.links]
        self._arrived: dict[Channel, int] = defaultdict(int)
        self._came: dict[Channel, deque[float]] = defaultdict(deque)
        self._waiting: dict[Channel, int] = {}
        self._spans: list[Span] = []
        for worker in workers:
            self._at(start_s, lambda worker=worker: self._begin(worker))  # type: ignore[misc]

    def run(self) -> list[Span]:
        """Do what comes next, until nothing is left to do."""
        while self._agenda or any(device.running for device in self._devices.values()):
            # The first of those that come earliest: what was planned first is done first.
            planned = min(range(len(self._agenda)), key=lambda i: self._agenda[i][0], default=None)
            device = min(self._busy_devices(), key=self._first_end_s, default=None)
            planned_s = float("inf") if planned is None else self._agenda[planned][0]
            if device is not None and self._first_end_s(device) < planned_s:
                self._pass_time(self._first_end_s(device))
                self._end_first_job(device)
            else:
                assert planned is not None
                _, action = self._agenda.pop(planned)
                self._pass_time(planned_s)
                action()
        assert not any(self._todo) and not self._waiting, "deadlock"
        return self._spans

    # Time.

    def _at(self, time_s: float, action: Callable[[], None]) -> None:
        self._agenda.append((time_s, action))

    def _pass_time(self, until_s: float) -> None:
        for device in self._devices.values():
            for job in device.running:
                job.left_s -= (until_s - self._now) / len(device.running)
        self._now = until_s

    # Workers.

    def _begin(self, worker: int) -> None:
        """Let `worker` begin its next op now."""
        self._began[worker] = self._now
        if not self._todo[worker]:
            return
        todo = self._todo[worker][0]
        match todo.op:
            case Compute(task, position):
                duration = self._machine.tasks[worker, task]
                duration_s = self._duration_s(duration, todo.depth, position)
                begin_s = self._now
                if duration.issue is not None:
                    begin_s = max(begin_s, self._host_s[worker] + duration.issue.lead_s)
                    self._host_s[worker] += duration.issue.total_s
                self._at(begin_s, lambda: self._compute(worker, duration, duration_s, task == "commit"))
            case Send(payload, _, to):
                message = self._machine.messages[payload, worker, to]
                self._host_s[worker] += _seconds(message.post) + (message.control_s if todo.cycle >= 0 else 0.0)
                sent_s = max(self._now, self._host_s[worker])
                self._at(sent_s, lambda: self._post(worker, todo.cycle, (payload, worker, to)))
            case Recv(payload, _, source):
                channel = (payload, source, worker)
                message = self._machine.messages[channel]
                if message.receipt == "posted":
                    self._host_s[worker] += message.receive_s
                posted_s = max(self._now, self._host_s[worker])
                if posted_s > self._now and message.receipt == "posted":
                    self._handled(worker, self._now, posted_s)
                    self._began[worker] = posted_s
                    self._at(posted_s, lambda: self._await(channel))
                else:
                    self._await(channel)

    def _await(self, channel: Channel) -> None:
        if self._arrived[channel]:
            self._receive(channel)
        else:
            self._waiting[channel] = channel[2]

    def _handled(self, worker: int, from_s: float, to_s: float) -> None:
        """Record what handling a receipt takes the host."""
        todo = self._todo[worker][0]
        assert isinstance(todo.op, Recv)
        name = f"handle {todo.op.payload}"
        self._spans.append(Span(worker, todo.cycle, name, todo.op.position, from_s, to_s, todo.op.source))

    def _compute(self, worker: int, duration: Duration, duration_s: float, is_bookkeeping: bool) -> None:
        """Let the device begin a computation now; it ends when its host, too, is done with it."""
        device = self._devices.get(self._machine.workers[worker].device)
        issued_s = self._host_s[worker] if duration.issue is not None else self._now
        if device is None or is_bookkeeping or duration_s == 0.0:
            self._at(self._now + duration_s, lambda: self._computed(worker, self._began[worker], issued_s))
        else:
            device.queue.append(Job(worker, duration_s, duration_s, self._now, issued_s))
            self._start_jobs(device)

    def _computed(self, worker: int, started_s: float, issued_s: float) -> None:
        """End a computation on the device now, and the op when its host has issued it, too.

        A host that waits for it, as for anything that it did not issue ahead, is here then.
        """
        todo = self._todo[worker][0]
        assert isinstance(todo.op, Compute)
        issue = self._machine.tasks[worker, todo.op.task].issue
        if issue is None or issue.is_read:
            self._host_s[worker] = max(self._now, issued_s)
        self._record(worker, started_s)
        if issued_s > self._now and issue is not None:
            name = f"issue {todo.op.task}"
            self._spans.append(Span(worker, todo.cycle, name, todo.op.position, self._now, issued_s))
        self._todo[worker].popleft()
        self._at(max(self._now, issued_s), lambda: self._begin(worker))

    def _end(self, worker: int, started_s: float) -> None:
        """Record the op that `worker` has just ended, and let it begin the next."""
        self._record(worker, started_s)
        self._todo[worker].popleft()
        self._at(self._now, lambda: self._begin(worker))

    def _record(self, worker: int, started_s: float) -> None:
        todo = self._todo[worker][0]
        peer = todo.op.to if isinstance(todo.op, Send) else todo.op.source if isinstance(todo.op, Recv) else None
        self._spans.append(
            Span(worker, todo.cycle, op_name(todo.op), todo.op.position, started_s, self._now, peer)
        )  # fmt: skip

    def _duration_s(self, duration: Duration, depth: int, position: int) -> float:
        base = duration.base
        if duration.by_fill_depth is not None and depth >= 1:
            base = duration.by_fill_depth[min(depth, len(duration.by_fill_depth)) - 1]
        return _seconds(base) + duration.per_context_token_s * (self._machine.prompt_tokens + position)

    # Devices.

    def _busy_devices(self) -> list[Device]:
        return [device for device in self._devices.values() if device.running]

    def _first_end_s(self, device: Device) -> float:
        return self._now + max(0.0, min(job.left_s for job in device.running)) * len(device.running)

    def _start_jobs(self, device: Device) -> None:
        while device.queue and (self._machine.sharing == "bandwidth" or not device.running):
            job = device.queue.popleft()
            job.start_s = self._now
            device.running.append(job)

    def _end_first_job(self, device: Device) -> None:
        job = min(device.running, key=lambda job: job.left_s)
        device.running.remove(job)
        self._start_jobs(device)
        # Of a computation that was slowed down, the span shows its length alone, up to its real end.
        started_s = job.start_s if self._machine.sharing == "turns" else self._now - job.duration_s
        self._computed(job.worker, started_s, job.issued_s)

    # Messages.

    def _post(self, worker: int, cycle: int, channel: Channel) -> None:
        self._end(worker, self._began[worker])
        message = self._machine.messages[channel]
        if message.link is None:
            self._deliver(channel)
        else:
            transit_s = _seconds(message.prefill_transit if cycle < 0 else message.transit)
            self._links[message.link].queue.append((transit_s, channel))
            self._carry_next(self._links[message.link])

    def _carry_next(self, link: Link) -> None:
        if link.queue and not link.is_busy:
            transit_s, channel = link.queue.popleft()
            link.is_busy = True
            self._at(self._now + transit_s, lambda: self._carried(link, channel))

    def _carried(self, link: Link, channel: Channel) -> None:
        link.is_busy = False
        self._carry_next(link)
        self._deliver(channel)

    def _deliver(self, channel: Channel) -> None:
        self._arrived[channel] += 1
        self._came[channel].append(self._now)
        if channel in self._waiting:
            del self._waiting[channel]
            self._receive(channel)

    def _receive(self, channel: Channel) -> None:
        self._arrived[channel] -= 1
        message, worker = self._machine.messages[channel], channel[2]
        if message.receipt == "posted":
            self._end(worker, self._began[worker])
            return
        # Who only reads is ready as soon as the message is there, whatever the device still does.
        ready_s = self._now if message.receipt == "serial" else max(self._host_s[worker], self._came[channel].popleft())
        self._host_s[worker] = ready_s + message.receive_s
        handled_s = max(self._now, self._host_s[worker])
        self._record(worker, self._began[worker])
        if handled_s > self._now:
            self._handled(worker, self._now, handled_s)
        self._todo[worker].popleft()
        self._at(handled_s, lambda: self._begin(worker))


def _seconds(distribution: Distribution) -> float:
    assert isinstance(distribution, Constant), "the reference knows constant durations only"
    return distribution.value_s
