"""The simulator's interpreter of a schedule: one SimPy process a worker.

Each process executes `program(state, worker)` op by op and records every span; an executor does the same with
another clock. Knows numbers (`Machine`), not models, GPUs or files.

Time. A worker has a clock of its own that may run ahead of SimPy's where it touches only what is its own: it
posts messages on a private link, whose arrival is known at once, and takes those that have been sent. It waits
for SimPy's clock before it touches what is shared: a device with several workers, a link with several senders.
So a stage step costs about one event, and times are sums that do not depend on the order of events.

Host and device. What a worker's clock shows is the time at which all that it was asked for is done. Its host may be
behind that: it issues a task or posts a message while the device is still at work. A task ends when the host has
issued it and the device has done it; a receipt or a result that the host waits for lets it catch up.
"""

from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import simpy

from spdsim.acceptance import Coins
from spdsim.draws import Draws
from spdsim.engine.devices import Contention, SharedDevice, shared_device
from spdsim.engine.steps import HOST, POST, RECV, RECV_POSTED, RECV_TAKEN, SEND, Channel, Compiler
from spdsim.engine.tape import Tape
from spdsim.errors import DeadlockError
from spdsim.machine import Machine
from spdsim.trace import Trace

Process = Generator[simpy.Event, Any, None]


@dataclass(frozen=True, slots=True)
class Request:
    """One sequence to decode: its number (the key of its random draws), its length, its verdicts.

    Or several that are in flight together, of one length, where the schedule is for as many: the verdicts of each.
    """

    number: int
    num_tokens: int
    coins: Coins | tuple[Coins, ...]

    @property
    def own_coins(self) -> Coins:
        """The coins of a request for one sequence."""
        assert isinstance(self.coins, Coins)
        return self.coins


class Engine:
    """Decodes sequences on a machine, one after another, and records every span in `trace`."""

    def __init__(self, machine: Machine, trace: Trace, seed: int = 0) -> None:
        self._machine, self._trace = machine, trace
        self._compiler = Compiler(machine, trace, seed)

    def decode(self, request: Request, start_s: float = 0.0) -> float:
        """Decode one sequence from `start_s` and return the time at which its last worker is done, in seconds.

        Raises DeadlockError when workers wait for messages that nobody will send.
        """
        env = simpy.Environment(start_s)
        self._begin(env, request, start_s)
        clocks = [start_s] * self._machine.layout.num_workers
        workers = [env.process(self._work(env, worker, clocks)) for worker in range(len(clocks))]
        env.run()
        if any(worker.is_alive for worker in workers):
            raise DeadlockError(f"deadlock in sequence {request.number}: {self._waits()}")
        return max(clocks)

    def _begin(self, env: simpy.Environment, request: Request, start_s: float) -> None:
        """Forget the sequence before: every sequence has its own verdicts, draws and idle links."""
        self._trace.begin_sequence()
        self._compiler.restart(request.number)
        schedule = self._machine.schedule
        first = schedule.start(self._machine.layout, request.num_tokens)
        self._tape = Tape(schedule, first, request.coins, self._compiler.steps_of)
        self._queues = {index: simpy.Resource(env) for index, link in enumerate(self._machine.links) if link.is_shared}
        self._devices = _shared_devices(env, self._machine)

    def _work(self, env: simpy.Environment, worker: int, clocks: list[float]) -> Process:
        """Run one worker through all cycles of the sequence: the interpreter of the schedule.

        `now` is the worker's own clock; `host`, never later, is when its host is free to go on. The common kinds of
        op are written out here, for a generator within this one would cost as much as the op itself.
        """
        tape, trace, link_free_s = self._tape, self._trace, self._compiler.link_free_s
        device = self._devices.get(self._machine.workers[worker].device)
        to_site, to_cycle, to_position = trace.site.append, trace.cycle.append, trace.position.append
        to_start, to_end = trace.start_s.append, trace.end_s.append
        record = trace.record
        event = env.event
        cycles, accepted = tape.cycles, tape.accepted
        between_s, between = self._compiler.between_cycles(worker)
        is_between = between_s > 0.0 or between is not None
        host = now = clocks[worker]
        index = 0
        while (entry := cycles[index]) is not None:
            cycle, oldest, steps = entry
            if is_between and cycle >= 0:
                # Nothing to see of it in a trace but that the first op begins later.
                now = host = (now if now > host else host) + (between_s if between is None else between.at(cycle))
            for kind, offset, site, base_s, detail, draws, channel in steps[worker]:
                begin, position = now, oldest + offset
                if kind <= RECV:
                    if not channel.arrivals:
                        channel.waiting = awaited = event()
                        yield awaited
                    arrival = channel.arrivals.popleft()
                    if kind == RECV:
                        if arrival > now:
                            now = arrival
                        if base_s:
                            record(site, cycle, position, begin, now)
                            site, begin, now = detail, now, now + base_s
                        host = now
                    elif kind == RECV_TAKEN:
                        now = host = (arrival if arrival > now else now) + base_s
                    elif kind == RECV_POSTED:
                        host += base_s
                        if host > now:
                            record(detail, cycle, position, now, host)
                            begin = now = host
                        if arrival > now:
                            now = arrival
                    else:
                        if arrival > now:
                            now = arrival
                        host = (arrival if arrival > host else host) + base_s
                        if host > now:
                            record(site, cycle, position, begin, now)
                            site, begin, now = detail, now, host
                elif kind == SEND:
                    host += base_s
                    if host > now:
                        now = host
                    link, transit_s, _ = detail
                    arrival = link_free_s[link]
                    arrival = (now if now > arrival else arrival) + transit_s
                    link_free_s[link] = arrival
                    channel.arrivals.append(arrival)
                    if (receiver := channel.waiting) is not None:
                        channel.waiting = None
                        receiver.succeed()
                elif kind == POST:
                    leaves_s = host if host > now else now
                    host += base_s if draws.post is None else base_s + draws.post.at(cycle)
                    if host > now:
                        now = host
                    if not detail[2]:
                        leaves_s = now
                    yield from self._post(env, leaves_s, cycle, (detail, draws.transit, channel))
                else:
                    slope_s, site_if_rejected, lead_s, issue_s, is_read, issuing = detail
                    duration_s = base_s + slope_s * position
                    if draws is not None:
                        duration_s += draws.at(cycle)
                    if site_if_rejected and not accepted[position]:
                        site = site_if_rejected
                    issued = host + lead_s
                    if issued > now:
                        now = issued
                    if device is None or kind == HOST or duration_s == 0.0:
                        now += duration_s
                    else:
                        begin, now = yield from device.work(now, duration_s)
                    host += issue_s
                    if host > now:
                        record(site, cycle, position, begin, now)
                        site, begin, now = issuing, now, host
                    elif is_read:
                        host = now
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
        self, env: simpy.Environment, now: float, cycle: int, message: tuple[Any, Draws | None, Channel]
    ) -> Process:
        """Put a message on its way at `now`, the long way: its time is drawn, or its link has several senders."""
        (link, transit_s, _), draws, channel = message
        if draws is not None:
            transit_s += draws.at(cycle)
        if link in self._compiler.common_links and (ahead_s := now - env.now) > 0.0:
            yield env.timeout(ahead_s)
        if link in self._queues:
            env.process(self._cross(env, link, transit_s, channel))
        else:
            free_s = self._compiler.link_free_s
            arrival = free_s[link] = max(now, free_s[link]) + transit_s
            channel.deliver(arrival)

    def _cross(self, env: simpy.Environment, link: int, transit_s: float, channel: Channel) -> Process:
        """Carry a message over a link that several pairs share: a SimPy resource, first come first served."""
        with self._queues[link].request() as turn:
            yield turn
            yield env.timeout(transit_s)
            channel.deliver(env.now)

    def _waits(self) -> str:
        """Name the workers that wait, and for which messages."""
        channels = sorted(self._compiler.channels.items(), key=lambda item: item[0][2])
        return "; ".join(
            f"worker {to} waits for {payload} from worker {source}"
            for (payload, source, to), channel in channels
            if channel.waiting is not None
        )


def _shared_devices(env: simpy.Environment, machine: Machine) -> dict[int, SharedDevice]:
    """What computations wait for: a device of several workers; with contention, the node of all other devices."""
    users = [worker.device for worker in machine.workers]
    shared = {device: shared_device(env, machine.sharing) for device in set(users) if users.count(device) > 1}
    if machine.contention:
        node_of = machine.nodes or (0,) * len(machine.devices)
        nodes = {node: Contention(env, machine.contention) for node in set(node_of)}
        shared.update({device: nodes[node_of[device]] for device in set(users) if users.count(device) == 1})
    return shared


def decode_all(
    machine: Machine, trace: Trace, replications: Iterable[Iterable[Request]], seed: int = 0
) -> Iterator[int]:
    """Decode every replication's requests, one after another, each replication from time 0.

    Yields the number of replications that are done after each; the work is done as they are asked for.
    """
    engine = Engine(machine, trace, seed)
    for done, requests in enumerate(replications, start=1):
        now_s = 0.0
        for request in requests:
            now_s = engine.decode(request, now_s)
        yield done
