"""The figures of one scenario with as little computing as needed: what a sweep asks for at each of its points.

Narrow intervals come from two things: replications are added until the interval is as narrow as it should be, and
what is known of the verdicts beforehand is taken out of the noise (`spdsim.evaluation.control`).
"""

from spdsim.evaluation.complete import complete
from spdsim.evaluation.figures import (
    MAX_REPLICATIONS,
    MIN_SEQUENCES,
    Evaluation,
    evaluate,
    evaluate_each,
    evaluate_method,
    num_sequences,
)

__all__ = [
    "MAX_REPLICATIONS",
    "MIN_SEQUENCES",
    "Evaluation",
    "complete",
    "evaluate",
    "evaluate_each",
    "evaluate_method",
    "num_sequences",
]
