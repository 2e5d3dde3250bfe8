"""Decoder layers of every kind, made by their shapes, with what each remembers of a sequence.

Knows nothing of weights.
"""

import torch

from executor.model.architecture import LayerShape
from executor.model.attention import KVCache
from executor.model.delta import StateRing
from executor.model.dense import DenseLayer, DenseShape
from executor.model.hybrid import HybridLayer, HybridShape


def make_layer(shape: LayerShape, dtype: torch.dtype, device: torch.device | str) -> DenseLayer | HybridLayer:
    """Return a layer, its parameters uninitialised."""
    match shape:
        case DenseShape():
            return DenseLayer(shape, dtype, device)
        case HybridShape():
            return HybridLayer(shape, dtype, device)


def new_memory(layer: DenseLayer | HybridLayer, max_rows: int, num_states: int) -> KVCache | StateRing:
    """Return what a layer remembers: `max_rows` keys and values, or the states of `num_states` positions."""
    match layer:
        case DenseLayer():
            return layer.new_cache(max_rows)
        case HybridLayer():
            return layer.new_cache(max_rows, num_states)
