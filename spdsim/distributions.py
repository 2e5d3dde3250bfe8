"""Distributions of durations: a closed union of five and their sums, each with its exact mean and variance.

`draw(distribution, generator, count)` gives `count` seconds. NumPy is imported where numbers are drawn,
so that reading a scenario does not pay for it.
"""

from dataclasses import dataclass
from math import erf, exp, log, pi, sqrt
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Constant:
    """Always `value_s` seconds."""

    value_s: float


@dataclass(frozen=True, slots=True)
class Normal:
    """A normal distribution cut off at zero; `mean_s` and `std_s` are those before the cut."""

    mean_s: float
    std_s: float


@dataclass(frozen=True, slots=True)
class LogNormal:
    """A lognormal distribution with mean `mean_s` and coefficient of variation `cv`."""

    mean_s: float
    cv: float


@dataclass(frozen=True, slots=True)
class Gamma:
    """A gamma distribution with mean `mean_s` and coefficient of variation `cv`."""

    mean_s: float
    cv: float


@dataclass(frozen=True, slots=True)
class Empirical:
    """Measured seconds, drawn with replacement."""

    samples_s: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Sum:
    """The sum of independent draws, one of each part."""

    parts: "tuple[Distribution, ...]"


Distribution = Constant | Normal | LogNormal | Gamma | Empirical | Sum


def added(parts: "tuple[Distribution, ...]") -> Distribution:
    """Return the distribution of a sum of independent draws; constants make one constant."""
    constant = Constant(sum(part.value_s for part in parts if isinstance(part, Constant)))
    drawn: tuple[Distribution, ...] = tuple(part for part in parts if not isinstance(part, Constant))
    if not drawn:
        return constant
    if constant.value_s:
        drawn = (*drawn, constant)
    return drawn[0] if len(drawn) == 1 else Sum(drawn)


def mean_s(distribution: Distribution) -> float:
    """Return the exact mean in seconds."""
    match distribution:
        case Constant(value_s):
            return value_s
        case Normal(mu, sigma):
            return _truncated_normal(mu, sigma)[0]
        case LogNormal(mean, _) | Gamma(mean, _):
            return mean
        case Empirical(samples_s):
            return sum(samples_s) / len(samples_s)
        case Sum(parts):
            return sum(mean_s(part) for part in parts)


def variance_s2(distribution: Distribution) -> float:
    """Return the exact variance in seconds squared."""
    match distribution:
        case Constant(_):
            return 0.0
        case Normal(mu, sigma):
            return _truncated_normal(mu, sigma)[1]
        case LogNormal(mean, cv) | Gamma(mean, cv):
            return (cv * mean) ** 2
        case Empirical(samples_s):
            mean = sum(samples_s) / len(samples_s)
            return sum((sample - mean) ** 2 for sample in samples_s) / len(samples_s)
        case Sum(parts):
            return sum(variance_s2(part) for part in parts)


def draw(distribution: Distribution, generator: "np.random.Generator", count: int) -> "NDArray[np.float64]":
    """Return `count` independent draws in seconds, none negative.

    Lognormal and gamma variates have 24 bits: seven digits are more than any measurement has, and take less time.
    """
    import numpy as np

    from spdsim.normal import standard_normal

    match distribution:
        case Constant(value_s):
            return np.full(count, value_s)
        case Normal(mu, sigma):
            return _draw_truncated_normal(mu, sigma, generator, count)
        case LogNormal(mean, cv):
            if mean == 0.0 or cv == 0.0:
                return np.full(count, mean)
            sigma = sqrt(log(1.0 + cv * cv))
            values = standard_normal(generator, count)
            values *= np.float32(sigma)
            return np.multiply(np.exp(values, out=values), mean * exp(-sigma * sigma / 2.0), dtype=np.float64)
        case Gamma(mean, cv):
            if mean == 0.0 or cv == 0.0:
                return np.full(count, mean)
            shape = 1.0 / (cv * cv)
            return np.multiply(generator.standard_gamma(shape, count, np.float32), mean / shape, dtype=np.float64)
        case Empirical(samples_s):
            return np.asarray(samples_s)[generator.integers(0, len(samples_s), count)]
        case Sum(parts):
            return np.asarray(sum(draw(part, generator, count) for part in parts))


def scaled(distribution: Distribution, factor: float) -> Distribution:
    """Return the distribution of `factor` times a draw."""
    match distribution:
        case Constant(value_s):
            return Constant(value_s * factor)
        case Normal(mu, sigma):
            return Normal(mu * factor, sigma * factor)
        case LogNormal(mean, cv):
            return LogNormal(mean * factor, cv)
        case Gamma(mean, cv):
            return Gamma(mean * factor, cv)
        case Empirical(samples_s):
            return Empirical(tuple(sample * factor for sample in samples_s))
        case Sum(parts):
            return Sum(tuple(scaled(part, factor) for part in parts))


def _truncated_normal(mu: float, sigma: float) -> tuple[float, float]:
    """Mean and variance of a normal cut off below zero (Johnson, Kotz, Balakrishnan 1994, chapter 13)."""
    if sigma == 0.0:
        return mu, 0.0
    alpha = -mu / sigma
    tail = 0.5 * (1.0 - erf(alpha / sqrt(2.0)))
    hazard = exp(-alpha * alpha / 2.0) / sqrt(2.0 * pi) / tail
    return mu + sigma * hazard, sigma * sigma * (1.0 + alpha * hazard - hazard * hazard)


def _draw_truncated_normal(mu: float, sigma: float, generator: Any, count: int) -> "NDArray[np.float64]":
    import numpy as np

    values: NDArray[np.float64] = generator.normal(mu, sigma, count)
    # At least half of the draws are kept (mu is not negative), so redrawing the rest ends quickly.
    while (bad := np.flatnonzero(values < 0.0)).size:
        values[bad] = generator.normal(mu, sigma, bad.size)
    return values
