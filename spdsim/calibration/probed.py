"""What probes tell that traces do not: how a layer grows slower with its context.

The traces of a calibration are short, and all of about one length.
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
    contexts = [float(case.params["context_tokens"]) for case in cases]
    if len({case.params.get("kind") for case in cases}) != 1 or len(set(contexts)) < 2:
        return None
    weights = [1.0 / _error(case) ** 2 for case in cases]
    total = sum(weights)
    middle = sum(weight * context for weight, context in zip(weights, contexts, strict=True)) / total
    spread = sum(weight * (context - middle) ** 2 for weight, context in zip(weights, contexts, strict=True))
    slope = sum(
        weight * (context - middle) * case.median
        for weight, context, case in zip(weights, contexts, cases, strict=True)
    ) / spread  # fmt: skip
    error = 1.0 / sqrt(spread)
    return Slope(slope, error, sum(case.count for case in cases)) if slope > _CLEAR * error else None


def _error(case: Probe) -> float:
    """Standard error of a median: a quarter more than that of a mean."""
    std = (case.p95 - case.p05) / _STDS_BETWEEN_QUANTILES
    return max(1.25 * std / sqrt(case.count), 1e-4 * case.median, 1e-12)
