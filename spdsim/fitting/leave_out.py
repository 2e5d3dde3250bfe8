"""Leaving a configuration out: fit without all evidence of one number of stages, and predict its rows.

Rows and breakdown of that configuration go, so what only the pair of breakdowns tells (growth with the ranks, a
draft's fixed part) falls back to what one tells: no growth, a draft proportional to its layers.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from spdsim.errors import InputError
from spdsim.evidence import Breakdown, Row
from spdsim.fitting.fit import CALIBRATE, Fit, calibration_rows, fit_profile
from spdsim.prediction import Predictor


@dataclass(frozen=True, slots=True)
class LeftOut:
    """What a fit without one number of stages says of its rows.

    errors: predicted over published, less 1, of the rows with evidence, whatever their use. no_evidence: the same of
    the rows whose sampling no other configuration was measured with; they are predicted without its cost.
    """

    stages: int
    errors: tuple[tuple[Row, float], ...]
    no_evidence: tuple[tuple[Row, float], ...]

    @property
    def calibration_error(self) -> float | None:
        """Mean error of the calibration rows, all that a profile may know; None where there are none."""
        errors = [error for row, error in self.errors if row.use == CALIBRATE]
        return sum(errors) / len(errors) if errors else None

    @property
    def mean_absolute_error(self) -> float:
        """Mean of the errors' sizes."""
        return sum(abs(error) for _, error in self.errors) / len(self.errors)

    @property
    def mean_error(self) -> float:
        """Mean of the errors."""
        return sum(error for _, error in self.errors) / len(self.errors)


def leave_one_out(
    rows: Sequence[Row],
    breakdowns: tuple[Breakdown, ...],
    source: str,
    where: str = "the table",
    progress: Callable[[int, int], None] | None = None,
) -> tuple[LeftOut, ...]:
    """Return what a fit without each number of stages predicts for it; nothing where only one is known.

    Rows of every use are predicted, calibration rows of the other configurations are fitted.
    progress: called with (fits done, fits in all), before each of them.
    """
    known = sorted({row.stages for row in calibration_rows(rows)} & {b.stages for b in breakdowns})
    found = []
    for number, stages in enumerate(known if len(known) > 1 else ()):
        if progress is not None:
            progress(number, len(known))
        # The others alone may be too little to fit: then nothing is known of this one.
        with suppress(InputError):
            found.append(_without(stages, rows, breakdowns, source, where))
    return tuple(out for out in found if out.errors)


def _without(stages: int, rows: Sequence[Row], breakdowns: tuple[Breakdown, ...], source: str, where: str) -> LeftOut:
    kept = tuple(breakdown for breakdown in breakdowns if breakdown.stages != stages)
    fit = fit_profile([row for row in rows if row.stages != stages], kept, source, where)
    predictor = Predictor(fit.profile)
    measured = [row for row in rows if row.stages == stages and not row.is_mean]
    errors = [(row, error) for row in measured if (error := _error(predictor, row)) is not None]
    knows_sampling = _knows_sampling(fit)
    return LeftOut(
        stages,
        tuple((row, error) for row, error in errors if knows_sampling or not row.is_sampled),
        tuple((row, error) for row, error in errors if row.is_sampled and not knows_sampling),
    )


def _error(predictor: Predictor, row: Row) -> float | None:
    """Predicted over published, less 1; None for a row that cannot be predicted: the fit must not depend on it."""
    if row.wall_speedup is None:
        return None
    try:
        return predictor.speedup(row) / row.wall_speedup - 1.0
    except InputError:
        return None


def _knows_sampling(fit: Fit) -> bool:
    return "sampling_s" in fit.names
