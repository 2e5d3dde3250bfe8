"""Standard normal variates, in a fifth of the time of exact ones: one of 65,536 values, all of them equally likely.

Each value is the mean of the normal distribution between two neighbouring quantiles; together they have its mean of 0
and, after a common factor of 1 + 7e-7, its variance of 1. What is lost lies beyond 4.4 standard deviations: the mean
of a lognormal variate is less than 1e-6 too small up to a coefficient of variation of 0.5, and 2e-5 at 1.3.
"""

from functools import cache
from math import pi, sqrt
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_NUM_VALUES = 2**16
"""As many as 16 random bits tell apart."""


def standard_normal(generator: np.random.Generator, count: int) -> "NDArray[np.float32]":
    """Return `count` independent variates. The generator must be one of 64 bits, as all of NumPy's are but MT19937."""
    bits = generator.bit_generator.random_raw(-(-count // 4))
    values: NDArray[np.float32] = _values().take(bits.view(np.uint16)[:count])
    return values


@cache
def _values() -> "NDArray[np.float32]":
    """The values, in increasing order."""
    inverse = NormalDist().inv_cdf
    half = _NUM_VALUES // 2
    quantiles = np.array([-np.inf, *(inverse(number / _NUM_VALUES) for number in range(1, half)), 0.0])
    density = np.exp(-quantiles * quantiles / 2.0) / sqrt(2.0 * pi)
    # The integral of x times the density is the density's decrease.
    below = (density[:-1] - density[1:]) * _NUM_VALUES
    values = np.concatenate([below, -below[::-1]])
    scaled: NDArray[np.float32] = (values / values.std()).astype(np.float32)
    return scaled
