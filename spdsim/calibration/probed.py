"""What probes tell that traces do not: how a layer grows slower with its context, and a message with its bytes.

The traces of a calibration are short, all of about one length, and of one model, whose messages are of few sizes.
"""

from dataclasses import dataclass
from math import sqrt

from spdsim.evidence import Probe, Probes

_CLEAR = 3.0
_STDS_BETWEEN_QUANTILES = 3.29
"""From the 5th to the 95th percentile, in standard deviations of a normal distribution."""


@dataclass(frozen=True, slots=True)
class Slope:
    """Seconds that one layer takes more for each token of context, with its standard error."""

    per_context_token_s: float
    std_error_s: float
    count: int


def context_slope(probes: Probes) -> Slope | None:
    """Return how a layer's time grows with its context; None where it does not clearly, or layers are of two kinds."""
    cases = probes.of("layer", launch=str(probes.run["launch"]))
    if len({case.params.get("kind") for case in cases}) != 1:
        return None
    line = _line([float(case.params["context_tokens"]) for case in cases], cases)
    return None if line is None else Slope(line.slope, line.slope_error, sum(case.count for case in cases))


@dataclass(frozen=True, slots=True)
class Way:
    """One way of a message within a node, by its bytes: a line, with the standard errors of its two figures."""

    latency_s: float
    latency_error_s: float
    s_per_byte: float
    s_per_byte_error: float
    count: int


def message_way(probes: Probes) -> Way | None:
    """Return how a message's way depends on its bytes; None where sizes make no clear difference.

    Pairs of devices are taken together: profiles know one kind of link within a node.
    """
    cases = probes.of("message", backend=str(probes.run["backend"]))
    line = _line([float(case.params["size_bytes"]) for case in cases], cases)
    if line is None or line.offset < 0.0:
        return None
    return Way(line.offset, line.offset_error, line.slope, line.slope_error, sum(case.count for case in cases))


@dataclass(frozen=True, slots=True)
class _Line:
    """A line through medians, each weighted by how well it is known."""

    offset: float
    offset_error: float
    slope: float
    slope_error: float


def _line(at: list[float], cases: list[Probe]) -> _Line | None:
    """The line; None where there are no two places, or it does not clearly rise."""
    if len(set(at)) < 2:
        return None
    weights = [1.0 / _error(case) ** 2 for case in cases]
    total = sum(weights)
    middle = sum(weight * place for weight, place in zip(weights, at, strict=True)) / total
    mean_s = sum(weight * case.median for weight, case in zip(weights, cases, strict=True)) / total
    spread = sum(weight * (place - middle) ** 2 for weight, place in zip(weights, at, strict=True))
    rises = zip(weights, at, cases, strict=True)
    slope = sum(weight * (place - middle) * case.median for weight, place, case in rises) / spread
    error = 1.0 / sqrt(spread)
    if slope <= _CLEAR * error:
        return None
    return _Line(mean_s - slope * middle, sqrt(1.0 / total + (middle * error) ** 2), slope, error)


def _error(case: Probe) -> float:
    """Standard error of a median: a quarter more than that of a mean."""
    std = (case.p95 - case.p05) / _STDS_BETWEEN_QUANTILES
    return max(1.25 * std / sqrt(case.count), 1e-4 * case.median, 1e-12)
