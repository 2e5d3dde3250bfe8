"""What the figures of a report need of a trace: sums, and a few numbers a cycle.

A long trace is read in pieces of whole sequences, so that memory stays that of the trace itself.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from spdsim.analysis.causality import causality
from spdsim.analysis.decoding import Decoding, decodings
from spdsim.analysis.fate import fates
from spdsim.analysis.hops import hops
from spdsim.analysis.plain import PlainWork, plain_work
from spdsim.analysis.shares import Ledger, spent_by_worker
from spdsim.analysis.soundness import check_header, check_spans
from spdsim.analysis.waterfall import CyclePath, cycle_path
from spdsim.errors import TraceError
from spdsim.trace import Trace

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_PIECE_SPANS = 400_000


@dataclass(frozen=True)
class Digest:
    """A trace, seen as sequences.

    windows: the decode window of each. plain: what plain decoding does too. path: the critical paths, added up.
    spent: seconds by worker and by what they went into.
    """

    num_stages: int
    windows: list[Decoding]
    plain: PlainWork
    path: CyclePath
    spent: Ledger

    @property
    def num_tokens(self) -> int:
        """Verified tokens, y_1 of each sequence included."""
        return sum(window.num_tokens for window in self.windows)

    @property
    def tokens_per_cycle(self) -> float:
        """Verified tokens of the sequences that decoded any after y_1, over the cycles."""
        return sum(window.num_tokens for window in self.windows if window.num_tokens > 1) / self.num_cycles

    @property
    def steps(self) -> "Floats":
        """Tokens decoded after y_1, by sequence."""
        return np.array([window.num_tokens - 1.0 for window in self.windows])

    @property
    def num_steps(self) -> int:
        """Tokens decoded after y_1."""
        return int(self.steps.sum())

    @property
    def num_cycles(self) -> int:
        """Cycles of all sequences."""
        return sum(len(window.cycle_s) for window in self.windows)

    @property
    def times_s(self) -> "Floats":
        """Decode time by sequence."""
        return np.array([window.time_s for window in self.windows])

    @property
    def acceptance(self) -> float | None:
        """Fraction of the verified drafts that were accepted; None where nothing was drafted."""
        num_drafted = sum(window.num_drafted for window in self.windows)
        if not num_drafted:
            return None
        return 1.0 - sum(window.num_rejected for window in self.windows) / num_drafted


def digest(trace: Trace) -> Digest:
    """Return the digest of `trace`.

    Raises TraceError for a trace without spans, or with spans that cannot be those of whole runs.
    """
    if not len(trace):
        raise TraceError("the trace holds no span: nothing to report")
    check_header(trace.header)
    pieces = [_digest_piece(trace.select(first, last), first) for first, last in _pieces(trace)]
    return Digest(
        trace.header.num_stages,
        [window for piece in pieces for window in piece.windows],
        PlainWork.sum(piece.plain for piece in pieces),
        CyclePath.sum(piece.path for piece in pieces),
        Ledger.sum(piece.spent for piece in pieces),
    )


def _pieces(trace: Trace) -> list[tuple[int, int]]:
    """Cut the sequences into runs of about `_PIECE_SPANS` spans: (first, one after the last)."""
    pieces, first = [], 0
    for sequence in range(trace.num_sequences):
        is_last = sequence + 1 == trace.num_sequences
        if is_last or trace.sequence_bounds(sequence + 1)[1] - trace.sequence_starts[first] > _PIECE_SPANS:
            pieces.append((first, sequence + 1))
            first = sequence + 1
    return pieces


def _digest_piece(piece: Trace, first_sequence: int) -> Digest:
    graph = causality(piece)
    windows = decodings(piece, graph, first_sequence)
    fate = fates(piece)
    num_workers = len(piece.header.workers)
    check_spans(piece, graph, fate, first_sequence)
    return Digest(
        piece.header.num_stages, windows,
        plain_work(graph, fate, hops(graph, num_workers), len(windows)),
        cycle_path(graph, windows), spent_by_worker(graph, fate, windows, num_workers),
    )  # fmt: skip
