"""What a prediction is, and what its interval is made of: the same for every method."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from spdsim.errors import InputError
from spdsim.evidence.table import ROUNDING_STD, Row
from spdsim.prediction.cycles import Cycles
from spdsim.scenario.backing import Backing
from spdsim.scenario.profile import Profile
from spdsim.scenario.profile_file import figure, with_figures

QUANTILE = 2.0
"""Standard errors to either side: 95 % of a normal distribution, rounded up."""

_UNSEEN = 0.05
"""Standard deviation beyond the evidence of a profile that was never tried on what it had not seen: assumed."""

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a profile says of one row. low, high: about 95 %. outside: why it is an extrapolation, if it is one.

    rule_speedup: what the one-line rule says; None for a method that it says nothing of. cycles: None for one without.
    """

    wall_speedup: float
    low: float
    high: float
    rule_speedup: float | None
    cycles: Cycles | None
    outside: tuple[str, ...]


def scatter(backing: Backing, *, is_outside: bool) -> float:
    """Return the standard deviation of a measurement around a profile, within its evidence or beyond it."""
    within = backing.scatter_fraction or 0.0
    if not is_outside:
        return within
    # Never tried on what it had not seen: it may be further off there than any that was.
    unseen = backing.unseen_fraction or max(_UNSEEN, QUANTILE * within)
    return max(within, unseen)


def shifted(profile: Profile, shifts: Mapping[str, float], times: float) -> Profile:
    """Return the profile with some figures shifted, `times` over; none below zero."""
    return with_figures(profile, {key: figure(profile, key) + times * shift for key, shift in shifts.items()})


def rounded(row: Row) -> list[Row]:
    """Return the row with its theoretical speedup two standard errors of rounding more, and less.

    The baseline's rounding is left out: a faster layer makes both plain decoding and the stages faster.
    """
    speedups = [row.theoretical_speedup + side * ROUNDING_STD for side in (QUANTILE, -QUANTILE)]
    return [replace(row, theoretical_speedup=speedup) for speedup in speedups if speedup > 0.0]


def is_of_rivals(key: str) -> bool:
    """Whether a figure is of another method than SPD."""
    return key.startswith("rivals.")


def at(row: Row, work: Callable[[], Result]) -> Result:
    """Return what `work` returns; its error with the row's place."""
    try:
        return work()
    except InputError as error:
        text = str(error)
        raise InputError(text if text.startswith(row.place) else f"{row.place}: {text}") from None


__all__ = ["QUANTILE", "Prediction", "at", "is_of_rivals", "rounded", "scatter", "shifted"]
