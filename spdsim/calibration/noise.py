"""How much the same run differs from round to round, which no number of samples within a run tells."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import fmean

NOISY = 0.03
"""From where on a machine is called noisy. Less comes of chance in the verdicts alone."""


@dataclass(frozen=True, slots=True)
class Noise:
    """fraction: the standard deviation of a run's mean cycle, over that cycle. rounds: how often a run was made."""

    fraction: float = 0.0
    rounds: float = 1.0

    @property
    def is_large(self) -> bool:
        """Whether the machine is noisy."""
        return self.fraction > NOISY

    @property
    def std_error_fraction(self) -> float:
        """The standard error of a mean over all rounds that comes of it, over that mean; 0 where it is not large."""
        return self.fraction / sqrt(self.rounds) if self.is_large else 0.0


QUIET = Noise()


def noise_of(rounds_s: Iterable[Sequence[float]]) -> Noise:
    """Return the noise of several configurations, for each the mean cycle in every round; none with one round each."""
    several_s = [seconds for seconds in rounds_s if len(seconds) > 1]
    freedom = sum(len(seconds) - 1 for seconds in several_s)
    if not freedom:
        return QUIET
    square = sum(sum((each / fmean(seconds) - 1.0) ** 2 for each in seconds) for seconds in several_s)
    return Noise(sqrt(square / freedom), fmean(len(seconds) for seconds in several_s))
