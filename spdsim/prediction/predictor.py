"""Predicting rows: one simulation a configuration and a reading of the profile, and an interval for each row.

The interval covers about 95 %. It joins, as independent errors: each of the profile's uncertainties, the rounding
of the row's own figures, and the scatter of measurements around the profile; outside the profile's range, the
error that it made for configurations that its fit had not seen. Then it spans the profile's alternatives.

An error is tried two standard errors to either side, and the worse side counts: where the pace passes from the
stages to the draft, one side may do nothing. What errors and alternatives change is looked at with baselines in
steps of a quarter, so rows that differ in nothing else share it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from math import log, sqrt

from spdsim.errors import InputError
from spdsim.evidence.table import Row, rejections
from spdsim.prediction.case import Case, layer_s, scenario_of
from spdsim.prediction.cycles import Cycles, cycles_of
from spdsim.prediction.interval import QUANTILE, Prediction, at, is_of_rivals, rounded, scatter, shifted
from spdsim.prediction.speedup import rule_speedup, wall_speedup
from spdsim.scenario.profile import Profile
from spdsim.scenario.profile_file import figure, with_figures
from spdsim.scenario.target import TargetModel
from spdsim.scenario.target_files import load_model
from spdsim.timing.profile_range import outside

_NEAR = 1.1
"""How far a baseline may be from those of the evidence, or a draft from setting the pace, and still be near."""

_STEP = 1.25
"""How far baselines lie apart at which errors and alternatives are looked at."""

_TEMPERATURES = (0.0, 1.0)
"""Temperatures of the published runs."""

_DRAFT = ("draft", "draft_per_layer", "draft_fixed", "draft_sampling")
"""The figures that a draft takes its time from."""


@dataclass(frozen=True, slots=True, eq=False)
class _Reading:
    """One way to read a profile; told from others by which it is. draft_per_row_s: more of a draft for each row."""

    profile: Profile
    draft_per_row_s: float = 0.0

    def profile_for(self, case: Case) -> Profile:
        """The profile as it is for a number of stages."""
        if not self.draft_per_row_s:
            return self.profile
        key = "draft" if self.profile.draft is not None else "draft_fixed"
        known_s = 0.0 if getattr(self.profile, key) is None else figure(self.profile, key)
        return with_figures(self.profile, {key: known_s + self.draft_per_row_s * (case.stages + 1)})


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
        backing = profile.backing
        # What other methods take is of no account here.
        uncertainty = [error for error in backing.uncertainty if not all(map(is_of_rivals, error.shifts))]
        self._profile = profile
        self._best = _Reading(profile)
        self._errors = [
            tuple(_Reading(shifted(profile, error.shifts, side)) for side in (QUANTILE, -QUANTILE))
            for error in uncertainty
        ]
        self._alternatives = [
            _Reading(with_figures(profile, other.figures), other.draft_per_row_s or 0.0)
            for other in backing.alternatives
        ]
        self._slow_draft = _Reading(
            with_figures(profile, {key: _NEAR * figure(profile, key) for key in _DRAFT if getattr(profile, key)})
        )
        says = ["", *(error.says for error in uncertainty for _ in range(2))]
        says += [other.says for other in backing.alternatives]
        readings = [self._best, *(side for sides in self._errors for side in sides), *self._alternatives]
        for reading, words in zip(readings, says, strict=True):
            if figure(reading.profile, "forward_per_layer") <= 0.0:
                where = f" where {words!r} is looked at" if words else ""
                raise InputError(f"forward_per_layer is 0{where}: must be greater than 0, for a row's baseline sets it")
        self._cycles: dict[tuple[Case, _Reading], Cycles] = {}

    def predict(self, row: Row) -> Prediction:
        """Return what the profile says of a row; its wall speedup is not looked at.

        Raises InputError, with the row's place, where the row and the profile do not go together.
        """
        return at(row, lambda: self._predict(row))

    def speedup(self, row: Row) -> float:
        """Return the wall speedup of a row alone, without an interval."""
        return at(row, lambda: self._speedup(row, case_of(row), self._best))

    def _predict(self, row: Row) -> Prediction:
        case = case_of(row)
        best, base = self._speedup(row, case, self._best), self._cycles_of(case, self._best)
        reasons = tuple(self._outside(row, case, base))
        reach = self._reach(row, case, is_outside=bool(reasons))
        others = [1.0, *(self._ratio(row, case, reading) for reading in self._alternatives)]
        return Prediction(
            best, best * min(others) * max(0.0, 1.0 - reach), best * max(others) * (1.0 + reach),
            rule_speedup(row, case.model.num_layers), base, reasons,
        )  # fmt: skip

    def _speedup(self, row: Row, case: Case, reading: _Reading) -> float:
        return wall_speedup(self._cycles_of(case, reading), row.num_rejections, case.token_s)

    def _ratio(self, row: Row, case: Case, reading: _Reading) -> float:
        """By what another reading of the profile changes the speedup, near the row's baseline."""
        near = self._near(case)
        return self._speedup(row, near, reading) / self._speedup(row, near, self._best)

    def _reach(self, row: Row, case: Case, *, is_outside: bool) -> float:
        """How far the interval goes to either side, as a fraction, the alternatives aside."""
        best = self._speedup(row, case, self._best)
        moved = [[self._ratio(row, case, side) for side in sides] for sides in self._errors]
        moved.append([self._speedup(other, case, self._best) / best for other in _rounded(row)])
        worse = [max(abs(ratio - 1.0) for ratio in sides) for sides in moved]
        return sqrt(
            (QUANTILE * scatter(self._profile.backing, is_outside=is_outside)) ** 2 + sum(by**2 for by in worse)
        )

    def _outside(self, row: Row, case: Case, cycles: Cycles) -> Iterator[str]:
        known, is_bound = self._profile.range, cycles.is_draft_bound
        is_near = is_bound or self._cycles_of(self._near(case), self._slow_draft).is_draft_bound
        yield from outside(scenario_of(case, self._profile), self._profile, draft_matters=is_near)
        if known.even_cuts and case.model.num_layers % case.stages:
            cut = f"{case.model.num_layers} layers over {case.stages} stages"
            yield f"an uneven cut, {cut}: the profile was measured with even ones"
        if row.temperature not in _TEMPERATURES:
            yield f"temperature {row.temperature:g}: sampling was measured at 1"
        if known.plain_token_s is not None:
            least_s, most_s = known.plain_token_s
            if not least_s / _NEAR <= case.token_s <= most_s * _NEAR:
                yield "a baseline more than a tenth from those that the profile was fitted with"
        if is_bound:
            yield "the draft sets the pace: no measurement of the fit shows it"
        elif is_near:
            yield "the draft is within 10 % of setting the pace: no measurement of the fit shows it"
        pair = (case.stages, case.draft_layers)
        if is_near and known.drafts is not None and pair not in known.drafts:
            timed = " and ".join(f"{layers} beside {stages}" for stages, layers in known.drafts) or "none"
            yield f"a draft of {_count(case.draft_layers, 'layer')} beside {pair[0]} stages: timed were {timed}"

    def _near(self, case: Case) -> Case:
        """The case with its baseline in steps, so that others share it; its own where the LM head takes most of it."""
        known = self._profile.range.plain_token_s
        anchor_s = known[0] if known else 1.0
        if layer_s(case, self._profile) * case.model.num_layers < 0.5 * case.token_s:
            return case
        return replace(case, token_s=anchor_s * _STEP ** round(log(case.token_s / anchor_s) / log(_STEP)))

    def _cycles_of(self, case: Case, reading: _Reading) -> Cycles:
        key = (case, reading)
        if key not in self._cycles:
            self._cycles[key] = cycles_of(case, reading.profile_for(case))
        return self._cycles[key]


def _rounded(row: Row) -> list[Row]:
    """The row with its theoretical speedup two standard errors of rounding more, and less."""
    return [replace(other, num_rejections=rejections(other.theoretical_speedup, row.stages)) for other in rounded(row)]


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
