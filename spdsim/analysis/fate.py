"""What became of the work in a trace: used, flushed by a rejection, or abandoned at the end.

Worked out from the committed verdicts alone, so it holds for a simulated and for a real run.
"""

from typing import TYPE_CHECKING

import numpy as np

from spdsim.trace import Trace

if TYPE_CHECKING:
    from numpy.typing import NDArray

USEFUL, WASTED, ABANDONED = 0, 1, 2

# Ops about a token that runs through the stages, about a token that is proposed, and about its verification.
_WAYS = ("send", "recv", "handle")
_FORWARD_OPS = frozenset(
    {"forward", "issue forward", *(f"{way} {payload}" for way in _WAYS for payload in ("hidden", "features"))}
)
_DRAFT_OPS = frozenset({"draft", "issue draft", *(f"{way} draft" for way in _WAYS)})
_VERIFY_OPS = frozenset({"verify", "combine", "issue verify", "issue combine", *(f"{way} partial" for way in _WAYS)})


def rejections(trace: Trace) -> list[tuple[int, int, int, float]]:
    """Return (sequence, cycle, position, time in s) of every rejection, in order, from the driver's commits."""
    found = []
    for sequence in range(trace.num_sequences):
        for i in _commits(trace, sequence):
            if trace.sites[trace.site[i]].accepted is False:
                found.append((sequence, trace.cycle[i], trace.position[i], trace.end_s[i]))
    return found


def fates(trace: Trace) -> "NDArray[np.uint8]":
    """Return USEFUL, WASTED or ABANDONED for every span.

    A rejection of position r in cycle t flushes what cycles up to t did for position r and younger ones
    (r itself was run with the wrong token, but its verification was not in vain). What is left beyond the
    last token asked for is abandoned. Bookkeeping, verdicts and the prefill are always useful.
    """
    fate = np.zeros(len(trace), np.uint8)
    if not len(trace):
        return fate
    kind = np.array([_kind(site.op) for site in trace.sites], np.int8)[np.frombuffer(trace.site, np.uint16)]
    cycle, position = np.frombuffer(trace.cycle, np.int32), np.frombuffer(trace.position, np.int32)
    for sequence in range(trace.num_sequences):
        start, stop = trace.sequence_bounds(sequence)
        commits = _commits(trace, sequence)
        flushed = [i for i in commits if trace.sites[trace.site[i]].accepted is False]
        fate[start:stop] = _fates_of_sequence(
            kind[start:stop], cycle[start:stop], position[start:stop],
            np.array([trace.position[i] for i in flushed], np.int64),
            np.array([trace.cycle[i] for i in flushed], np.int64), len(commits),
        )  # fmt: skip
    return fate


def _fates_of_sequence(
    kind: "NDArray[np.int8]", cycle: "NDArray[np.int32]", position: "NDArray[np.int32]",
    rejected_position: "NDArray[np.int64]", rejected_cycle: "NDArray[np.int64]", num_tokens: int,
) -> "NDArray[np.uint8]":  # fmt: skip
    # The verification of r survives the rejection of r, so it asks for rejections of strictly older positions.
    asked = position - (kind == 3)
    last = np.searchsorted(rejected_position, asked, side="right")
    flushed_until = np.concatenate(([np.iinfo(np.int64).min], rejected_cycle))[last]
    # The token at the last position is verified, but never run through the stages.
    beyond = position >= np.where(kind == 1, num_tokens - 1, num_tokens)
    fate = np.where(flushed_until >= cycle, WASTED, np.where(beyond, ABANDONED, USEFUL))
    return np.where((kind == 0) | (cycle < 0), USEFUL, fate).astype(np.uint8)


def _kind(op: str) -> int:
    return 1 if op in _FORWARD_OPS else 2 if op in _DRAFT_OPS else 3 if op in _VERIFY_OPS else 0


def _commits(trace: Trace, sequence: int) -> list[int]:
    """Indices of the commit spans of `sequence`: its delivered verdicts, y_1 first."""
    start, stop = trace.sequence_bounds(sequence)
    is_commit = np.array([site.op == "commit" for site in trace.sites])
    site = np.frombuffer(trace.site, np.uint16)[start:stop]
    return [int(i) + start for i in np.flatnonzero(is_commit[site])]
