"""Recorded verdicts, and the fill depth at which each draft was made.

What follows from the schedule alone: a rejection flushes everything younger, so the drafts after it are made with
1, 2, … tokens in flight until the pipeline is full, whatever becomes of them. `tests/test_acceptance_walk.py` holds
that against `spdsim.schedules.spd`, cycle by cycle.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from spdsim.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Bools = NDArray[np.bool_]
    Ints = NDArray[np.int64]


def next_depth(depth: int, is_accepted: bool, capacity: int) -> int:
    """Return the fill depth of the draft after one that was made at `depth`, given its verdict.

    capacity: tokens in flight when the pipeline is full, n + k.
    """
    return min(depth + 1, capacity) if is_accepted else 1


def fill_depths(accepted: Iterable[bool], capacity: int) -> list[int]:
    """Return the tokens that were in flight when each verified draft of a sequence was made, 1 to `capacity`.

    accepted: the verdicts on y_2, y_3, … The draft of y_2 is made with y_1 alone in flight.
    """
    found, depth = [], 1
    for is_accepted in accepted:
        found.append(depth)
        depth = next_depth(depth, is_accepted, capacity)
    return found


@dataclass(frozen=True, slots=True)
class Verdicts:
    """What was verified: of each sequence the verdicts on y_2, y_3, …; a sequence of one token has none.

    Raises InputError with one stage, where nothing is drafted, and for a lag below 0.
    """

    records: tuple[tuple[bool, ...], ...]
    num_stages: int
    verification_lag: int = 0

    def __post_init__(self) -> None:
        if self.num_stages < 2:
            raise InputError(f"stages is {self.num_stages}: must be at least 2: with one stage nothing is drafted")
        if self.verification_lag < 0:
            raise InputError(f"verification_lag is {self.verification_lag}: must be at least 0")

    @property
    def capacity(self) -> int:
        """Tokens in flight when the pipeline is full."""
        return self.num_stages + self.verification_lag

    @property
    def num_drafts(self) -> int:
        """Verified drafts."""
        return sum(map(len, self.records))

    @property
    def num_accepted(self) -> int:
        """Accepted drafts."""
        return sum(map(sum, self.records))


@dataclass(frozen=True, slots=True)
class Table:
    """The sequences that have verdicts, side by side: S sequences, T drafts of the longest.

    accepted_ST: false beyond a sequence's end. depth_ST: fill depth, 0 beyond the end. lengths_S: drafts of each.
    num_stages: n; what is in flight beyond that has left the stages.
    """

    accepted_ST: "Bools"
    depth_ST: "Ints"
    lengths_S: "Ints"
    num_stages: int

    @classmethod
    def of(cls, verdicts: Verdicts) -> "Table":
        """Return the table of all sequences that have a verdict."""
        records = [record for record in verdicts.records if record]
        longest = max(map(len, records), default=0)
        accepted_ST, depth_ST = np.zeros((len(records), longest), bool), np.zeros((len(records), longest), np.int64)
        for row, record in enumerate(records):
            accepted_ST[row, : len(record)] = record
            depth_ST[row, : len(record)] = fill_depths(record, verdicts.capacity)
        lengths_S = np.array([len(record) for record in records], np.int64)
        return cls(accepted_ST, depth_ST, lengths_S, verdicts.num_stages)

    @property
    def is_draft_ST(self) -> "Bools":
        """Where there is a draft."""
        return np.asarray(self.depth_ST > 0)
