"""The simulator's interpreter of a schedule: one SimPy process a worker.

Each process executes `program(state, worker)` op by op and records every span; an executor does the same with
another clock. Knows numbers (`Machine`), not models, GPUs or files.

Time. A worker has a clock of its own that may run ahead of SimPy's where it touches only what is its own: it
posts messages on a private link, whose arrival is known at once, and takes those that have been sent. It waits
for SimPy's clock before it touches what is shared: a device with several workers, a link with several senders.
So a stage step costs two or three events, and times are sums that do not depend on the order of events.
"""

from collections import deque
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any

import simpy

from spdsim.acceptance import Coins
from spdsim.devices import SharedDevice, shared_device
from spdsim.distributions import Distribution
from spdsim.draws import Draws, constant_s
from spdsim.errors import DeadlockError
from spdsim.machine import Machine
from spdsim.schedules.ops import Compute, Op, Recv, Send, Verdict, op_name
from spdsim.schedules.spd import PipelineState, advance, program, start, verdict_position
from spdsim.trace import Site, Trace

Process = Generator[simpy.Event, Any, None]


@dataclass(frozen=True, slots=True)
class Request:
    """One sequence to decode: its number (the key of its random draws), its length, its verdicts."""

    number: int
    num_tokens: int
    coins: Coins


class Engine:
    """Decodes sequences on a machine, one after another, and records every span in `trace`.

    `num_events` counts the SimPy events of all sequences so far.
    """

    def __init__(self, machine: Machine, trace: Trace, seed: int = 0) -> None:
        self.machine, self.trace, self.seed = machine, trace, seed
        self.num_events = 0
        self._request_number = 0
        self._programs: dict[tuple[bool, int, bool], _Programs] = {}
        self._channels: dict[tuple[str, int, int], _Channel] = {}
        self._draws: list[Draws] = []
        self._common_links = _common_links(machine)
        # One entry more for messages between workers on one device, which cross no link.
        self._link_free_s = [0.0] * (len(machine.links) + 1)

    def decode(self, request: Request, start_s: float = 0.0) -> float:
        """Decode one sequence from `start_s` and return the time at which its last worker is done, in seconds.

        Raises DeadlockError when workers wait for messages that nobody will send.
        """
        env = simpy.Environment(start_s)
        self._begin(env, request, start_s)
        clocks = [start_s] * self.machine.layout.num_workers
        workers = [env.process(self._work(env, worker, clocks)) for worker in range(len(clocks))]
        env.run()
        self.num_events += next(env._eid)
        if any(worker.is_alive for worker in workers):
            raise DeadlockError(self._describe_deadlock())
        return max(clocks)

    def _begin(self, env: simpy.Environment, request: Request, start_s: float) -> None:
        """Forget the sequence before: every sequence has its own verdicts, draws and idle links."""
        self.trace.begin_sequence()
        self._request_number = request.number
        self._tape = _Tape(start(self.machine.layout, request.num_tokens), request.coins, self._steps_of)
        self._link_free_s[:] = [start_s] * len(self._link_free_s)
        self._queues = {index: simpy.Resource(env) for index, link in enumerate(self.machine.links) if link.is_shared}
        self._devices = _shared_devices(env, self.machine)
        for draws in self._draws:
            draws.restart(request.number)
        for channel in self._channels.values():
            channel.reset()

    def _work(self, env: simpy.Environment, worker: int, clocks: list[float]) -> Process:
        """Run one worker through all cycles of the sequence: the interpreter of the schedule.

        `now` is the worker's own clock. The common kinds of op are written out here, for a generator within
        this one would cost as much as the op itself.
        """
        tape, trace, link_free_s = self._tape, self.trace, self._link_free_s
        device = self._devices.get(self.machine.workers[worker].device)
        to_site, to_cycle, to_position = trace.site.append, trace.cycle.append, trace.position.append
        to_start, to_end = trace.start_s.append, trace.end_s.append
        event = env.event
        cycles, accepted = tape.cycles, tape.accepted
        now, index = clocks[worker], 0
        while (entry := cycles[index]) is not None:
            cycle, oldest, steps = entry
            for kind, offset, site, base_s, detail, draws, channel in steps[worker]:
                begin, position = now, oldest + offset
                if kind == _RECV:
                    if not channel.arrivals:
                        channel.waiting = awaited = event()
                        yield awaited
                    arrival = channel.arrivals.popleft()
                    if arrival > now:
                        now = arrival
                elif kind == _SEND:
                    now += base_s
                    link, transit_s = detail
                    arrival = link_free_s[link]
                    arrival = (now if now > arrival else arrival) + transit_s
                    link_free_s[link] = arrival
                    channel.arrivals.append(arrival)
                    if (receiver := channel.waiting) is not None:
                        channel.waiting = None
                        receiver.succeed()
                elif kind == _POST:
                    now = yield from self._post(env, now, cycle, (base_s, detail, draws, channel))
                else:
                    slope_s, site_if_rejected = detail
                    duration_s = base_s + slope_s * position
                    if draws is not None:
                        duration_s += draws.at(cycle)
                    if site_if_rejected and not accepted[position]:
                        site = site_if_rejected
                    if device is None or kind == _HOST or duration_s == 0.0:
                        now += duration_s
                    else:
                        begin, now = yield from device.work(now, duration_s)
                to_site(site)
                to_cycle(cycle)
                to_position(position)
                to_start(begin)
                to_end(now)
            index += 1
            if index == len(cycles):
                tape.grow()
        clocks[worker] = now

    def _post(
        self, env: simpy.Environment, now: float, cycle: int, step: "tuple[float, Any, _PostDraws, _Channel]"
    ) -> Generator[simpy.Event, Any, float]:
        """Post a message the long way: its time is drawn, or its link has several senders."""
        post_s, (link, transit_s), draws, channel = step
        if draws.post is not None:
            post_s += draws.post.at(cycle)
        if draws.transit is not None:
            transit_s += draws.transit.at(cycle)
        now += post_s
        if link in self._common_links and (ahead_s := now - env.now) > 0.0:
            yield env.timeout(ahead_s)
        if link in self._queues:
            env.process(self._cross(env, link, transit_s, channel))
        else:
            arrival = max(now, self._link_free_s[link]) + transit_s
            self._link_free_s[link] = arrival
            channel.deliver(arrival)
        return now

    def _cross(self, env: simpy.Environment, link: int, transit_s: float, channel: "_Channel") -> Process:
        """Carry a message over a link that several pairs share: a SimPy resource, first come first served."""
        with self._queues[link].request() as turn:
            yield turn
            yield env.timeout(transit_s)
            channel.deliver(env.now)

    def _steps_of(self, state: PipelineState) -> "_Programs":
        """Return every worker's steps in `state`, compiled once for each shape of the state.

        A program depends on the positions in flight only by an offset, and on the cycle only by whether it is
        the prefill.
        """
        shape = (state.cycle < 0, len(state.in_flight), state.rejected)
        steps = self._programs.get(shape)
        if steps is None:
            workers = range(self.machine.layout.num_workers)
            steps = [[self._compile(state, worker, op) for op in program(state, worker)] for worker in workers]
            self._programs[shape] = steps
        return steps

    def _compile(self, state: PipelineState, worker: int, op: Op) -> "_Step":
        is_prefill, offset = state.cycle < 0, op.position - state.oldest
        match op:
            case Compute():
                return self._compile_compute(state, worker, op, offset)
            case Send(payload, _, to):
                message = self.machine.messages[payload, worker, to]
                transit = message.prefill_transit if is_prefill else message.transit
                size = message.prefill_bytes if is_prefill else message.num_bytes
                draws = _PostDraws(
                    self._drawn(message.post, worker, f"post {payload}", to),
                    self._drawn(transit, worker, f"transit {payload}", to),
                )
                link = len(self.machine.links) if message.link is None else message.link
                is_plain = draws == _PostDraws(None, None) and link not in self._common_links
                return (
                    _SEND if is_plain else _POST, offset,
                    self.trace.site_id(Site(worker, op_name(op), to, size)),
                    constant_s(message.post), (link, constant_s(transit)), draws, self._channel(payload, worker, to),
                )  # fmt: skip
            case Recv(payload, _, source):
                message = self.machine.messages[payload, source, worker]
                size = message.prefill_bytes if is_prefill else message.num_bytes
                site = self.trace.site_id(Site(worker, op_name(op), source, size))
                return (_RECV, offset, site, 0.0, None, None, self._channel(payload, source, worker))

    def _compile_compute(self, state: PipelineState, worker: int, op: Compute, offset: int) -> "_Step":
        duration = self.machine.tasks[worker, op.task]
        depth = len(state.in_flight)
        base, slope_s = duration.at_depth(depth), duration.per_context_token_s
        # With one stage nothing is drafted, so nothing is accepted or rejected; and y_1 is not a draft.
        tells_verdict = op.task in ("verify", "commit") and state.cycle >= 0 and state.layout.num_stages > 1
        site = Site(worker, op.task, accepted=True if tells_verdict else None)
        number = self.trace.site_id(site)
        rejected = self.trace.site_id(Site(worker, op.task, accepted=False)) if tells_verdict else 0
        base_s = constant_s(base) + slope_s * self.machine.prompt_tokens
        draws = self._drawn(base, worker, op.task, depth)
        # Bookkeeping is the host's: it does not take the device from the others.
        kind = _HOST if op.task == "commit" else _COMPUTE
        return (kind, offset, number, base_s, (slope_s, rejected), draws, _NO_CHANNEL)

    def _drawn(self, distribution: Distribution, worker: int, what: str, detail: int) -> Draws | None:
        draws = Draws.of(distribution, (self.seed, worker, what, detail))
        if draws is not None:
            draws.restart(self._request_number)
            self._draws.append(draws)
        return draws

    def _channel(self, payload: str, source: int, to: int) -> "_Channel":
        return self._channels.setdefault((payload, source, to), _Channel())

    def _describe_deadlock(self) -> str:
        waits = [
            f"worker {to} waits for {payload} from worker {source}"
            for (payload, source, to), channel in sorted(self._channels.items(), key=lambda item: item[0][2])
            if channel.waiting is not None
        ]
        return f"deadlock in sequence {self._request_number}: " + "; ".join(waits)


_RECV, _SEND, _POST, _HOST, _COMPUTE = range(5)

_Step = tuple[int, int, int, float, Any, Any, "_Channel"]
"""An op with all that can be looked up beforehand: kind, position less the oldest in flight, site, constant
seconds, then by kind: (link, transit seconds) or (seconds a position, site if rejected); draws; channel."""

_Programs = list[list[_Step]]


@dataclass(frozen=True, slots=True)
class _PostDraws:
    post: Draws | None
    transit: Draws | None


class _Channel:
    """The messages of one payload on one edge: arrival times, and the receiver if it waits."""

    __slots__ = ("arrivals", "waiting")

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.arrivals: deque[float] = deque()
        self.waiting: simpy.Event | None = None

    def deliver(self, arrival_s: float) -> None:
        self.arrivals.append(arrival_s)
        if self.waiting is not None:
            self.waiting.succeed()
            self.waiting = None


_NO_CHANNEL = _Channel()


_ACCEPTED, _REJECTED = Verdict(accepted=True), Verdict(accepted=False)


class _Tape:
    """The cycles of one sequence, shared by all workers: (cycle, oldest position, every worker's steps).

    Replicas of the state machine agree, so one serves all: the first worker to finish a cycle lets the tape
    `grow`, which it does only once it has the verdict. The last entry is None.
    `accepted[position]` is the verdict on the newest draft for a position.
    """

    def __init__(self, first: PipelineState, coins: Coins, steps_of: Callable[[PipelineState], _Programs]) -> None:
        self._state, self._coins, self._steps_of = first, coins, steps_of
        self.accepted = coins.fixed or [True] * (first.max_tokens + first.layout.capacity + 1)
        self.cycles: list[tuple[int, int, _Programs] | None] = []
        self._append()

    def grow(self) -> None:
        """Append the cycle that follows the last one."""
        state = self._state
        if self._coins.fixed is None and state.in_flight and state.layout.num_stages > 1:
            drafted = state.in_flight[0] + 1
            self.accepted[drafted] = self._coins.accepts(drafted, len(state.in_flight))
        position = verdict_position(state)
        # With one stage nothing is drafted: every verdict is the target's own token.
        is_accepted = position is None or state.layout.num_stages == 1 or self.accepted[position]
        self._state = advance(state, None if position is None else _ACCEPTED if is_accepted else _REJECTED)
        self._append()

    def _append(self) -> None:
        state = self._state
        self.cycles.append(None if state.is_done else (state.cycle, state.oldest, self._steps_of(state)))


def _common_links(machine: Machine) -> frozenset[int]:
    """The links that more than one worker sends on, so that the order of sending matters."""
    senders: dict[int, set[int]] = {}
    for (_, source, _), message in machine.messages.items():
        if message.link is not None:
            senders.setdefault(message.link, set()).add(source)
    several = {link for link, workers in senders.items() if len(workers) > 1}
    return frozenset(several | {index for index, link in enumerate(machine.links) if link.is_shared})


def _shared_devices(env: simpy.Environment, machine: Machine) -> dict[int, SharedDevice]:
    """The devices on which more than one worker runs."""
    users = [worker.device for worker in machine.workers]
    return {device: shared_device(env, machine.sharing) for device in set(users) if users.count(device) > 1}


def decode_all(
    machine: Machine, trace: Trace, replications: Sequence[Sequence[Request]], seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Engine:  # fmt: skip
    """Decode every replication's requests, one after another, each replication from time 0.

    `progress` is called with (replications done, replications in all). Returns the engine, for its counts.
    """
    engine = Engine(machine, trace, seed)
    for done, requests in enumerate(replications, start=1):
        now_s = 0.0
        for request in requests:
            now_s = engine.decode(request, now_s)
        if progress is not None:
            progress(done, len(replications))
    return engine
