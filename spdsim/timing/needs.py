"""What a machine must have: every (worker, task) and every edge that a layout's schedule can ask for.

Found by running the schedule itself, so that a change of the schedule needs no change here.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from spdsim.schedules.ops import Compute, Payload, Recv, Send, Task, Verdict
from spdsim.schedules.spd import Layout, PipelineState, advance, program, start

Edge = tuple[Payload, int, int]


@dataclass(frozen=True, slots=True)
class Needs:
    """Sorted, so that whatever is built from them has one order."""

    tasks: tuple[tuple[int, Task], ...]
    edges: tuple[Edge, ...]


@lru_cache(maxsize=256)
def needs_of(layout: Layout) -> Needs:
    """Return all tasks and edges (payload, source worker, destination worker) of a layout."""
    tasks: set[tuple[int, Task]] = set()
    edges: set[Edge] = set()
    for state in _telling_states(layout):
        for worker in range(layout.num_workers):
            for op in program(state, worker):
                match op:
                    case Compute(task, _):
                        tasks.add((worker, task))
                    case Send(payload, _, to):
                        edges.add((payload, worker, to))
                    case Recv(payload, _, source):
                        edges.add((payload, source, worker))
    return Needs(tuple(sorted(tasks)), tuple(sorted(edges)))


def _telling_states(layout: Layout) -> Iterator[PipelineState]:
    """The prefill, the first cycles of a fill, those around the last stage, and full ones.

    Between them a cycle only adds stages that do what a full one has them do anyway, so they are skipped.
    """
    n, capacity = layout.num_stages, layout.capacity
    telling = {1, 2, n - 1, n, n + 1, capacity - 1, capacity}
    state = start(layout, 2 * capacity + 8)
    for accepts in (True, True, False):
        while not state.is_full:
            if len(state.in_flight) in telling:
                yield state
            state = advance(state, None)
        yield state
        state = advance(state, Verdict(accepts))
    while not state.is_full:
        if len(state.in_flight) in telling:
            yield state
        state = advance(state, None)
    yield state
