"""Means with intervals from whole sequences, never from tokens: tokens of one sequence are not independent."""

from collections.abc import Sequence
from math import sqrt
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Student's t, 97.5 % quantile, for 1 to 30 degrees of freedom; beyond, the expansion around the normal's.
_T_975 = (
    12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281,
    2.2010, 2.1788, 2.1604, 2.1448, 2.1314, 2.1199, 2.1098, 2.1009, 2.0930, 2.0860,
    2.0796, 2.0739, 2.0687, 2.0639, 2.0595, 2.0555, 2.0518, 2.0484, 2.0452, 2.0423,
)  # fmt: skip
_Z_975 = 1.959964
_RESAMPLES, _MIN_SEQUENCES = 200, 10


def t_quantile(degrees_of_freedom: int) -> float:
    """Return the 97.5 % quantile of Student's t (Abramowitz and Stegun 26.7.5 beyond 30 degrees)."""
    if degrees_of_freedom <= len(_T_975):
        return _T_975[degrees_of_freedom - 1]
    z, v = _Z_975, degrees_of_freedom
    return z + (z**3 + z) / (4 * v) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * v * v)


def ratio(
    numerators: "NDArray[np.float64]", denominators: "NDArray[np.float64]"
) -> tuple[float, float | None, float | None]:
    """Return (mean, low, high) of a ratio of sums over sequences, with its 95 % interval.

    The interval is by linearisation (Cochran 1977, section 6.3); with one sequence there is none.
    """
    mean = float(numerators.sum() / denominators.sum())
    count = len(numerators)
    if count < 2:
        return mean, None, None
    residuals = numerators - mean * denominators
    error = sqrt(float((residuals**2).sum()) / (count - 1) / count) / float(denominators.mean())
    half = t_quantile(count - 1) * error
    return mean, mean - half, mean + half


def mean_of(values: "NDArray[np.float64]") -> tuple[float, float | None, float | None]:
    """Return (mean, low, high) of one value a sequence, with its 95 % interval."""
    return ratio(values, np.ones(len(values)))


def percentiles(
    by_sequence: "list[NDArray[np.float64]]", percents: Sequence[float]
) -> tuple[list[float], list[tuple[float, float] | None]]:
    """Return percentiles over all values, and their 95 % intervals; None for each with few sequences.

    The intervals are by bootstrap over whole sequences (Efron and Tibshirani 1993, section 13.3), with a seed of
    its own, so that the same trace gives the same interval.
    """
    pooled = np.percentile(np.concatenate(by_sequence), percents).tolist()
    count = len(by_sequence)
    if count < _MIN_SEQUENCES:
        return pooled, [None] * len(pooled)
    # Sorted once with the sequence each value is from, a resample only needs how often each sequence is drawn.
    values = np.concatenate(by_sequence)
    order = np.argsort(values, kind="stable")
    values, owner = values[order], np.repeat(np.arange(count), [len(v) for v in by_sequence])[order]
    generator = np.random.default_rng(0)
    drawn = np.array(
        [_weighted(values, owner, generator.integers(0, count, count), percents) for _ in range(_RESAMPLES)]
    )
    bounds = np.percentile(drawn, (2.5, 97.5), axis=0)
    return pooled, [(min(low, mid), max(high, mid)) for low, high, mid in zip(*bounds.tolist(), pooled, strict=True)]


def _weighted(
    values: "NDArray[np.float64]", owner: "NDArray[np.int64]", sample: "NDArray[np.int64]", percents: Sequence[float]
) -> "NDArray[np.float64]":
    """Percentiles of the sorted `values`, each counted as often as its sequence is in `sample`."""
    counts = np.cumsum(np.bincount(sample, minlength=int(owner.max()) + 1)[owner])
    ranks = np.asarray(percents) / 100.0 * (counts[-1] - 1)
    return np.asarray(values[np.searchsorted(counts, ranks, side="right")])
