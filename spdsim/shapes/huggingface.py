"""The shape of a model, read from the config.json that Hugging Face's transformers write.

What a key means, and what holds where it is missing, is as in the configuration classes of transformers.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from spdsim.errors import ScenarioError
from spdsim.shapes.config import Config
from spdsim.shapes.layer_types import (
    layer_types,
    mistral_window,
    window_above,
    window_every_other,
    window_everywhere,
    window_if_used,
)
from spdsim.shapes.quantization import storage_of

Keys = dict[str, Any]

_DTYPE_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
_LATENT = ("deepseek_v2", "deepseek_v3", "deepseek_v32", "kimi_k2", "longcat_flash", "minicpm3")
_SHARED_WIDTHS = {"qwen2_moe": 5632, "qwen3_next": 512, "qwen3_5_moe": 512, "qwen3_5_moe_text": 512}
"""Width of the shared expert where the file does not say."""
_MOST_LAYERS = 10_000


@dataclass(frozen=True, slots=True)
class _Family:
    """What a model_type is.

    kv_heads: where the file does not say; None: as many as query heads. head_dim: likewise; None: hidden / heads.
    has_bias: of query, key and value; None: as `attention_bias` says. windows: how sliding windows are laid out.
    """

    kv_heads: int | None = None
    head_dim: int | None = None
    has_bias: bool | None = None
    has_qk_norm: bool = False
    has_gate: bool = False
    is_hybrid: bool = False
    mlp: "Callable[[Config, int], Keys] | None" = None
    windows: "Callable[[Config, int], Keys] | None" = None


def shape_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys of a target model that a config.json gives.

    Raises ScenarioError, "key is value: rule", for a model_type that is not known, a missing key or a wrong value.
    """
    model_type = _model_type(Config(config))
    whole, family = Config(config, model_type), FAMILIES[model_type]
    # Multimodal models keep the language model's keys apart.
    inner = whole.part("text_config") or whole
    attention, num_layers = _attention(inner, family), inner.count("num_hidden_layers", most=_MOST_LAYERS)
    shape = {
        **attention,
        "num_layers": num_layers,
        "vocab_size": inner.count("vocab_size"),
        "tied_embeddings": whole.flag("tie_word_embeddings", inner.flag("tie_word_embeddings", False)),
        "dtype_bytes": _dtype_bytes(inner) or _dtype_bytes(whole) or 2,
        **(family.mlp or _dense)(inner, num_layers),
        **(storage_of(whole) or storage_of(inner)),
    }
    if family.is_hybrid:
        shape |= _hybrid(inner, num_layers)
    elif family.windows:
        shape |= family.windows(inner, num_layers)
    return shape


def _model_type(config: Config) -> str:
    """The architecture; of a multimodal model that is not known, that of its language model."""
    text = config.part("text_config")
    for part in filter(None, (config, text)):
        found: str | None = part.text("model_type", None)
        if found is not None and found in FAMILIES:
            return found
        if found in _LATENT or part.values.get("kv_lora_rank") is not None:
            part.refuse("model_type", "has multi-head latent attention, which is not known here")
    if config.values.get("model_type") is None:
        raise ScenarioError(f"model_type is missing: must be one of {', '.join(FAMILIES)}")
    known: str = config.choice("model_type", tuple(FAMILIES))
    return known


def _attention(config: Config, family: _Family) -> Keys:
    hidden, num_heads = config.count("hidden_size"), config.count("num_attention_heads")
    is_said = "num_key_value_heads" in config.values
    num_kv_heads = config.count("num_key_value_heads", num_heads if is_said else family.kv_heads or num_heads)
    if num_heads % num_kv_heads:
        if not is_said:
            config.missing("num_key_value_heads")
        config.refuse("num_key_value_heads", f"must divide num_attention_heads, {num_heads}")
    if family.head_dim is None and config.values.get("head_dim") is None and hidden % num_heads:
        config.refuse("num_attention_heads", f"must divide hidden_size, {hidden}, where no head_dim is given")
    has_bias = config.flag("attention_bias", False) if family.has_bias is None else family.has_bias
    return {
        "hidden_size": hidden,
        "num_heads": num_heads,
        "num_kv_heads": num_kv_heads,
        "head_dim": config.count("head_dim", family.head_dim or hidden // num_heads),
        "attention_bias": config.flag("qkv_bias", has_bias),
        "qk_norm": family.has_qk_norm,
        "attention_output_gate": family.has_gate and config.flag("attn_output_gate", True),
    }


def _dense(config: Config, _: int) -> Keys:
    return {"intermediate_size": config.count("intermediate_size")}


def _mixtral(config: Config, _: int) -> Keys:
    width = config.count("intermediate_size")
    return {"intermediate_size": width, "moe_intermediate_size": width, **_experts(config, "num_local_experts")}


def _sparse(config: Config, num_layers: int) -> Keys:
    """Qwen's mixtures: experts of their own width, perhaps a shared one, and layers without."""
    width = config.count("moe_intermediate_size")
    shared = config.index("shared_expert_intermediate_size", _SHARED_WIDTHS.get(config.family, 0))
    key = "num_experts" if "num_experts" in config.values else "num_local_experts"
    experts = _experts(config, key if key in config.values else "num_experts")
    step, dense = config.count("decoder_sparse_step", 1), config.list_of("mlp_only_layers", int) or []
    if any(not 0 <= layer < num_layers for layer in dense):
        config.refuse("mlp_only_layers", f"must be layers from 0 to {num_layers - 1}")
    return {
        # Where no layer is dense the file may leave the width out; as wide as what a token uses of a layer.
        "intermediate_size": config.count("intermediate_size", width * experts["experts_per_token"] + shared),
        "moe_intermediate_size": width,
        "shared_expert_intermediate_size": shared,
        "dense_layers": [layer for layer in range(num_layers) if layer in dense or (layer + 1) % step],
        **experts,
    }


def _experts(config: Config, key: str) -> Keys:
    num_experts, active = config.count(key), config.count("num_experts_per_tok")
    if active > num_experts:
        config.refuse("num_experts_per_tok", f"must be at most {key}, {num_experts}")
    return {"num_experts": num_experts, "experts_per_token": active}


def _hybrid(config: Config, num_layers: int) -> Keys:
    key_heads, value_heads = config.count("linear_num_key_heads", 16), config.count("linear_num_value_heads", 32)
    if value_heads % key_heads:
        config.refuse("linear_num_value_heads", f"must be a multiple of linear_num_key_heads, {key_heads}")
    types = layer_types(config, num_layers, "linear_attention")
    return {
        "layer_types": types,
        "full_attention_interval": None if types else config.count("full_attention_interval", 4),
        "linear_num_key_heads": key_heads,
        "linear_num_value_heads": value_heads,
        "linear_key_head_dim": config.count("linear_key_head_dim", 128),
        "linear_value_head_dim": config.count("linear_value_head_dim", 128),
        "linear_conv_kernel_dim": config.count("linear_conv_kernel_dim", 4),
    }


def _dtype_bytes(config: Config) -> int | None:
    key = "dtype" if config.values.get("dtype") is not None else "torch_dtype"
    written = config.text(key, None)
    if written is None or written == "auto":
        return None
    if (name := written.removeprefix("torch.")) not in _DTYPE_BYTES:
        config.refuse(key, f"must be one of {', '.join(_DTYPE_BYTES)}")
    return _DTYPE_BYTES[name]


_HYBRID = _Family(4, 256, has_qk_norm=True, has_gate=True, is_hybrid=True)
_HYBRID_MOE = _Family(2, 256, has_qk_norm=True, has_gate=True, is_hybrid=True, mlp=_sparse)

FAMILIES: Mapping[str, _Family] = {
    "llama": _Family(),
    "qwen2": _Family(32, has_bias=True, windows=window_above),
    "qwen3": _Family(32, 128, has_qk_norm=True, windows=window_above),
    "mistral": _Family(8, has_bias=False, windows=mistral_window),
    "mixtral": _Family(8, has_bias=False, mlp=_mixtral, windows=window_everywhere),
    "qwen2_moe": _Family(16, has_bias=True, mlp=_sparse, windows=window_every_other),
    "qwen3_moe": _Family(4, has_qk_norm=True, mlp=_sparse, windows=window_if_used),
    "qwen3_next": _HYBRID_MOE,
    "qwen3_5": _HYBRID,
    "qwen3_5_text": _HYBRID,
    "qwen3_5_moe": _HYBRID_MOE,
    "qwen3_5_moe_text": _HYBRID_MOE,
}
"""What transformers' configuration classes say of each model_type."""
