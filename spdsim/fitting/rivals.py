"""What other methods take, one figure each, fitted to their calibration rows: greedy, of single data sets.

`spdsim.prediction.rivals` says what the figures are. Weights come from the rounding of a row's two speedups; where the
rows scatter more than that, the standard error grows with them (chi-squared over the degrees of freedom).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import exp, log, sqrt

from spdsim.errors import InputError
from spdsim.evidence import Row
from spdsim.evidence.table import ROUNDING_STD, Method
from spdsim.fitting.fit import calibration_rows
from spdsim.prediction import RivalPredictor
from spdsim.scenario.backing import Uncertainty
from spdsim.scenario.hardware import Provenance
from spdsim.scenario.profile import Profile
from spdsim.scenario.profile_file import with_figures

_STEP_S, _FIRST_S, _CLOSE_S, _MAX_ROUNDS = 1e-5, 1e-3, 1e-9, 24
_WORST_RESIDUAL = 0.2
"""Beyond, a row is a slip."""


@dataclass(frozen=True, slots=True)
class RivalFigure:
    """A fitted figure: its key in a profile, its value and standard error, and what was left of each row's speedup.

    sizes: stages or drafts a round that it was fitted with.
    """

    key: str
    value_s: float
    std_s: float
    residuals: tuple[float, ...]
    sizes: tuple[int, ...]


_FIGURES: tuple[tuple[Method, str, str], ...] = (
    ("ppsd", "rivals.early_exit_s", "fitted to the calibration rows of ppsd: the exit's layer and its LM head"),
    ("eagle3", "rivals.round_token_s", "fitted to the calibration rows of eagle3, beyond their theoretical speedup"),
)


def fit_rivals(rows: Sequence[Row], profile: Profile) -> tuple[RivalFigure, ...]:
    """Return a figure for each other method that greedy calibration rows are of; `profile` has all but these.

    Raises InputError where no time of its own makes a row as slow as it was, or as fast.
    """
    used = [row for row in calibration_rows(rows) if not row.is_sampled]
    found = []
    for method, key, _ in _FIGURES:
        own = [row for row in used if row.method == method]
        if own:
            found.append(_fitted(own, key, profile))
    return tuple(found)


def with_rivals(profile: Profile, found: Sequence[RivalFigure]) -> Profile:
    """Return the profile with fitted figures, what they rest on, and where they hold."""
    if not found:
        return profile
    sources = {key: source for _, key, source in _FIGURES}
    known = with_figures(profile, {each.key: each.value_s for each in found})
    figures = profile.figures | {
        each.key: Provenance.model_validate({"origin": "published", "source": sources[each.key]}) for each in found
    }
    errors = tuple(
        Uncertainty(says=f"{each.key}, fitted", shifts={each.key: each.std_s}) for each in found if each.std_s > 0.0
    )
    sizes = {each.key: each.sizes for each in found}
    span = profile.range.model_copy(update={
        "early_exit_stages": sizes.get("rivals.early_exit_s"), "round_drafts": sizes.get("rivals.round_token_s"),
    })  # fmt: skip
    backing = profile.backing.model_copy(update={"uncertainty": (*profile.backing.uncertainty, *errors)})
    return known.model_copy(update={"figures": figures, "backing": backing, "range": span})


def _fitted(rows: Sequence[Row], key: str, profile: Profile) -> RivalFigure:
    """Gauss-Newton on the logarithms of the speedups, one figure."""
    bare = profile.model_copy(update={"backing": type(profile.backing)(), "figures": {}})

    def modelled(value_s: float) -> list[float]:
        predictor = RivalPredictor(with_figures(bare, {key: value_s}))
        return [log(predictor.speedup(row)) for row in rows]

    observed = [log(row.wall_speedup or 1.0) for row in rows]
    weights = [1.0 / _variance(row) for row in rows]
    value_s = _search(modelled, observed, weights)
    residuals = [seen - said for seen, said in zip(observed, modelled(value_s), strict=True)]
    worst = max(range(len(rows)), key=lambda at: abs(residuals[at]))
    if abs(residuals[worst]) > _WORST_RESIDUAL:
        row = rows[worst]
        raise InputError(
            f"{row.place}: wall_speedup is {row.wall_speedup:g}: fits worst of the rows of {row.method}, "
            f"{exp(observed[worst] - residuals[worst]):.4g} would: check this row"
        )
    slopes = _slopes(modelled, value_s)
    information = sum(weight * slope**2 for weight, slope in zip(weights, slopes, strict=True))
    freedom = max(1, len(rows) - 1)
    chi2 = sum(weight * left**2 for weight, left in zip(weights, residuals, strict=True))
    std_s = sqrt(max(1.0, chi2 / freedom) / information)
    sizes = sorted({row.stages or row.draft_layers for row in rows})
    return RivalFigure(key, value_s, std_s, tuple(residuals), tuple(sizes))


def _search(modelled: Callable[[float], list[float]], observed: list[float], weights: list[float]) -> float:
    value_s = _FIRST_S
    for _ in range(_MAX_ROUNDS):
        said, slopes = modelled(value_s), _slopes(modelled, value_s)
        terms = list(zip(weights, slopes, observed, said, strict=True))
        step_s = sum(w * slope * (seen - got) for w, slope, seen, got in terms) / sum(
            w * slope**2 for w, slope, _, _ in terms
        )
        before_s, value_s = value_s, max(0.0, value_s + step_s)
        if abs(value_s - before_s) < _CLOSE_S:
            break
    return value_s


def _slopes(modelled: Callable[[float], list[float]], value_s: float) -> list[float]:
    here, there = modelled(value_s), modelled(value_s + _STEP_S)
    return [(after - before) / _STEP_S for before, after in zip(here, there, strict=True)]


def _variance(row: Row) -> float:
    """Of the logarithm of a row's speedup, from the rounding of both its figures."""
    return (ROUNDING_STD / (row.wall_speedup or 1.0)) ** 2 + (ROUNDING_STD / row.theoretical_speedup) ** 2


__all__ = ["RivalFigure", "fit_rivals", "with_rivals"]
