"""The simulator's interpreter of a schedule: one SimPy process a worker.

Each process executes `program(state, worker)` op by op and records every span; the clock is the only thing
that an executor does otherwise. Knows numbers (`Machine`), not models, GPUs or files.

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
from spdsim.draws import Draws, constant_s
from spdsim.errors import DeadlockError
from spdsim.machine import Machine, Message
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
        self._programs: dict[tuple[bool, int, bool], list[list[_Step]]] = {}
        self._channels: dict[tuple[str, int, int], _Channel] = {}
        self._draws: list[Draws] = []
        senders: dict[int, set[int]] = {}
        for (_, source, _), message in machine.messages.items():
            if message.link is not None:
                senders.setdefault(message.link, set()).add(source)
        self._contended = {link for link, workers in senders.items() if len(workers) > 1}
        self._link_free_s = [0.0] * len(machine.links)

    def decode(self, request: Request, start_s: float = 0.0) -> float:
        """Decode one sequence from `start_s` and return the time at which its last worker is done, in seconds.

        Raises DeadlockError when workers wait for messages that nobody will send.
        """
        env = simpy.Environment(start_s)
        self._begin(env, request, start_s)
        clocks = [start_s] * self.machine.layout.num_workers
        running = [env.process(self._work(env, worker, clocks)) for worker in range(len(clocks))]
        env.run()
        self.num_events += next(env._eid)
        if any(process.is_alive for process in running):
            raise DeadlockError(self._describe_deadlock())
        return max(clocks)

    def _begin(self, env: simpy.Environment, request: Request, start_s: float) -> None:
        """Forget the sequence before: every sequence has its own verdicts, draws and idle links."""
        self.trace.begin_sequence()
        self._tape = _Tape(start(self.machine.layout, request.num_tokens), request.coins)
        for draws in self._draws:
            draws.restart(request.number)
        self._request_number = request.number
        self._link_free_s[:] = [start_s] * len(self._link_free_s)
        self._link_queue = {
            index: simpy.Resource(env) for index, link in enumerate(self.machine.links) if link.is_shared
        }
        self._devices = _shared_devices(env, self.machine)
        for channel in self._channels.values():
            channel.reset()

    def _work(self, env: simpy.Environment, worker: int, clocks: list[float]) -> Process:
        """Run one worker through all cycles of the sequence: the interpreter of the schedule.

        `now` is the worker's own clock. The three kinds of op are written out here, not in functions of their
        own, because a generator within a generator costs as much as the op itself.
        """
        tape, trace, link_free_s = self._tape, self.trace, self._link_free_s
        device = self._devices.get(self.machine.workers[worker].device)
        to_site, to_cycle, to_position = trace.site.append, trace.cycle.append, trace.position.append
        to_start, to_end = trace.start_s.append, trace.end_s.append
        timeout, event = env.timeout, env.event
        now, index = clocks[worker], 0
        while (state := tape.state(index)) is not None:
            index += 1
            cycle, oldest = state.cycle, state.oldest
            for step in self._program(state)[worker]:
                position = oldest + step.offset
                if step.kind == _COMPUTE:
                    duration_s = step.base_s + step.slope_s * position
                    if step.draws is not None:
                        duration_s += step.draws.at(cycle)
                    begin = now
                    if duration_s > 0.0:
                        if device is None:
                            now += duration_s
                            if (ahead_s := now - env.now) > 0.0:
                                yield timeout(ahead_s)
                        else:
                            begin, now = yield from device.work(now, duration_s)
                    to_site(step.site if not step.tells_verdict or tape.accepts(position) else step.site_rejected)
                elif step.kind == _SEND:
                    begin = now
                    now += step.base_s if step.draws is None else step.draws.at(cycle)
                    transit_s = step.transit_s if step.transit_draws is None else step.transit_draws.at(cycle)
                    link = step.link
                    if link is not None and step.waits_for_clock and (ahead_s := now - env.now) > 0.0:
                        yield timeout(ahead_s)
                    if link is None:
                        step.channel.deliver(now + transit_s)
                    elif link in self._link_queue:
                        env.process(self._cross_shared_link(env, link, transit_s, step.channel))
                    else:
                        arrival = (now if now > link_free_s[link] else link_free_s[link]) + transit_s
                        link_free_s[link] = arrival
                        step.channel.deliver(arrival)
                    to_site(step.site)
                else:
                    begin, channel = now, step.channel
                    if not channel.arrivals:
                        channel.waiting = event()
                        yield channel.waiting
                    arrival = channel.arrivals.popleft()
                    if arrival > now:
                        now = arrival
                    to_site(step.site)
                to_cycle(cycle)
                to_position(position)
                to_start(begin)
                to_end(now)
        clocks[worker] = now

    def _cross_shared_link(
        self, env: simpy.Environment, link: int, transit_s: float, channel: "_Channel"
    ) -> Process:
        with self._link_queue[link].request() as turn:
            yield turn
            yield env.timeout(transit_s)
            channel.deliver(env.now)

    def _program(self, state: PipelineState) -> list[list["_Step"]]:
        """Return every worker's steps for `state`, compiled once for each shape of the state.

        A program depends on the positions in flight only by an offset, on the cycle only by whether it is
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
        machine, is_prefill = self.machine, state.cycle < 0
        offset = op.position - state.oldest
        match op:
            case Compute(task, _):
                duration = machine.tasks[worker, task]
                base = duration.at_depth(len(state.in_flight))
                tells = task in ("verify", "commit") and not is_prefill and machine.layout.num_stages > 1
                at_prompt_s = duration.per_context_token_s * machine.prompt_tokens
                return _Step(
                    _COMPUTE, offset,
                    self.trace.site_id(Site(worker, task, accepted=True if tells else None)),
                    base_s=constant_s(base) + at_prompt_s, slope_s=duration.per_context_token_s,
                    draws=self._drawn(base, worker, task, len(state.in_flight)), tells_verdict=tells,
                    site_rejected=self.trace.site_id(Site(worker, task, accepted=False)) if tells else 0,
                )  # fmt: skip
            case Send(payload, _, to):
                message = machine.messages[payload, worker, to]
                transit = message.prefill_transit if is_prefill else message.transit
                site = Site(worker, op_name(op), to, _num_bytes(message, is_prefill))
                return _Step(
                    _SEND, offset, self.trace.site_id(site),
                    base_s=constant_s(message.post), draws=self._drawn(message.post, worker, payload, 0),
                    channel=self._channel(payload, worker, to), link=message.link,
                    transit_s=constant_s(transit), transit_draws=self._drawn(transit, worker, payload, to + 1),
                    waits_for_clock=message.link in self._contended
                    or (message.link is not None and machine.links[message.link].is_shared),
                )  # fmt: skip
            case Recv(payload, _, source):
                message = machine.messages[payload, source, worker]
                site = Site(worker, op_name(op), source, _num_bytes(message, is_prefill))
                return _Step(
                    _RECV, offset, self.trace.site_id(site), channel=self._channel(payload, source, worker)
                )  # fmt: skip

    def _drawn(self, distribution: Any, worker: int, what: str, detail: int) -> Draws | None:
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


_COMPUTE, _SEND, _RECV = 0, 1, 2


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


@dataclass(frozen=True, slots=True)
class _Step:
    """An op with all that can be looked up beforehand.

    The duration (of a computation, or of posting a message) is `base_s + slope_s * position`, plus a draw.
    """

    kind: int
    offset: int
    site: int
    base_s: float = 0.0
    slope_s: float = 0.0
    draws: Draws | None = None
    tells_verdict: bool = False
    site_rejected: int = 0
    channel: _Channel = _NO_CHANNEL
    link: int | None = None
    transit_s: float = 0.0
    transit_draws: Draws | None = None
    waits_for_clock: bool = False


class _Tape:
    """The states of one sequence, cycle by cycle, shared by all workers.

    Replicas of the state machine agree, so one serves all: the first worker to finish a cycle computes the
    next state, and a worker asks for it only once it has the verdict.
    """

    def __init__(self, first: PipelineState, coins: Coins) -> None:
        self._states: list[PipelineState | None] = [None if first.is_done else first]
        self._coins = coins
        self._fill_depth: dict[int, int] = {}

    def state(self, index: int) -> PipelineState | None:
        """Return the state of cycle index - 1, None once decoding has ended."""
        if index == len(self._states):
            last = self._states[-1]
            assert last is not None
            self._states.append(self._next(last))
        return self._states[index]

    def accepts(self, position: int) -> bool:
        """Return the verdict on the newest draft for `position`."""
        depth = self._fill_depth.get(position)
        return True if depth is None else self._coins.accepts(position, depth)

    def _next(self, state: PipelineState) -> PipelineState | None:
        if state.in_flight and state.layout.num_stages > 1:
            self._fill_depth[state.in_flight[0] + 1] = len(state.in_flight)
        position = verdict_position(state)
        following = advance(state, None if position is None else Verdict(self.accepts(position)))
        return None if following.is_done else following


def _shared_devices(env: simpy.Environment, machine: Machine) -> dict[int, SharedDevice]:
    """The devices on which more than one worker runs."""
    users = [worker.device for worker in machine.workers]
    return {device: shared_device(env, machine.sharing) for device in set(users) if users.count(device) > 1}


def _num_bytes(message: Message, is_prefill: bool) -> int:
    return message.prefill_bytes if is_prefill else message.num_bytes


def decode_all(
    machine: Machine, trace: Trace, replications: Sequence[Sequence[Request]], seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Engine:  # fmt: skip
    """Decode every replication's requests, one after another, each replication from time 0.

    `progress` is called with (replications done, replications in all). Returns the engine, for its counts.
    """
    engine = Engine(machine, trace, seed)
    for done, requests in enumerate(replications):
        now_s = 0.0
        for request in requests:
            now_s = engine.decode(request, now_s)
        if progress is not None:
            progress(done + 1, len(replications))
    return engine
