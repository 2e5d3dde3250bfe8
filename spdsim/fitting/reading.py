"""What is read off the cycle breakdowns, without a fit: the costs of control, of messages and of the draft.

The broadcast is control, too: the draft rank pays it itself, so it is part of the draft's own loop.

Growth with the ranks is known from two breakdowns, which differ in ranks and in nodes at once: half of it is
taken as per rank, half as per node. From one breakdown nothing grows, and a draft is proportional to its layers.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from spdsim.evidence import Breakdown
from spdsim.prediction.case import ANCHORS, num_nodes

PER_RANK_PART = 0.5
"""Part of the growth that is per rank; the rest is per node."""

_NUM_FEATURES = len(ANCHORS) - 1
"""Features that the draft rank receives in a full cycle; the embedding it has itself."""


@dataclass(frozen=True, slots=True)
class Readings:
    """Seconds as the breakdowns have them. What computes (the draft's layers, verify) is still profiled.

    drafts: a breakdown each, its draft module's layers, the rows of its draft (one for each stage, and the new
    token's), and the seconds of pdm_forward.
    """

    draft_layer_s: float
    draft_layers_fixed_s: float
    post_recv_s: float
    verify_s: float
    commit_s: float
    control_s: float
    control_per_worker_s: float
    control_per_node_s: float
    growth_per_worker_s: float
    growth_per_node_s: float
    hidden_post_s: float
    hidden_inter_node_post_s: float
    feature_receive_s: float
    drafts: tuple[tuple[int, int, float], ...]


def read_off(breakdowns: tuple[Breakdown, ...]) -> Readings:
    """Return what the breakdowns say. growth_per_worker_s, growth_per_node_s: all of the growth, as either."""
    layer_s, layers_fixed_s = line([(b.draft_layers, b["pdm_forward"]) for b in breakdowns])
    low, high = breakdowns[0], breakdowns[-1]
    growth_s = _control_s(high) - _control_s(low)
    workers, nodes = high.stages - low.stages, num_nodes(high.stages) - num_nodes(low.stages)
    all_worker_s, all_node_s = growth_s / workers if workers else 0.0, growth_s / nodes if nodes else 0.0
    part = PER_RANK_PART if nodes else 1.0
    per_worker_s, per_node_s = part * all_worker_s, (1.0 - part) * all_node_s
    intra, inter = (
        [b for b in breakdowns if num_nodes(b.stages) == 1],
        [b for b in breakdowns if num_nodes(b.stages) > 1],
    )
    return Readings(
        draft_layer_s=layer_s, draft_layers_fixed_s=layers_fixed_s, post_recv_s=_mean(breakdowns, "post_recv"),
        verify_s=_mean(breakdowns, "verify"), commit_s=_mean(breakdowns, "driver_update"),
        control_s=_mean(breakdowns, "ctrl_broadcast") + _control_s(low)
        - per_worker_s * (low.stages + 1) - per_node_s * (num_nodes(low.stages) - 1),
        control_per_worker_s=per_worker_s, control_per_node_s=per_node_s,
        growth_per_worker_s=all_worker_s, growth_per_node_s=all_node_s,
        hidden_post_s=_mean(intra or inter, "send_hidden"),
        hidden_inter_node_post_s=_mean(inter or intra, "send_hidden"),
        feature_receive_s=_mean(breakdowns, "recv_features") / _NUM_FEATURES,
        drafts=tuple((b.draft_layers, b.stages + 1, b["pdm_forward"]) for b in breakdowns),
    )  # fmt: skip


def _control_s(breakdown: Breakdown) -> float:
    """Preparing what to tell, and meeting the others: the phases that grow with the ranks."""
    return breakdown["ctrl_prepare"] + breakdown["cycle_sync"]


def _mean(breakdowns: "tuple[Breakdown, ...] | list[Breakdown]", phase: str) -> float:
    return sum(breakdown[phase] for breakdown in breakdowns) / len(breakdowns)


def line(points: Sequence[tuple[int, float]]) -> tuple[float, float]:
    """Return slope and intercept through the points; through zero where they lie at one place."""
    mean_x, mean_y = (sum(values) / len(points) for values in zip(*points, strict=True))
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    if not spread:
        return mean_y / mean_x, 0.0
    slope = sum((x - mean_x) * (y - mean_y) for x, y in points) / spread
    return slope, mean_y - slope * mean_x
