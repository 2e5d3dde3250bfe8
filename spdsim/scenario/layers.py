"""The layers of a target model in bytes, made of what its shape says."""

from functools import lru_cache

from spdsim.scenario.shape import LayerType, Shape
from spdsim.shapes.layers import Attention, Experts, GatedDelta, Layer, Mlp, Precision, decoder_layer


def precision_of(model: Shape) -> Precision:
    """Return how the values of a model's layers are stored."""
    kv_bytes = model.kv_dtype_bytes or model.dtype_bytes
    if model.weight_bits is None:
        return Precision(8 * model.dtype_bytes, model.dtype_bytes, kv_bytes)
    return Precision(
        model.weight_bits, model.dtype_bytes, kv_bytes, model.weight_group_size, model.weight_scale_bits
    )  # fmt: skip


@lru_cache(maxsize=256)
def layers_of(model: Shape) -> tuple[Layer, ...]:
    """Return every decoder layer, the first one first."""
    precision, types = precision_of(model), model.types
    is_moe = [model.num_experts is not None and index not in model.dense_layers for index in range(len(types))]
    # Few kinds, many layers: each kind is made once.
    made = {
        (kind, moe): decoder_layer(_mixer(model, kind), _experts(model) if moe else _mlp(model), precision)
        for kind, moe in set(zip(types, is_moe, strict=True))
    }
    return tuple(made[kind] for kind in zip(types, is_moe, strict=True))


@lru_cache(maxsize=256)
def draft_layer_of(model: Shape) -> Layer:
    """Return a layer of the draft module: dense, full attention, not quantised."""
    plain = Precision(8 * model.dtype_bytes, model.dtype_bytes, model.dtype_bytes)
    attention = Attention(
        model.hidden_size, model.num_heads, model.num_kv_heads, model.head_dim, model.attention_bias,
        has_qk_norm=model.qk_norm,
    )  # fmt: skip
    return decoder_layer(attention, _mlp(model), plain)


def _mixer(model: Shape, kind: LayerType) -> Attention | GatedDelta:
    if kind == "linear_attention":
        return GatedDelta(
            model.hidden_size, model.linear_num_key_heads or 0, model.linear_num_value_heads or 0,
            model.linear_key_head_dim or 0, model.linear_value_head_dim or 0, model.linear_conv_kernel_dim,
        )  # fmt: skip
    return Attention(
        model.hidden_size, model.num_heads, model.num_kv_heads, model.head_dim, model.attention_bias,
        model.attention_output_gate, model.qk_norm, model.sliding_window if kind == "sliding_attention" else None,
    )  # fmt: skip


def _mlp(model: Shape) -> Mlp:
    return Mlp(model.hidden_size, model.intermediate_size)


def _experts(model: Shape) -> Experts:
    return Experts(
        model.hidden_size, model.moe_intermediate_size or 0, model.num_experts or 0, model.experts_per_token or 0,
        model.shared_expert_intermediate_size,
    )  # fmt: skip


def idle_params(model: Shape) -> int:
    """Return the weights of all experts that one token does not use."""
    num_moe = sum(layer.is_moe for layer in layers_of(model))
    if not num_moe:
        return 0
    idle = ((matrix.held - matrix.read) * matrix.inputs * matrix.outputs for matrix in _experts(model).matrices)
    return num_moe * sum(idle)
