"""What a validation found, as plain values."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from spdsim.evidence import Row
from spdsim.evidence.sheet import Record
from spdsim.fitting import LeftOut
from spdsim.grades import GRADES, grade
from spdsim.prediction import Prediction

Status = Literal["ok", "predicted", "skipped"]
"""ok: predicted and compared; predicted: nothing published to compare with; skipped: a method that is not known, or of
which the profile has no times."""


def error_sizes(errors: Sequence[float | None]) -> tuple[float, float, float]:
    """Return mean, mean absolute and largest error, the last with its sign; of the errors that are known."""
    known = [error for error in errors if error is not None]
    return sum(known) / len(known), sum(map(abs, known)) / len(known), max(known, key=abs)


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the table: its cells, and row and prediction where there is one."""

    record: Record
    row: Row | None = None
    prediction: Prediction | None = None

    @property
    def status(self) -> Status:
        """What became of the line."""
        if self.row is None:
            return "skipped"
        return "predicted" if self.row.wall_speedup is None else "ok"

    @property
    def error(self) -> float | None:
        """Predicted over published, less 1."""
        return self._over_published(self.prediction.wall_speedup if self.prediction else None)

    @property
    def rule_error(self) -> float | None:
        """The same of the one-line rule."""
        return self._over_published(self.prediction.rule_speedup if self.prediction else None)

    @property
    def is_counted(self) -> bool:
        """Whether the line's error counts: a mean of other lines is shown only."""
        return self.error is not None and self.row is not None and not self.row.is_mean

    def _over_published(self, speedup: float | None) -> float | None:
        if speedup is None or self.row is None or self.row.wall_speedup is None:
            return None
        return speedup / self.row.wall_speedup - 1.0


@dataclass(frozen=True, slots=True)
class Group:
    """Errors of the counted lines that share a value: mean, mean absolute, and the largest with its sign.

    by: what the lines of SPD share; or another method, whose lines share their use. The one-line rule is of SPD.
    """

    by: str
    value: str
    num_rows: int
    mean_error: float
    mean_absolute_error: float
    largest_error: float
    rule_mean_error: float | None
    rule_mean_absolute_error: float | None
    rule_largest_error: float | None


@dataclass(frozen=True, slots=True)
class Validation:
    """All that a validation found. limits: what the figures cannot say, a sentence each.

    has_intervals: the profile says how well its figures are known; without it an interval would be no width at all.
    """

    profile: str
    profile_origin: str
    profile_source: str
    table: str
    lines: tuple[Line, ...]
    groups: tuple[Group, ...]
    limits: tuple[str, ...]
    left_out: tuple[LeftOut, ...] = ()
    has_intervals: bool = True

    @property
    def graded(self) -> Group | None:
        """The group that the grade is for: SPD's rows to validate with, or all of SPD where there are none."""
        by_name = {(group.by, group.value): group for group in self.groups}
        return by_name.get(("use", "validate"), by_name.get(("all", "all")))

    @property
    def is_rule_nearer(self) -> bool:
        """Whether the one-line rule is nearer in the graded group: then the grade is D."""
        group = self.graded
        rule = None if group is None else group.rule_mean_absolute_error
        return group is not None and rule is not None and group.mean_absolute_error > rule

    @property
    def grade(self) -> str | None:
        """A to D by the graded group's mean absolute error; D as well where the one-line rule is better."""
        group = self.graded
        if group is None:
            return None
        if self.is_rule_nearer:
            return "D"
        return grade(group.mean_absolute_error, GRADES, beyond="D")
