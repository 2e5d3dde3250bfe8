"""Predicting rows: one simulation a configuration and a reading of the profile, and an interval for each row.

The interval covers about 95 %. It joins, as independent errors: each of the profile's uncertainties, the rounding
of the row's own figures, and the scatter of measurements around the profile; outside the profile's range, the
error that it made for configurations that its fit had not seen. Then it spans the profile's alternatives.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from math import sqrt
from typing import TypeVar

from spdsim.errors import InputError
from spdsim.evidence.table import Row, rejections
from spdsim.prediction.case import Case, scenario_of
from spdsim.prediction.cycles import Cycles, cycles_of
from spdsim.prediction.speedup import rule_speedup, wall_speedup
from spdsim.scenario.profile import Profile
from spdsim.scenario.profile_file import figure, with_figures
from spdsim.scenario.target import TargetModel
from spdsim.scenario.target_files import load_model
from spdsim.timing.profile_range import outside

_QUANTILE = 2.0
"""Standard errors to either side: 95 % of a normal distribution, rounded up."""

_ROUNDING_STD = 0.01 / sqrt(12.0)
"""Standard deviation of what rounding to two decimals takes away."""


_NEAR = 1.1
"""How far a baseline may be from those of the evidence and still be near them."""

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a profile says of one row. low, high: about 95 %. outside: why it is an extrapolation, if it is one.

    rule_speedup: what the one-line rule says.
    """

    wall_speedup: float
    low: float
    high: float
    rule_speedup: float
    cycles: Cycles
    outside: tuple[str, ...]


@cache
def _model(name: str) -> TargetModel:
    return load_model(name)


def case_of(row: Row) -> Case:
    """Return the configuration of a row. Raises InputError, with the row's place, for a model that is not known."""
    try:
        model = _model(row.model)
    except InputError as error:
        raise InputError(f"{row.place}: {error}") from None
    return Case(model, row.stages, row.draft_layers, row.is_sampled, row.token_s)


class Predictor:
    """Predicts rows with one profile. Cycles are kept by configuration, so a table costs a few simulations."""

    def __init__(self, profile: Profile) -> None:
        """Make ready for rows. Raises InputError for a profile whose layers cannot follow a row's baseline."""
        if profile.forward_per_layer is None:
            raise InputError("forward_per_layer is missing: must be given, for a row's baseline sets it")
        self._profile = profile
        self._errors = [_shifted(profile, error.shifts) for error in profile.backing.uncertainty]
        self._alternatives = [with_figures(profile, other.figures) for other in profile.backing.alternatives]
        self._cycles: dict[tuple[Case, int], Cycles] = {}

    def predict(self, row: Row) -> Prediction:
        """Return what the profile says of a row; its wall speedup is not looked at.

        Raises InputError, with the row's place, where the row and the profile do not go together.
        """
        return _at(row, lambda: self._predict(row))

    def speedup(self, row: Row) -> float:
        """Return the wall speedup of a row alone, without an interval."""
        return _at(row, lambda: self._speedup(row, self._profile))

    def _predict(self, row: Row) -> Prediction:
        case = case_of(row)
        best, base = self._speedup(row, self._profile), self._cycles_of(case, self._profile)
        reasons = tuple(self._outside(case, base))
        std = self._relative_std(row, best, is_outside=bool(reasons))
        others = [self._speedup(row, profile) for profile in self._alternatives]
        reach = _QUANTILE * std
        return Prediction(
            best, min(best, *others, best) * (1.0 - reach), max(best, *others, best) * (1.0 + reach),
            rule_speedup(row, case.model.num_layers), base, reasons,
        )  # fmt: skip

    def _speedup(self, row: Row, profile: Profile) -> float:
        return wall_speedup(self._cycles_of(case_of(row), profile), row.num_rejections, row.token_s)

    def _relative_std(self, row: Row, best: float, *, is_outside: bool) -> float:
        backing = self._profile.backing
        moved = [self._speedup(row, profile) for profile in self._errors]
        moved += [self._speedup(rounded, self._profile) for rounded in _rounded(row)]
        unseen = backing.unseen_fraction if is_outside else None
        scatter = max(backing.scatter_fraction or 0.0, unseen or 0.0)
        return sqrt(scatter**2 + sum((speedup / best - 1.0) ** 2 for speedup in moved))

    def _outside(self, case: Case, cycles: Cycles) -> list[str]:
        scenario = scenario_of(case, self._profile)
        found = list(outside(scenario, self._profile, draft_matters=cycles.is_draft_bound))
        known = self._profile.range.plain_token_s
        if known is not None and not known[0] / _NEAR <= case.token_s <= known[1] * _NEAR:
            found.append("a baseline more than a tenth from those that the profile was fitted with")
        if cycles.is_draft_bound:
            found.append("the draft sets the pace: no measurement of the fit shows it")
        return found

    def _cycles_of(self, case: Case, profile: Profile) -> Cycles:
        key = (case, id(profile))
        if key not in self._cycles:
            self._cycles[key] = cycles_of(case, profile)
        return self._cycles[key]


def _at(row: Row, work: Callable[[], Result]) -> Result:
    """Return what `work` returns; its error with the row's place."""
    try:
        return work()
    except InputError as error:
        text = str(error)
        raise InputError(text if text.startswith(row.place) else f"{row.place}: {text}") from None


def _shifted(profile: Profile, shifts: Mapping[str, float]) -> Profile:
    return with_figures(profile, {key: figure(profile, key) + shift for key, shift in shifts.items()})


def _rounded(row: Row) -> list[Row]:
    """The row with its theoretical speedup, and with its baseline, off by a standard deviation of rounding."""
    speedup = row.theoretical_speedup + _ROUNDING_STD
    return [
        replace(row, theoretical_speedup=speedup, num_rejections=rejections(speedup, row.stages)),
    ]
