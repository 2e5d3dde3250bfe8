"""Which distribution measured durations follow: the simplest that cannot be told from them, or the samples themselves.

Constant, where the spread is within half a per cent. Else the closest of normal, lognormal and gamma with the mean and
spread of the samples, by the largest distance of the two distribution functions (Kolmogorov and Smirnov), if that is
what chance gives in 95 of 100 cases where mean and spread are the samples' own (Lilliefors 1967, for normal ones).
Else the samples, as quantiles with their mean.
"""

from dataclasses import dataclass, replace
from math import hypot, sqrt
from typing import TYPE_CHECKING

import numpy as np

from spdsim.distributions import Constant, Distribution, Empirical, Gamma, LogNormal, Normal, draw

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

NUM_QUANTILES = 32
_SMALL_CV, _CRITICAL, _NUM_DRAWS = 0.005, 0.9, 20_000
_FEW = 8


@dataclass(frozen=True, slots=True)
class Chosen:
    """A distribution and why: its mean with its standard error, how many samples, the distance of the functions."""

    distribution: Distribution
    mean_s: float
    std_error_s: float
    count: int
    distance: float | None

    @property
    def family(self) -> str:
        """The name of the family, as profiles write it."""
        return type(self.distribution).__name__.lower()

    def less_sure(self, std_error_s: float) -> "Chosen":
        """Return the same with a further error of the mean, such as that of what was taken off every sample before."""
        return replace(self, std_error_s=hypot(self.std_error_s, std_error_s))


def choose(samples_s: "Floats") -> Chosen:
    """Return the distribution of `samples_s`, at least one."""
    count, mean_s = len(samples_s), float(samples_s.mean())
    std_s = float(samples_s.std(ddof=1)) if count > 1 else 0.0
    std_error_s = std_s / sqrt(count)
    if mean_s <= 0.0 or std_s / mean_s < _SMALL_CV or count < _FEW:
        return Chosen(Constant(max(0.0, mean_s)), mean_s, std_error_s, count, None)
    cv = std_s / mean_s
    candidates = (LogNormal(mean_s, cv), Gamma(mean_s, cv), *((Normal(mean_s, std_s),) if cv < 0.3 else ()))
    ordered = np.sort(samples_s)
    distance, best = min((_distance(ordered, candidate), index) for index, candidate in enumerate(candidates))
    if distance <= _CRITICAL / sqrt(count):
        return Chosen(candidates[best], mean_s, std_error_s, count, distance)
    return Chosen(Empirical(quantiles(ordered)), mean_s, std_error_s, count, distance)


def quantiles(ordered_s: "Floats") -> tuple[float, ...]:
    """Return at most 32 quantiles of sorted samples, each the mean of its share, so that the mean is theirs."""
    if len(ordered_s) <= NUM_QUANTILES:
        return tuple(ordered_s.tolist())
    shares = np.array_split(ordered_s, NUM_QUANTILES)
    means_s = np.array([share.mean() for share in shares])
    return tuple((means_s * (ordered_s.mean() / means_s.mean())).tolist())


def _distance(ordered_s: "Floats", candidate: Distribution) -> float:
    """The largest distance of the samples' distribution function from the candidate's."""
    drawn_s = np.sort(draw(candidate, np.random.default_rng(0), _NUM_DRAWS))
    theirs = np.searchsorted(drawn_s, ordered_s, side="right") / _NUM_DRAWS
    ranks = np.arange(1, len(ordered_s) + 1) / len(ordered_s)
    return float(max(np.max(np.abs(theirs - ranks)), np.max(np.abs(theirs - ranks + 1.0 / len(ordered_s)))))
