"""A run's wall speedup from its cycles, and the one-line rule that it is held against."""

from math import ceil

from spdsim.evidence.table import NEW_TOKENS, Row
from spdsim.prediction.cycles import Cycles

RULE_LAYER_S, RULE_CYCLE_S = 0.873e-3, 1.26e-3
"""The one-line rule: a cycle takes 0.873 ms for each layer of a stage and 1.26 ms more, whatever it does."""


def wall_speedup(cycles: Cycles, num_rejections: float, token_s: float) -> float:
    """Return K tokens' time in plain decoding over that of the cycles, y_1 counted as published."""
    return NEW_TOKENS * token_s / cycles.decode_s(NEW_TOKENS, num_rejections)


def rule_speedup(row: Row, num_layers: int) -> float:
    """Return the wall speedup by the one-line rule, with as many cycles as the theoretical speedup says."""
    cycle_s = RULE_LAYER_S * ceil(num_layers / row.stages) + RULE_CYCLE_S
    return row.theoretical_speedup * row.token_s / (row.stages * cycle_s)
