"""A Beta for each sequence's probability, fitted by the likelihood of its verdicts with the probability integrated out.

Of a sequence with A accepted and R rejected drafts: B(a + A, b + R) / B(a, b), a and b those of the Beta. It is a ratio
of rising factorials, so its logarithm is a sum over i of log(a + i), log(b + i) and log(a + b + i), each as often as
sequences have more than i accepted, rejected or drafted.
"""

from collections.abc import Callable
from math import exp, inf, log, sqrt

import numpy as np

from spdsim.acceptance import BetaPerSequence
from spdsim.acceptance_fit.families import Estimate, Family
from spdsim.acceptance_fit.verdicts import Table

MOST = 1e6
"""A concentration beyond this is no spread at all."""

_LEAST = 1e-3
_CHI2_95 = 3.841459
_STEPS = 40
_GOLDEN = (sqrt(5.0) - 1.0) / 2.0


def fit_beta(table: Table) -> Family:
    """Return the Beta of sequences, of which there are two or more, with some drafts accepted and some not."""
    likelihood = _Likelihood(table)
    log_concentration, _ = _maximum(lambda value: likelihood.profile(exp(value)), log(_LEAST), log(MOST))
    concentration = exp(log_concentration)
    p = likelihood.best_p(concentration)
    most = likelihood(p, concentration)

    def short_of(value: float) -> float:
        return most - _CHI2_95 / 2.0 - value

    by_p = _within(lambda value: short_of(likelihood.profile_of_p(value)), p, 1e-9, 1.0 - 1e-9)
    by_log = _within(lambda value: short_of(likelihood.profile(exp(value))), log_concentration, log(_LEAST), log(MOST))
    high = inf if by_log[1] >= log(MOST) - 1e-6 else exp(by_log[1])
    estimates = (Estimate("p", p, by_p), Estimate("concentration", concentration, (exp(by_log[0]), high)))
    return Family("beta", BetaPerSequence(p, concentration), most, estimates, int(table.lengths_S.sum()))


class _Likelihood:
    """The log-likelihood of (p, concentration)."""

    def __init__(self, table: Table) -> None:
        accepted_S = table.accepted_ST.sum(axis=1)
        self._counts = [_more_than(counts) for counts in (accepted_S, table.lengths_S - accepted_S, table.lengths_S)]
        self._steps = [np.arange(float(len(counts))) for counts in self._counts]

    def __call__(self, p: float, concentration: float) -> float:
        firsts = (p * concentration, (1.0 - p) * concentration, concentration)
        accepted, rejected, drafted = (
            float(counts @ np.log(first + steps))
            for counts, first, steps in zip(self._counts, firsts, self._steps, strict=True)
        )
        return accepted + rejected - drafted

    def best_p(self, concentration: float) -> float:
        """The likeliest p at a concentration: the likelihood is concave in p."""
        return _maximum(lambda p: self(p, concentration), 1e-9, 1.0 - 1e-9)[0]

    def profile(self, concentration: float) -> float:
        """The likelihood at the best p."""
        return self(self.best_p(concentration), concentration)

    def profile_of_p(self, p: float) -> float:
        """The likelihood at the best concentration."""
        return _maximum(lambda value: self(p, exp(value)), log(_LEAST), log(MOST))[1]


def _more_than(counts: "np.ndarray[tuple[int], np.dtype[np.int64]]") -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    """How many of `counts` are more than 0, 1, 2, …"""
    return np.asarray(np.cumsum(np.bincount(counts)[::-1])[::-1][1:], float)


def _maximum(function: Callable[[float], float], low: float, high: float) -> tuple[float, float]:
    """Return where a function with one peak is largest, and its value there, by golden sections."""
    left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    at_left, at_right = function(left), function(right)
    for _ in range(_STEPS):
        if at_left > at_right:
            high, right, at_right = right, left, at_left
            left = high - _GOLDEN * (high - low)
            at_left = function(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + _GOLDEN * (high - low)
            at_right = function(right)
    return (left, at_left) if at_left > at_right else (right, at_right)


def _within(excess: Callable[[float], float], best: float, low: float, high: float) -> tuple[float, float]:
    """Return how far from `best`, both ways, a function stays below zero; the ends where it does all the way."""
    return _edge(excess, best, low), _edge(excess, best, high)


def _edge(excess: Callable[[float], float], inside: float, outside: float) -> float:
    if excess(outside) <= 0.0:
        return outside
    for _ in range(_STEPS // 2):
        middle = (inside + outside) / 2.0
        inside, outside = (inside, middle) if excess(middle) > 0.0 else (middle, outside)
    return inside
