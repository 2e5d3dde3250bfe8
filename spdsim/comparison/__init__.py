"""How well one trace meets another: a prediction, usually the simulator's, and what was measured."""

from spdsim.comparison.compare import compare
from spdsim.comparison.document import to_document
from spdsim.comparison.figure import Figure
from spdsim.comparison.report import Comparison

__all__ = ["Comparison", "Figure", "compare", "to_document"]
