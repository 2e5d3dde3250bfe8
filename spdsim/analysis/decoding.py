"""The decode windows of a trace: where each sequence begins and ends, its cycles and its tokens.

The driver (the draft rank; the only stage, if there is one) commits tokens, so its clock is the one that counts.
Decoding begins when it has committed y_1 and ends with its last cycle. A token counts at the end of the
driver's cycle that carries its verdict.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from spdsim.analysis.causality import Causality
from spdsim.errors import TraceError
from spdsim.trace import Trace

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]
    Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Decoding:
    """One sequence: its window in seconds, the driver's cycles and the verdicts.

    cycle_s: length of each of the driver's cycles, start to start, shape (C,). tokens: how many each of them
    brought, shape (C,). num_tokens: verified tokens, y_1 included (K). num_drafted: drafts that were verified,
    K - 1 where every token was drafted; num_rejections: rejections after which something was refilled, and
    `num_rejected` among all that were verified. last_span: the driver's last.
    """

    prompt_at_s: float
    begin_s: float
    end_s: float
    cycle_s: "Floats"
    tokens: "Ints"
    num_tokens: int
    num_drafted: int
    num_rejections: int
    num_rejected: int
    last_span: int

    @property
    def is_full(self) -> "NDArray[np.bool_]":
        """Whether each cycle brought a verdict, shape (C,)."""
        return self.tokens > 0

    @property
    def time_s(self) -> float:
        """Seconds of decoding, prefill left out."""
        return self.end_s - self.begin_s

    def refills_s(self) -> float:
        """Return the seconds of all fill cycles after the first verdict."""
        first_full = int(np.argmax(self.is_full)) if len(self.is_full) else 0
        later = self.cycle_s[first_full:]
        return float(later[~self.is_full[first_full:]].sum())

    def token_gaps_s(self) -> "Floats":
        """Return the seconds between one token and the next, shape (K - 1,); tokens of one cycle come together."""
        ends_s = np.repeat(np.cumsum(self.cycle_s), self.tokens)
        return np.diff(ends_s, prepend=0.0)


def decodings(trace: Trace, graph: Causality, first_sequence: int = 0) -> list[Decoding]:
    """Return the decode window of every sequence.

    Raises TraceError where a sequence has no commit of y_1; it counts sequences from `first_sequence`.
    """
    is_commit = graph.of_op("commit")
    site = np.frombuffer(trace.site, np.uint16)
    rejected = np.array([s.accepted is False for s in trace.sites])
    # Where a schedule has one stage its trace tells of no drafts; else each commit says what it was.
    drafted = np.array([s.accepted is not None for s in trace.sites])
    found = []
    for sequence in range(trace.num_sequences):
        start, stop = trace.sequence_bounds(sequence)
        commits = np.flatnonzero(is_commit[start:stop]) + start
        if not len(commits) or graph.cycle[commits[0]] != -1:
            raise TraceError(
                f"sequence {first_sequence + sequence} has no commit in cycle -1: the first token is missing"
            )
        driver = np.flatnonzero(graph.worker[start:stop] == graph.worker[commits[0]]) + start
        verdicts = drafted[site[commits]], rejected[site[commits]]
        found.append(_decoding(graph, start, stop, commits, verdicts, driver))
    return found


def _decoding(
    graph: Causality, start: int, stop: int, commits: "Ints",
    verdicts: "tuple[NDArray[np.bool_], NDArray[np.bool_]]", driver: "Ints",
) -> Decoding:  # fmt: skip
    drafted, rejected = verdicts
    num_cycles = int(graph.cycle[driver[-1]]) + 1
    begin_s = float(graph.end_s[commits[0]])
    ends_s = np.full(num_cycles, begin_s)
    decoding = driver[graph.cycle[driver] >= 0]
    np.maximum.at(ends_s, graph.cycle[decoding], graph.end_s[decoding])
    tokens = np.bincount(graph.cycle[commits[1:]], minlength=num_cycles)
    return Decoding(
        prompt_at_s=float(graph.start_s[start:stop].min()), begin_s=begin_s,
        end_s=float(ends_s[-1]) if num_cycles else begin_s,
        cycle_s=np.diff(ends_s, prepend=begin_s), tokens=tokens, num_tokens=len(commits),
        num_drafted=int(drafted[1:].sum()), num_rejections=int(rejected[1:-1].sum()),
        num_rejected=int(rejected.sum()), last_span=int(driver[-1]),
    )  # fmt: skip
