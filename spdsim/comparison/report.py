"""What a comparison of two traces found, as plain values. Standard library only."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

from spdsim.comparison.figure import Figure
from spdsim.grades import GRADES, grade
from spdsim.trace import Source

LIMITS = (*GRADES, (0.20, "D"))
"""The grade up to the larger of the two errors that are graded; beyond the last it is F."""

Leg = Literal["post", "crossing", "handling"]
"""Of a message: its sender's posting, the way from there to a receiver that waits, what the receiver's host does."""

_WHOM = {"draft": "the draft rank", "stage": "the stages", "head": "the LM head's device"}
_LEGS = {"post": "posting", "crossing": "crossing", "handling": "handling"}


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two runs: who recorded it, and how much of it there is."""

    source: Source
    num_sequences: int
    num_tokens: int
    num_cycles: int
    num_rejections: int


@dataclass(frozen=True, slots=True)
class Durations:
    """How long something takes in one run, in seconds, and how often it was seen."""

    mean_s: float
    p50_s: float
    p95_s: float
    count: int


@dataclass(frozen=True, slots=True)
class Part(ABC):
    """What cycles are made of, in both runs; None where a run does not have it.

    explained_s: by how much the predicted mean cycle is longer because the predicted mean is: the difference of the
    means, worker by worker, times how often a cycle's critical path holds it, on average of both runs.
    noise_s: half the 95 % interval of `explained_s`; infinite where it cannot be told.
    """

    measured: Durations | None
    predicted: Durations | None
    explained_s: float
    noise_s: float

    @property
    @abstractmethod
    def name(self) -> str:
        """What it is, in words."""

    @property
    def means_s(self) -> tuple[float | None, float | None]:
        """The mean durations in seconds, measured and predicted."""
        measured_s, predicted_s = (side.mean_s if side else None for side in (self.measured, self.predicted))
        return measured_s, predicted_s


@dataclass(frozen=True, slots=True)
class TaskTimes(Part):
    """A task of the workers of one role, in decode cycles; a prefill where it is."""

    role: str
    op: str

    @property
    def name(self) -> str:
        return f"{self.op} of {_WHOM.get(self.role, self.role)}"


@dataclass(frozen=True, slots=True)
class MessageTimes(Part):
    """One leg of the messages with one payload, in decode cycles.

    A crossing is from the end of the posting to the end of the receipt, where the receiver waited for it.
    """

    payload: str
    leg: Leg

    @property
    def name(self) -> str:
        noun = "hidden state" if self.payload == "hidden" else self.payload
        return f"{_LEGS[self.leg]} of the {noun}{'' if self.payload.endswith('s') else 's'}"


@dataclass(frozen=True, slots=True)
class GapTimes(Part):
    """Seconds of a cycle's critical path that no span of the workers of one role covers: what their hosts do."""

    role: str

    @property
    def name(self) -> str:
        return f"time between the ops of {_WHOM.get(self.role, self.role)}"


@dataclass(frozen=True, slots=True)
class Culprit:
    """The part that moves the mean cycle most: its name, its means in seconds, and what it explains.

    explained_s: of the predicted mean cycle, less the measured one; explained_fraction: over the measured one.
    """

    name: str
    measured_s: float | None
    predicted_s: float | None
    explained_s: float
    explained_fraction: float


@dataclass(frozen=True, slots=True)
class WorkerComparison:
    """How one worker spends the decode time in both runs, in fractions."""

    worker: int
    role: str
    useful: Figure
    wasted: Figure
    idle: Figure


@dataclass(frozen=True, slots=True)
class Comparison:
    """How well a prediction meets a measurement.

    has_same_verdicts: every sequence has the same verdicts in both, so that the errors are those of timing alone.
    notes: what makes the two less comparable, a sentence each.
    """

    measured: Side
    predicted: Side
    has_same_verdicts: bool
    figures: tuple[Figure, ...]
    shares: tuple[WorkerComparison, ...]
    tasks: tuple[TaskTimes, ...]
    messages: tuple[MessageTimes, ...]
    gaps: tuple[GapTimes, ...]
    culprit: Culprit | None
    notes: tuple[str, ...]

    def figure(self, name: str) -> Figure:
        """Return the figure called `name`. Raises KeyError if there is none."""
        return {figure.name: figure for figure in self.figures}[name]

    @property
    def parts(self) -> tuple[Part, ...]:
        """All that cycles are made of."""
        return (*self.tasks, *self.messages, *self.gaps)

    @property
    def cycle_error(self) -> float:
        """Error of the mean cycle, a fraction."""
        return self.figure("cycle_mean_s").error_fraction or 0.0

    @property
    def time_per_token_error(self) -> float:
        """Error of the mean time per token, a fraction."""
        return self.figure("time_per_token_mean_s").error_fraction or 0.0

    @property
    def graded_error(self) -> float:
        """The larger of the sizes of these two errors, a fraction."""
        return max(abs(self.cycle_error), abs(self.time_per_token_error))

    @property
    def grade(self) -> str:
        """A where mean cycle and mean time per token are both within 2.5 %, B 5 %, C 10 %, D 20 %; else F."""
        return grade(self.graded_error, LIMITS, beyond="F")

    @property
    def worst(self) -> Figure:
        """The figure with the largest error; fractions, whose errors are points, are left out."""
        counted = [figure for figure in self.figures if not figure.is_fraction]
        return max(counted, key=lambda figure: abs(figure.error_fraction or 0.0))

    @property
    def cycle_difference_s(self) -> float:
        """Seconds by which the predicted mean cycle is longer."""
        cycle = self.figure("cycle_mean_s")
        return (cycle.predicted or 0.0) - (cycle.measured or 0.0)

    @property
    def unexplained_s(self) -> float:
        """What no difference of means explains of it: how durations spread, and how often cycles hold what."""
        return self.cycle_difference_s - sum(part.explained_s for part in self.parts)
