"""One figure of two runs, and how far apart the two are. Standard library only."""

from dataclasses import dataclass

_ROUNDING = 1e-9
"""Relative; runs that are the same but for where their clocks stood differ by less."""

Interval = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure as it was measured and as it was predicted; None where a run does not have it.

    name: a stable key; `_s` at its end means seconds. The intervals are of 95 % and over sequences, None where there
    are too few. is_fraction: from 0 to 1, so that its error is told in points.
    """

    name: str
    measured: float | None
    predicted: float | None
    measured_interval: Interval | None = None
    predicted_interval: Interval | None = None
    is_fraction: bool = False

    @property
    def error_fraction(self) -> float | None:
        """Predicted over measured, less 1; None where one of them is missing or the measured one is 0."""
        if self.predicted is None or not self.measured:
            return None
        return self.predicted / self.measured - 1.0

    @property
    def error_points(self) -> float | None:
        """Predicted less measured, of a fraction; None for any other figure."""
        if not self.is_fraction or self.predicted is None or self.measured is None:
            return None
        return self.predicted - self.measured

    @property
    def is_within(self) -> bool | None:
        """Whether the predicted figure, or any of its interval, lies in the measured interval; None without one."""
        if self.measured_interval is None or self.predicted is None:
            return None
        low, high = self.measured_interval
        from_, to = self.predicted_interval or (self.predicted, self.predicted)
        slack = _ROUNDING * max(abs(low), abs(high))
        return from_ <= high + slack and to >= low - slack
