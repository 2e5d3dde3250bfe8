"""What a draft module begins as: as much of the target as fits.

The head begins as the target's rows of the draft vocabulary: it reads through the target's final norm what the module
makes of the target's hidden states, and so begins near to what it must become. Each projection begins as the identity
on the last of its anchors, the deepest state that a token has: nearest to the output, and in the coordinates that the
target's own layers, norm and head read. The other anchors begin with no part, which their gradients change at once.
Layers begin as layers of the target, where they are named; else they are random, but add nothing at first: noise on the
way to the head would have to be unlearned. On a small target that gave nearly twice the acceptance after 80 steps.
"""

import torch
from torch import Tensor, nn

from executor.model.architecture import Architecture
from executor.model.hybrid import NORM_OFFSET, HybridShape
from executor.model.layers import make_layer
from executor.model.weights import Weights, load
from executor.training.student import Student
from spdsim.errors import InputError

_OUTPUTS = ("o_proj.weight", "down_proj.weight")
"""By which a layer adds to what passes it."""

_GATE_AT_REST = 0.5
"""What a sigmoid gate lets through that says nothing."""


@torch.no_grad()
def start(
    student: Student,
    head_VH: Tensor,
    architecture: Architecture,
    weights: Weights,
    layers: tuple[int, ...] | None,
    seed: int,
) -> None:
    """Give a module its first weights. head_VH: rows of the target's LM head, of the draft vocabulary.

    layers: which of the target's each of the module's begins as; None: random ones.
    Raises InputError for a layer without attention, and as `weights` do.
    """
    student.initialise(seed)
    student.lm_head.weight.copy_(head_VH)
    size = student.shape.layer.hidden_size
    for projection in student.aggr_projs:
        weight_HF = projection.weight
        assert isinstance(weight_HF, Tensor)
        nn.init.zeros_(weight_HF)
        nn.init.eye_(weight_HF[:, -size:])
    for name, weight in student.spec_layers.named_parameters():
        if name.endswith(_OUTPUTS):
            nn.init.zeros_(weight)
    for layer, index in zip(student.spec_layers, layers or (), strict=False):
        # What the target does not have, such as norms of queries and keys, stays as it is.
        layer.load_state_dict(layer.state_dict() | _layer(architecture, weights, index))


def _layer(architecture: Architecture, weights: Weights, index: int) -> dict[str, Tensor]:
    """The weights of a layer of the target by the names of the module's, without biases; float32, on the CPU."""
    shape = architecture.layers[index]
    if isinstance(shape, HybridShape) and shape.delta is not None:
        kinds = [number for number, each in enumerate(architecture.layers) if _attends(each)]
        rule = f"must be layers with attention: {', '.join(map(str, kinds))}"
        raise InputError(f"--init-from-layers names layer {index}, which has a delta rule: {rule}")
    layer = make_layer(shape, torch.float32, "cpu")
    load(layer, weights, f"model.layers.{index}.")
    found = {name: tensor for name, tensor in layer.state_dict().items() if not name.endswith(".bias")}
    return _without_gate(found, shape) if isinstance(shape, HybridShape) else found


def _attends(shape: object) -> bool:
    return not (isinstance(shape, HybridShape) and shape.delta is not None)


def _without_gate(found: dict[str, Tensor], shape: HybridShape) -> dict[str, Tensor]:
    """A hybrid layer as a dense one: its norms whole, its queries without their gates, which are taken as at rest."""
    dense = shape.dense
    whole = {name: tensor + NORM_OFFSET if tensor.ndim == 1 else tensor for name, tensor in found.items()}
    pairs = whole["self_attn.q_proj.weight"].view(dense.num_heads, 2, dense.head_dim, dense.hidden_size)
    whole["self_attn.q_proj.weight"] = pairs[:, 0].reshape(-1, dense.hidden_size)
    whole["self_attn.o_proj.weight"] = whole["self_attn.o_proj.weight"] * _GATE_AT_REST
    return whole
