"""Ratios with a control variate: a number of each sequence whose expectation is known to be zero.

Rejections are most of the noise of a decode time, and how many are to be expected is known in closed form.
"""

from collections.abc import Iterable
from math import sqrt
from typing import TYPE_CHECKING

import numpy as np

from spdsim.acceptance import Acceptance, Bernoulli, BetaPerSequence, ByFillDepth, Coins, Markov, mean_acceptance
from spdsim.analysis.estimates import ratio, t_quantile

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

_LEAST = 5
"""Sequences from which on a control is used: below, what is won is lost in degrees of freedom."""


def rejection_control(model: Acceptance, num_tokens: "Ints", num_rejections: "Ints") -> "Floats | None":
    """Return the rejections of each sequence less those to be expected; None where nothing is known beforehand.

    num_tokens: K of each sequence; num_rejections: among the K - 2 verdicts on y_2 to y_(K-1).
    Each of these verdicts is a rejection with the mean probability q: always so with Bernoulli; with Beta since the
    sequence's own probability has that mean; with Markov since the chain begins, and so stays, in its stationary
    distribution. So E[R | K] = (K - 2) q. Lengths are drawn from a stream of their own, whatever the verdicts, so
    that E[R - (K - 2) q] = 0 with random lengths too. By fill depth the probability of a verdict depends on those
    before it, and a record has no expectation.
    """
    match model:
        case Bernoulli() | BetaPerSequence() | Markov():
            expected = np.maximum(num_tokens - 2, 0) * (1.0 - mean_acceptance(model, 1))
            return np.asarray(num_rejections - expected, np.float64)
        case _:
            return None


def coin_control(model: Acceptance, coins: "Iterable[Coins]", num_tokens: "Ints") -> "Floats | None":
    """Return the wrong drafts that each sequence's coins hold, less those to be expected; None if they are not known.

    For methods that do not verify a draft for every token, so that their rejections have no expectation in closed
    form: the coins of all positions have, whether one is looked at or not, and the more of them are wrong the longer
    it takes. Where the acceptance depends on the place in a round, coins are held against its mean over the places.
    num_tokens: K of each sequence; counted are positions 1 to K - 1.
    """
    match model:
        case Bernoulli() | BetaPerSequence() | Markov():
            p = mean_acceptance(model, 1)
        case ByFillDepth(by_place):
            p = sum(by_place) / len(by_place)
        case _:
            return None
    counts = num_tokens.tolist()
    wrong = [_num_wrong(tossed, p, count) for tossed, count in zip(coins, counts, strict=True)]
    return np.asarray(np.array(wrong) - np.maximum(num_tokens - 1, 0) * (1.0 - p), np.float64)


def _num_wrong(coins: Coins, p: float, num_tokens: int) -> float:
    if coins.fixed is not None:
        return float(sum(not is_right for is_right in coins.fixed[1:num_tokens]))
    assert coins.uniform is not None
    return float(sum(uniform >= p for uniform in coins.uniform[1:num_tokens]))


def controlled_ratio(
    numerators: "Floats", denominators: "Floats", control: "Floats | None", size: "Floats"
) -> tuple[float, float | None, float | None]:
    """Return (mean, low, high) of a ratio of sums over sequences, with its 95 % interval.

    control: of each sequence, expected to be 0; None: the plain ratio. size: of each sequence, what its numerator and
    denominator grow with. What the control explains, in a regression on control and size, is taken out of both sums;
    the interval is the regression's at a control of 0 (Lavenberg and Welch 1981), by linearisation of the ratio.
    There is none where all sequences have the same control and it is not 0: what varies has not been seen to vary.
    """
    count = len(numerators)
    is_sized = count > 0 and bool((size != size[0]).any())
    if control is None or count < _LEAST + is_sized:
        return ratio(numerators, denominators)
    beyond = _beyond(control, size)
    spread = float(beyond @ beyond)
    square = float(control @ control)
    if spread <= 1e-12 * max(1.0, square):
        # Nothing but rounding is left: no control is needed, or what it would tell was not seen.
        mean, low, high = ratio(numerators, denominators)
        return (mean, low, high) if square <= 1e-12 * count else (mean, None, None)
    above = numerators - float(numerators @ beyond) / spread * control
    below = denominators - float(denominators @ beyond) / spread * control
    if above.sum() <= 0.0 or below.sum() <= 0.0:
        return ratio(numerators, denominators)  # a slope from few sequences has led out of what is possible
    mean = float(above.sum() / below.sum())
    residuals = above - mean * below
    degrees = count - 2
    weight = 1.0 / count + float(control.mean()) ** 2 / spread
    half = t_quantile(degrees) * sqrt(float(residuals @ residuals) / degrees * weight) / abs(float(below.mean()))
    return mean, mean - half, mean + half


def _beyond(control: "Floats", size: "Floats") -> "Floats":
    """Return what of `control` a constant and the size do not tell."""
    centred, sizes = control - control.mean(), size - size.mean()
    square = float(sizes @ sizes)
    return np.asarray(centred - float(centred @ sizes) / square * sizes if square > 0.0 else centred, np.float64)
