"""The config.json of a shape: what a catalogue's entry would look like as a model's file.

Knows nothing of weights. The inverse of `spdsim.shapes.huggingface.shape_of`, where the executor has the layers for it.
"""

from typing import Any

from spdsim.errors import InputError
from spdsim.scenario.target import TargetModel

_POSITIONS = 1_000_000
"""A shape does not say for how long a context the model was made."""


def config_of(model: TargetModel) -> dict[str, Any]:
    """Return a config.json for `model`, which a shape alone describes.

    Raises InputError for what the executor has no layers for.
    """
    return {**_common(model), **_of_family(model)}


def _common(model: TargetModel) -> dict[str, Any]:
    return {
        "hidden_size": model.hidden_size,
        "intermediate_size": model.intermediate_size,
        "num_hidden_layers": model.num_layers,
        "num_attention_heads": model.num_heads,
        "num_key_value_heads": model.num_kv_heads,
        "head_dim": model.head_dim,
        "vocab_size": model.vocab_size,
        "tie_word_embeddings": model.tied_embeddings,
        "hidden_act": "silu",
        "rms_norm_eps": 1e-6,
        "rope_theta": 10_000.0,
        "max_position_embeddings": _POSITIONS,
    }


def _of_family(model: TargetModel) -> dict[str, Any]:
    """What tells the family, and the keys that only it has."""
    is_plain = model.layer_types is None and not model.attention_output_gate
    if model.num_experts is not None:
        raise _refusal(model, "is a mixture of experts")
    if model.weight_bits is not None or model.kv_dtype_bytes is not None:
        raise _refusal(model, "is quantised")
    if "linear_attention" in model.types:
        return _hybrid(model)
    if model.sliding_window is not None and is_plain and not (model.qk_norm or model.attention_bias):
        return {"model_type": "mistral", "sliding_window": model.sliding_window}
    if model.sliding_window is not None or not is_plain:
        raise _refusal(model, "has attention of its own kind")
    if model.qk_norm:
        return {"model_type": "qwen3", "attention_bias": model.attention_bias}
    return {"model_type": "qwen2" if model.attention_bias else "llama"}


def _hybrid(model: TargetModel) -> dict[str, Any]:
    if not (model.qk_norm and model.attention_output_gate) or model.sliding_window is not None:
        raise _refusal(model, "has linear attention, and attention of its own kind")
    types = {"layer_types": list(model.types)} if model.layer_types else {}
    return {
        "model_type": "qwen3_5_text",
        "attention_bias": model.attention_bias,
        "full_attention_interval": model.full_attention_interval,
        **types,
        "linear_num_key_heads": model.linear_num_key_heads,
        "linear_num_value_heads": model.linear_num_value_heads,
        "linear_key_head_dim": model.linear_key_head_dim,
        "linear_value_head_dim": model.linear_value_head_dim,
        "linear_conv_kernel_dim": model.linear_conv_kernel_dim,
    }


def _refusal(model: TargetModel, what: str) -> InputError:
    rule = "must be like Llama, Mistral, Qwen2, Qwen3 or Qwen3.5, dense, in 16 or 32 bits (--emulate takes any shape)"
    return InputError(f"model {model.name} {what}: {rule}")
