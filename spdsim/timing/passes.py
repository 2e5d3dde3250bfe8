"""One pass of some layers, and of the LM head, on a device or on a tensor-parallel group: the one law of both.

In a group every matrix, the cache and the states are cut into equal shards, and each layer ends its attention and its
MLP with an all-reduce, an operation of each host; the shards of the LM head meet in one more. Every device of a group
has the whole hidden state afterwards. Source: Megatron-LM, arXiv:1909.08053; times are those of `timing.device`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from spdsim.scenario.target import TargetModel
from spdsim.scenario.times import Roofline
from spdsim.shapes.layers import Layer
from spdsim.timing.device import Rates

_MEETINGS_PER_LAYER = 2


@dataclass(frozen=True, slots=True)
class Group:
    """The devices that do a task together. all_reduce_s: seconds in which they add up what each has of a token."""

    num_devices: int = 1
    all_reduce_s: float = 0.0

    def num_meetings(self, num_layers: int) -> int:
        """Return how often the devices meet in a pass of so many layers."""
        return _MEETINGS_PER_LAYER * num_layers * (self.num_devices > 1)


ALONE = Group()
"""One device, which meets nobody."""


@dataclass(frozen=True, slots=True)
class Work:
    """A task: seconds of the device (of each, in a group), and the operations that each host issues."""

    device_s: float
    num_ops: float


@dataclass(frozen=True, slots=True)
class Passes:
    """The work of passes on the devices of a group, from a resolved roofline.

    rows: tokens that pass together, of so many `sequences`.
    """

    rates: Rates
    figures: Roofline
    group: Group = ALONE
    rows: int = 1
    sequences: int = 1

    def layers(
        self, layers: Sequence[Layer], *, cache_s: float = 0.0, beside_s: float = 0.0, beside_ops: float = 0.0
    ) -> Work:
        """Return the work of some layers. cache_s: of reading the cache; beside: what is no part of the layers."""
        ops = [layer_ops(self.figures, layer) for layer in layers]
        meetings = self.group.num_meetings(len(layers))
        layers_s = sum(
            self.rates.layer_s(layer, num, self.group.num_devices, self.rows, self.sequences)
            for layer, num in zip(layers, ops, strict=True)
        )
        return Work(
            layers_s + cache_s + beside_s + meetings * self.group.all_reduce_s, sum(ops) + beside_ops + meetings
        )

    def head(self, head_bytes: float, head_params: float, num_ops: float) -> Work:
        """Return the work of the LM head, or of the part of it that the group has."""
        shards = self.group.num_devices
        products_s = self.rates.products_s([head_bytes / shards], head_params / shards, self.rows)
        device_s = products_s + self.rates.kernels_s(num_ops, 1) + self.group.all_reduce_s
        return Work(device_s, num_ops + (shards > 1))

    def context_s(self, layers: Sequence[Layer], prompt_tokens: int) -> tuple[float, float]:
        """Return what reading the caches takes: seconds whatever the context, and seconds a token of it (of each)."""
        found = [self.rates.context_s(layer, prompt_tokens) for layer in layers]
        caches, shards = self.sequences, self.group.num_devices
        window_s, token_s = sum(window_s for window_s, _ in found), sum(token_s for _, token_s in found)
        return caches * window_s / shards, caches * token_s / shards


def layer_ops(figures: Roofline, layer: Layer) -> float:
    """Return the operations of a layer, from a resolved roofline."""
    return float(getattr(figures, f"{layer.kind}_ops") + layer.is_moe * (figures.moe_ops or 0.0))


def for_rows(model: TargetModel, layers: Sequence[Layer], rows: int) -> Sequence[Layer]:
    """Return some layers of `model`, which read as many experts as the rows are expected to choose.

    Of E experts of which a row uses a, `rows` rows use E x (1 - (1 - a / E)^rows).
    """
    count, used = model.num_experts, model.experts_per_token
    if rows == 1 or not count or not used:
        return layers
    factor = count * (1.0 - (1.0 - used / count) ** rows) / used
    return [_with_experts(layer, factor) for layer in layers]


def _with_experts(layer: Layer, factor: float) -> Layer:
    if not layer.is_moe:
        return layer
    read = zip(layer.matrix_names, layer.matrices_bytes, strict=True)
    return replace(
        layer,
        matrices_bytes=tuple(num * (factor if name.startswith("experts'") else 1.0) for name, num in read),
    )
