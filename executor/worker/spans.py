"""The spans of one worker, as it runs them; one sequence for each recorded job.

Knows nothing of what the ops do.
"""

from spdsim.schedules.ops import Op, Recv, Send, op_name
from spdsim.trace import Site, Trace, TraceHeader

_NOBODY = TraceHeader("executor", "spd", 1, 0, ())
"""A worker's spans get their header when all workers' are put together."""


class Spans:
    """Records spans; the verdict on a position is told afterwards, when it is known."""

    def __init__(self, worker: int) -> None:
        self.trace = Trace(_NOBODY)
        self._worker = worker
        self._undecided: dict[int, list[int]] = {}

    def begin(self) -> int:
        """Begin a sequence; return the number of its first span."""
        self.trace.begin_sequence()
        self._undecided.clear()
        return len(self.trace)

    def site_of(self, op: Op, num_bytes: int | None) -> int:
        """Return the number under which `op` is recorded."""
        match op:
            case Send(_, _, peer) | Recv(_, _, peer):
                return self.trace.site_id(Site(self._worker, op_name(op), peer, num_bytes))
            case _:
                return self.trace.site_id(Site(self._worker, op_name(op)))

    def record(self, site: int, cycle: int, position: int, start_s: float, end_s: float) -> None:
        """Append a span."""
        self.trace.record(site, cycle, position, start_s, end_s)

    def record_undecided(self, site: int, cycle: int, position: int, start_s: float, end_s: float) -> None:
        """Append the span of a computation that a verdict comes of."""
        self._undecided.setdefault(position, []).append(len(self.trace))
        self.record(site, cycle, position, start_s, end_s)

    def decide(self, position: int, accepted: bool) -> None:
        """Say what the verdict on a position was, in the spans that it came of."""
        for index in self._undecided.pop(position, ()):
            site = self.trace.sites[self.trace.site[index]]
            self.trace.site[index] = self.trace.site_id(Site(site.worker, site.op, accepted=accepted))
        if not accepted:
            # What was verified ahead is flushed: the positions come again, and their verdicts are of other drafts.
            self._undecided.clear()
