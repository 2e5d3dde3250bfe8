"""Rows of other methods in a table of SPD: an early exit that drafts for a pipeline (PPSD), drafts in rounds (EAGLE-3).

What the theoretical speedup S of such a row is: assumed to be the speed by the method's own law, drafts paid for, in
units of plain decoding, a draft layer as long as one of the target's L.

- PPSD, an exit of l layers behind the first of n stages: a cycle is 1/n + l/L of a token, so C = n K (1 + n l / L) / S
  cycles; as many rejections follow as with SPD.
- EAGLE-3, g drafts of one layer and a verification as long as a token: S = tau / (1 + g / L) with tau tokens a round.

Only SPD hides its draft, so its own S is n K / C. That S of the others pays for drafts is told by EAGLE-3's in the same
published table: it falls from 7 to 15 drafts a round, which tokens a round cannot do.

Times: PPSD is simulated with the profile's mechanisms, its exit on the first stage's device (`Case.has_early_exit`);
`rivals.early_exit_s` is fitted. A round of EAGLE-3 takes what S says, and `rivals.round_token_s` for each of its
tokens, fitted as well; what a draft takes is then of no account, for tau follows from S by the same law:

    wall = tau T / ((1 + g / L) T + tau t) = 1 / (1 / S + t / T)
"""

from collections.abc import Iterator
from dataclasses import replace
from math import sqrt

from spdsim.evidence.table import Row, rejections
from spdsim.prediction.case import Case
from spdsim.prediction.cycles import Cycles, cycles_of
from spdsim.prediction.interval import QUANTILE, Prediction, at, is_of_rivals, rounded, scatter, shifted
from spdsim.prediction.predictor import case_of
from spdsim.prediction.speedup import wall_speedup
from spdsim.scenario.profile import Profile

_NEAR = 1.1
"""How far a baseline may be from those of the evidence and still be near."""


def draft_share(row: Row, num_layers: int) -> float:
    """Return the layers that a cycle or a round drafts with, over those that the target computes in it."""
    return row.draft_layers * max(1, row.stages) / num_layers


def accept_length(row: Row, num_layers: int) -> float:
    """Return tau, the mean tokens of a round of EAGLE-3, from the theoretical speedup."""
    return row.theoretical_speedup * (1.0 + draft_share(row, num_layers))


class RivalPredictor:
    """Predicts rows of other methods with one profile; none where it has no times of the method."""

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self._errors = [
            tuple(shifted(profile, error.shifts, side) for side in (QUANTILE, -QUANTILE))
            for error in profile.backing.uncertainty
            if all(map(is_of_rivals, error.shifts))
        ]
        self._cycles: dict[tuple[Case, int], Cycles] = {}

    def predict(self, row: Row) -> Prediction | None:
        """Return what the profile says of a row, whose wall speedup is not looked at; None if it says nothing.

        Raises InputError, with the row's place, where the row and the profile do not go together.
        """
        return at(row, lambda: self._predict(row))

    def speedup(self, row: Row, profile: Profile | None = None) -> float:
        """Return the wall speedup of a row whose method the profile has times of. profile: another reading of it."""
        profile = self._profile if profile is None else profile
        case = self._case(row)
        if row.method == "eagle3":
            return 1.0 / (1.0 / row.theoretical_speedup + (profile.rivals.round_token_s or 0.0) / case.token_s)
        charged = row.theoretical_speedup * (1.0 + draft_share(row, case.model.num_layers))
        return wall_speedup(self._cycles_of(case, profile), rejections(charged, row.stages), case.token_s)

    def _predict(self, row: Row) -> Prediction | None:
        times = self._profile.rivals
        if (times.early_exit_s if row.method == "ppsd" else times.round_token_s) is None:
            return None
        best, case = self.speedup(row), self._case(row)
        reasons = tuple(self._outside(row, case))
        reach = self._reach(row, best, is_outside=bool(reasons))
        cycles = self._cycles_of(case, self._profile) if row.method == "ppsd" else None
        return Prediction(best, best * max(0.0, 1.0 - reach), best * (1.0 + reach), None, cycles, reasons)

    def _reach(self, row: Row, best: float, *, is_outside: bool) -> float:
        moved = [[self.speedup(row, side) / best for side in sides] for sides in self._errors]
        moved.append([self.speedup(other) / best for other in rounded(row)])
        worse = [max(abs(ratio - 1.0) for ratio in sides) for sides in moved]
        spread = QUANTILE * scatter(self._profile.backing, is_outside=is_outside)
        return sqrt(spread**2 + sum(by**2 for by in worse))

    def _outside(self, row: Row, case: Case) -> Iterator[str]:
        known = self._profile.range
        if known.models is not None and row.model.lower() not in map(str.lower, known.models):
            yield f"{row.model}: the profile was measured with {', '.join(known.models)}"
        if row.is_sampled:
            yield f"{row.method} with sampling: it was measured without"
        if row.method == "ppsd":
            measured, size, what = known.early_exit_stages, row.stages, "stages"
        else:
            measured, size, what = known.round_drafts, row.draft_layers, "drafts a round"
        if measured is not None and size not in measured:
            yield f"{row.method} with {size} {what}: it was measured with {' and '.join(map(str, measured))}"
        if row.method == "ppsd" and row.draft_layers != 1:
            yield f"an early exit of {row.draft_layers} layers: measured was one of 1"
        if known.plain_token_s is not None:
            least_s, most_s = known.plain_token_s
            if not least_s / _NEAR <= case.token_s <= most_s * _NEAR:
                yield "a baseline more than a tenth from those that the profile was fitted with"

    def _case(self, row: Row) -> Case:
        return replace(case_of(row), has_early_exit=row.method == "ppsd")

    def _cycles_of(self, case: Case, profile: Profile) -> Cycles:
        key = (case, id(profile))
        if profile is not self._profile and all(profile is not side for sides in self._errors for side in sides):
            return cycles_of(case, profile)
        if key not in self._cycles:
            self._cycles[key] = cycles_of(case, profile)
        return self._cycles[key]


__all__ = ["RivalPredictor", "accept_length", "draft_share"]
