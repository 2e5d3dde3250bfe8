"""From the engine's steps of a cycle to a graph of times: what each worker's clock shows at the cycle's end.

The steps are those that the engine itself runs (`spdsim.engine.steps`), and the sums and maxima those of its
interpreter, in the same order. Every message sent in a cycle is received in it, so arrivals stay within the graph.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from spdsim.draws import Draws
from spdsim.engine.steps import HOST, POST, RECV, RECV_POSTED, RECV_READ, RECV_TAKEN, SEND, Channel, Programs, Step
from spdsim.errors import DeadlockError
from spdsim.fast.graph import Graph
from spdsim.schedules.spd import PipelineState


@dataclass(slots=True)
class Cycle:
    """What a cycle does, as nodes of `graph`.

    after: the node of each register that may change. committed: when the driver's bookkeeping ends, if it has any.
    """

    graph: Graph = field(default_factory=Graph)
    after: dict[int, int] = field(default_factory=dict)
    committed: int | None = None


def now_register(worker: int) -> int:
    """Return the register of a worker's clock."""
    return 3 * worker


def host_register(worker: int) -> int:
    """Return the register of the time at which a worker's host is free."""
    return 3 * worker + 1


def link_register(link: int) -> int:
    """Return the register of the time at which a link is free."""
    return 3 * link + 2


def is_link(register: int) -> bool:
    """Whether a register is a link's."""
    return register % 3 == 2


def lower(programs: Programs, state: PipelineState, between: Sequence[tuple[float, Draws | None]]) -> Cycle:
    """Return what all workers' steps of a cycle in `state` do to the clocks. Raises DeadlockError if some wait forever.

    between: seconds of each worker's host before a decode cycle, what is constant and what is drawn.
    """
    lowering = _Lowering(len(programs), state.oldest if state.cycle < 0 else None)
    if state.cycle >= 0:
        lowering.begin(between)
    todo = [deque(steps) for steps in programs]
    while any(todo):
        left = sum(map(len, todo))
        for worker, steps in enumerate(todo):
            while steps and lowering.perform(worker, steps[0]):
                steps.popleft()
        if sum(map(len, todo)) == left:
            raise DeadlockError(f"deadlock in cycle {state.cycle}: a message is waited for that nobody sends")
    return lowering.finish()


class _Lowering:
    """Performs steps as the engine's interpreter does, on nodes in place of numbers."""

    def __init__(self, num_workers: int, position: int | None) -> None:
        self._cycle = Cycle()
        self._graph = graph = self._cycle.graph
        # A host is never later than what its worker's clock shows.
        self._host = [graph.register(host_register(worker)) for worker in range(num_workers)]
        self._now = [graph.register(now_register(worker), host) for worker, host in enumerate(self._host)]
        self._links: dict[int, int] = {}
        self._sent: dict[Channel, deque[int]] = {}
        self._position = position

    def begin(self, between: Sequence[tuple[float, Draws | None]]) -> None:
        for worker, (seconds, draws) in enumerate(between):
            now = self._now[worker]
            if seconds:
                self._now[worker] = self._host[worker] = self._later(now, seconds)
            elif draws is not None:
                self._now[worker] = self._host[worker] = self._graph.plus(now, self._graph.drawn(draws))

    def perform(self, worker: int, step: Step) -> bool:
        """Perform a step, unless it has to wait for a message; return whether it did."""
        kind = step[0]
        if kind <= RECV:
            arrivals = self._sent.get(step[6])
            if not arrivals:
                return False
            self._receive(worker, kind, step[3], arrivals.popleft())
        elif kind in (SEND, POST):
            self._send(worker, step)
        else:
            self._compute(worker, step)
        return True

    def finish(self) -> Cycle:
        assert not any(self._sent.values()), "a message is not received in its cycle"
        for register, values in ((now_register, self._now), (host_register, self._host)):
            self._cycle.after.update((register(worker), node) for worker, node in enumerate(values))
        self._cycle.after.update((link_register(link), node) for link, node in self._links.items())
        return self._cycle

    def _receive(self, worker: int, kind: int, receive_s: float, arrival: int) -> None:
        latest, now, host = self._graph.latest, self._now[worker], self._host[worker]
        match kind:
            case _ if kind in (RECV, RECV_TAKEN):
                now = host = self._later(latest(now, arrival), receive_s)
            case _ if kind == RECV_POSTED:
                host = self._later(host, receive_s)
                now = latest(latest(now, host), arrival)
            case _:
                assert kind == RECV_READ
                now = latest(now, arrival)
                host = self._later(latest(host, arrival), receive_s)
                now = latest(now, host)
        self._now[worker], self._host[worker] = now, host

    def _send(self, worker: int, step: Step) -> None:
        _, _, _, base_s, (link, transit_s, leaves_at_once), draws, channel = step
        graph, now, host = self._graph, self._now[worker], self._host[worker]
        post, transit = graph.scalar(base_s), graph.scalar(transit_s)
        if draws.post is not None:
            post = graph.plus(post, graph.drawn(draws.post))
        if draws.transit is not None:
            transit = graph.plus(transit, graph.drawn(draws.transit))
        leaves = graph.latest(now, host)
        host = graph.plus(host, post)
        now = graph.latest(now, host)
        if not leaves_at_once:
            leaves = now
        free = self._links.get(link)
        if free is None:
            free = graph.register(link_register(link))
        arrival = graph.plus(graph.latest(leaves, free), transit)
        self._now[worker], self._host[worker], self._links[link] = now, host, arrival
        self._sent.setdefault(channel, deque()).append(arrival)

    def _compute(self, worker: int, step: Step) -> None:
        kind, offset, _, base_s, (slope_s, _, lead_s, issue_s, is_read, _), draws, _ = step
        graph, now, host = self._graph, self._now[worker], self._host[worker]
        if self._position is not None:
            base_s, slope_s = base_s + slope_s * (self._position + offset), 0.0
        duration = graph.scalar(base_s, slope_s, offset)
        if draws is not None:
            duration = graph.plus(duration, graph.drawn(draws))
        now = graph.plus(graph.latest(now, self._later(host, lead_s)), duration)
        if kind == HOST:
            self._cycle.committed = now
        host = self._later(host, issue_s)
        now = graph.latest(now, host)
        self._now[worker], self._host[worker] = now, now if is_read else host

    def _later(self, node: int, seconds: float) -> int:
        return self._graph.plus(node, self._graph.scalar(seconds))
