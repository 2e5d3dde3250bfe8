"""What fills each cell of a timeline: the kind of work with the largest share of its time, and which piece of it.

Knows nothing of characters and colours.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spdsim.analysis.fate import fates
from spdsim.analysis.messages import pairs
from spdsim.render.kinds import IDLE, KINDS, LINK, VERIFY, kind_of
from spdsim.trace import Trace

Floats = NDArray[np.float64]

_MIN_CELLS_PER_VERIFY = 4


@dataclass(frozen=True, slots=True)
class Work:
    """What the workers of one sequence did, in columns: worker, kind, position and times of each piece.

    Messages on their way to a worker that waits for them are pieces too; idle time is what is left.
    """

    worker: NDArray[np.int64]
    kind: NDArray[np.int64]
    position: NDArray[np.int64]
    start_s: Floats
    end_s: Floats

    @classmethod
    def of(cls, trace: Trace, sequence: int) -> "Work":
        """Read it off `trace`."""
        trace = trace.select(sequence, sequence + 1)
        fate = fates(trace)
        kind_of_site = np.array([[_code(site.op, f) for f in range(3)] for site in trace.sites]).reshape(-1, 3)
        worker_of_site = np.array([site.worker for site in trace.sites], np.int64)
        sites = np.frombuffer(trace.site, np.uint16)
        kind = kind_of_site[sites, fate]
        start_s, end_s = np.array(trace.start_s), np.array(trace.end_s)
        for send, receipt in pairs(trace):
            # The wait for a message that has been posted is the link's; before that, the sender's.
            start_s[receipt] = min(max(start_s[receipt], end_s[send]), end_s[receipt])
            kind[receipt] = LINK
        keep = (kind != IDLE) & (end_s > start_s)
        return cls(
            worker_of_site[sites][keep], kind[keep], np.array(trace.position, np.int64)[keep],
            start_s[keep], end_s[keep],
        )  # fmt: skip

    def of_worker(self, worker: int, start_s: float, end_s: float) -> "Work":
        """Return what `worker` did between two times, by start."""
        chosen = np.flatnonzero((self.worker == worker) & (self.end_s > start_s) & (self.start_s < end_s))
        chosen = chosen[np.argsort(self.start_s[chosen], kind="stable")]
        return Work(
            self.worker[chosen], self.kind[chosen], self.position[chosen], self.start_s[chosen], self.end_s[chosen]
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Run:
    """Neighbouring cells that show the same piece of work."""

    kind: int
    position: int
    width: int


def runs(work: Work, worker: int, start_s: float, end_s: float, num_cells: int) -> list[Run]:
    """Return what `worker` did from `start_s` to `end_s` as runs of altogether `num_cells` cells."""
    mine = work.of_worker(worker, start_s, end_s)
    edges = np.linspace(start_s, end_s, num_cells + 1)
    shares = np.stack([_busy_s(mine, kind, edges) for kind in range(len(KINDS))])
    shares[IDLE] = np.diff(edges) - shares.sum(axis=0)
    kinds = shares.argmax(axis=0)
    _keep_verifications(mine, edges, kinds)
    owners = np.array([_owner(mine, kind, edges[i], edges[i + 1]) for i, kind in enumerate(kinds)])
    return _runs(mine, kinds, owners)


def _code(op: str, fate: int) -> int:
    kind = kind_of(op, fate)
    return IDLE if kind is None else kind


def _busy_s(work: Work, kind: int, edges: Floats) -> Floats:
    """Seconds of `kind` in each cell."""
    chosen = work.kind == kind
    busy_until: Floats = _ramps(work.start_s[chosen], edges) - _ramps(work.end_s[chosen], edges)
    return np.diff(busy_until)


def _ramps(times: Floats, edges: Floats) -> Floats:
    """The sum of max(edge - time, 0) over all times, for every edge."""
    # Counted from the first edge, so that nothing is lost to rounding late in a trace.
    times = np.sort(times) - edges[0]
    before = np.searchsorted(times, edges - edges[0])
    sums = np.concatenate(([0.0], np.cumsum(times)))
    result: Floats = (edges - edges[0]) * before - sums[before]
    return result


def _keep_verifications(work: Work, edges: Floats, kinds: NDArray[np.int64]) -> None:
    """Give every verification at least one cell, unless the picture is so coarse that they would fill it."""
    mine = np.flatnonzero(work.kind == VERIFY)
    if len(mine) * _MIN_CELLS_PER_VERIFY > len(kinds):
        return
    for i in mine:
        first, last = np.searchsorted(edges, (work.start_s[i], work.end_s[i])) - 1
        middle = int(np.searchsorted(edges, (work.start_s[i] + work.end_s[i]) / 2)) - 1
        if 0 <= middle < len(kinds) and not (kinds[max(first, 0) : last + 1] == VERIFY).any():
            kinds[middle] = VERIFY


def _owner(work: Work, kind: int, start_s: float, end_s: float) -> int:
    """The piece of `kind` with the most time in a cell; -1 for idle."""
    overlap = np.minimum(work.end_s, end_s) - np.maximum(work.start_s, start_s)
    overlap[work.kind != kind] = -1.0
    return int(overlap.argmax()) if kind != IDLE and len(overlap) else -1


def _runs(work: Work, kinds: NDArray[np.int64], owners: NDArray[np.int64]) -> list[Run]:
    found: list[Run] = []
    breaks = np.flatnonzero((np.diff(kinds) != 0) | (np.diff(owners) != 0)) + 1
    for first, last in zip([0, *breaks], [*breaks, len(kinds)], strict=True):
        owner = int(owners[first])
        found.append(Run(int(kinds[first]), int(work.position[owner]) if owner >= 0 else -1, int(last - first)))
    return found
