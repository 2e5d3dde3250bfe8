"""What a run says while it goes on, and what is left of it at the end. Standard library and `spdsim.trace` only."""

from collections.abc import Callable
from dataclasses import dataclass

from executor.plan import JobResult
from spdsim.trace import Trace


@dataclass(frozen=True, slots=True)
class Ready:
    """All ranks have loaded and are connected. load_s: how long that took worker 0. devices: of each worker, named."""

    load_s: float
    devices: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TokenVerified:
    """A token is verified: final, whatever comes. accepted: its draft was right; y_1 counts as accepted."""

    job: int
    token: int
    accepted: bool


@dataclass(frozen=True, slots=True)
class JobDone:
    """A job has ended."""

    job: int
    result: JobResult


Event = Ready | TokenVerified | JobDone
Sink = Callable[[Event], None]


@dataclass(frozen=True, slots=True)
class RankReport:
    """What one rank hands over at the end: its spans (sequences: the recorded jobs in their order), and its needs.

    held_bytes: what loading its part took. peak_bytes: the most memory that its process, or its GPU, had in use.
    """

    worker: int
    spans: Trace
    peak_bytes: int
    held_bytes: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """A whole run: the result of every job, and every rank's report, in the order of workers."""

    results: tuple[JobResult, ...]
    reports: tuple[RankReport, ...]
