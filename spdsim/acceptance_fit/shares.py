"""What is read off verdicts without any model: shares of accepted drafts, runs, and tokens per cycle.

Intervals of shares are Wilson's (1927), for drafts that are accepted independently; over whole sequences they are
those of `spdsim.analysis.estimates`, which hold where drafts of one sequence are alike too.
"""

from dataclasses import dataclass
from math import sqrt

import numpy as np

from spdsim import theory
from spdsim.acceptance_fit.verdicts import Table, Verdicts
from spdsim.analysis.estimates import ratio

_Z = 1.959964

RUN_STARTS = (0, 1, 2, 3, 5, 9, 17, 33, 65)
"""The shortest run of each class of lengths; the last class has no end."""


@dataclass(frozen=True, slots=True)
class Share:
    """So many of so many drafts were accepted; low, high: the 95 % interval. Of no draft nothing is known."""

    accepted: int
    count: int

    @property
    def fraction(self) -> float | None:
        """Accepted over all."""
        return self.accepted / self.count if self.count else None

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval."""
        return wilson(self.accepted, self.count)


def wilson(accepted: float, count: float) -> tuple[float, float]:
    """Return the 95 % interval of a probability (Wilson 1927); (0, 1) without any trial."""
    if not count:
        return 0.0, 1.0
    p, z2 = accepted / count, _Z**2
    middle = (p + z2 / (2 * count)) / (1 + z2 / count)
    half = _Z / (1 + z2 / count) * sqrt(p * (1 - p) / count + z2 / (4 * count**2))
    # At the ends rounding must not leave the share itself outside.
    return max(0.0, min(p, middle - half)), min(1.0, max(p, middle + half))


def over_sequences(verdicts: Verdicts) -> tuple[float, float] | None:
    """Return the 95 % interval of the acceptance over whole sequences; None with one, or where all verdicts agree."""
    records = [record for record in verdicts.records if record]
    if len(records) < 2 or verdicts.num_accepted in (0, verdicts.num_drafts):
        return None
    accepted = np.array([float(sum(record)) for record in records])
    _, low, high = ratio(accepted, np.array([float(len(record)) for record in records]))
    return None if low is None or high is None else (max(0.0, low), min(1.0, high))


def by_depth(table: Table) -> tuple[Share, ...]:
    """Return the share of each fill depth that occurred, 1 first."""
    counts = np.bincount(table.depth_ST.ravel())
    accepted = np.bincount(table.depth_ST[table.accepted_ST], minlength=len(counts))
    return tuple(Share(*map(int, pair)) for pair in zip(accepted[1:], counts[1:], strict=True))


def by_third(verdicts: Verdicts) -> tuple[Share, Share, Share]:
    """Return the shares of the early, the middle and the late third of every sequence."""
    accepted, count = [0, 0, 0], [0, 0, 0]
    for record in verdicts.records:
        bounds = [len(record) * part // 3 for part in range(4)]
        for part in range(3):
            drafts = record[bounds[part] : bounds[part + 1]]
            accepted[part] += sum(drafts)
            count[part] += len(drafts)
    early, middle, late = map(Share, accepted, count)
    return early, middle, late


def by_sequence(verdicts: Verdicts) -> tuple[Share, ...]:
    """Return the share of every sequence."""
    return tuple(Share(sum(record), len(record)) for record in verdicts.records)


def run_class(length: int) -> int:
    """Return the class of a run of `length` accepted drafts."""
    return int(np.searchsorted(RUN_STARTS, length, side="right")) - 1


def runs(verdicts: Verdicts) -> tuple[int, ...]:
    """Return how many runs of accepted drafts there are of each class: those that a rejection ended, 0 and longer."""
    found = [0] * len(RUN_STARTS)
    for record in verdicts.records:
        length = 0
        for is_accepted in record:
            if is_accepted:
                length += 1
            else:
                found[run_class(length)] += 1
                length = 0
    return tuple(found)


def run_labels() -> tuple[str, ...]:
    """Return the lengths of each class in words: "0", "3-4", "65+"."""
    ends = (*(start - 1 for start in RUN_STARTS[1:]), None)
    return tuple(
        f"{start}+" if end is None else str(start) if start == end else f"{start}-{end}"
        for start, end in zip(RUN_STARTS, ends, strict=True)
    )


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast the schedule is with these verdicts. Stages are equal and nothing else is to be paid.

    num_tokens: K of all sequences with a draft, y_1 of each included. num_cycles: C_k(K) = (K - 1) + (n + k - 1)(R + 1)
    of each, added up. speedup: n (K - 1) / C, over plain decoding. law: n / (1 + (1 - p)(n + k - 1)), the limit of long
    runs at the same acceptance.
    """

    num_tokens: int
    num_cycles: int
    speedup: float
    law: float

    @property
    def tokens_per_cycle(self) -> float:
        """K / C."""
        return self.num_tokens / self.num_cycles


def pace(verdicts: Verdicts) -> Pace:
    """Return how fast the schedule is with these verdicts, of which there is at least one."""
    n, lag = verdicts.num_stages, verdicts.verification_lag
    records = [record for record in verdicts.records if record]
    # After the last token nothing is filled again, so that its rejection costs nothing.
    cycles = sum(theory.cycles(len(record) + 1, record[:-1].count(False), n, lag) for record in records)
    steps = sum(map(len, records))
    law = theory.speedup(n, verdicts.num_accepted / verdicts.num_drafts, lag)
    return Pace(steps + len(records), cycles, n * steps / cycles, law)
