"""A target model as its config.json describes it: the shape of every layer, and what stands around the layers.

Reads what `spdsim.shapes` reads and checks, and beyond it what only computing needs. Knows nothing of weights.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from executor.model.delta import DeltaShape
from executor.model.dense import DenseShape
from executor.model.hybrid import NORM_OFFSET, HybridShape
from executor.model.rotary import Rotary
from executor.model.rotary_config import number, read_rotary
from spdsim.errors import InputError, ScenarioError
from spdsim.files import parse_json, read_text
from spdsim.shapes.config import Config
from spdsim.shapes.huggingface import shape_of

FAMILIES = ("llama", "qwen2", "qwen3", "mistral", "qwen3_5", "qwen3_5_text")
"""Every model_type that the executor computes."""

LayerShape = DenseShape | HybridShape

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
_RMS_EPS = 1e-6
_HYBRID = ("qwen3_5", "qwen3_5_text")
_HYBRID_FRACTION = 0.25
"""Of a head's entries are rotated where the file does not say."""


@dataclass(frozen=True, slots=True)
class Architecture:
    """A target model.

    layers: the shape of each decoder layer, in order. norm_offset: of the final norm. tied_embeddings: the LM head is
    the embedding table. dtype: in which its weights are published. end_tokens: ids that end a text.
    """

    hidden_size: int
    vocab_size: int
    layers: tuple[LayerShape, ...]
    rotary: Rotary
    rms_eps: float
    norm_offset: float
    tied_embeddings: bool
    dtype: torch.dtype
    end_tokens: frozenset[int]

    @property
    def num_layers(self) -> int:
        """How many decoder layers there are."""
        return len(self.layers)


def read_architecture(source: Mapping[str, Any] | Path) -> Architecture:
    """Return what a config.json says; `source`: its mapping, or the directory that holds it.

    Raises InputError, one line, for a family or an option that the executor does not compute, a missing key or a
    wrong value.
    """
    if isinstance(source, Path):
        file = source / "config.json"
        try:
            return read_architecture(_mapping(file))
        except ScenarioError as error:
            raise InputError(f"{file}: {error}") from None
    whole = Config(source)
    family: str = whole.choice("model_type", FAMILIES)
    is_hybrid = family in _HYBRID
    # A multimodal model keeps the language model's keys apart.
    inner = whole.part("text_config") if is_hybrid else None
    inner = Config(inner.values, family, inner.prefix) if inner else Config(source, family)
    shape = shape_of(source)
    _refuse_what_is_not_computed(whole)
    _refuse_what_is_not_computed(inner)
    eps = number(inner, "rms_norm_eps", _RMS_EPS)
    return Architecture(
        hidden_size=shape["hidden_size"],
        vocab_size=shape["vocab_size"],
        layers=_hybrid_layers(inner, shape, eps) if is_hybrid else _dense_layers(family, shape, eps),
        rotary=read_rotary(inner, shape["head_dim"], _HYBRID_FRACTION if is_hybrid else 1.0),
        rms_eps=eps,
        norm_offset=NORM_OFFSET if is_hybrid else 0.0,
        tied_embeddings=shape["tied_embeddings"],
        dtype=_dtype(inner) or _dtype(whole) or torch.bfloat16,
        end_tokens=_end_tokens(inner) or _end_tokens(whole),
    )


def _mapping(file: Path) -> Mapping[str, Any]:
    config = parse_json(read_text(file), file)
    if not isinstance(config, dict):
        raise InputError(f"{file}: must be a mapping of keys")
    return config


def _refuse_what_is_not_computed(config: Config) -> None:
    config.choice("hidden_act", ("silu",), "silu")
    if config.flag("mlp_bias", False):
        config.refuse("mlp_bias", "must be false: MLPs with biases are not computed here")
    for key in ("quantization_config", "compression_config"):
        if config.values.get(key) is not None:
            config.refuse(key, "must be absent: quantised weights are not computed here")


def _dense_layers(family: str, shape: Mapping[str, Any], eps: float) -> tuple[DenseShape, ...]:
    """The shape of each layer: they differ in their windows."""
    kinds = shape.get("layer_types") or ["sliding_attention"] * shape["num_layers"]
    # Qwen2 has biases on query, key and value alone.
    full = _dense(shape, eps, has_output_bias=family != "qwen2")
    return tuple(
        replace(full, window=shape.get("sliding_window")) if kind == "sliding_attention" else full for kind in kinds
    )


def _hybrid_layers(config: Config, shape: Mapping[str, Any], eps: float) -> tuple[HybridShape, ...]:
    """The shape of each layer: most have a delta rule, some attend."""
    if not shape["attention_output_gate"]:
        config.refuse(
            "attn_output_gate", "must be true: hybrid models whose attention has no gate are not computed here"
        )
    if shape["linear_conv_kernel_dim"] < 2:
        config.refuse("linear_conv_kernel_dim", "must be at least 2")
    interval, num_layers = shape["full_attention_interval"], shape["num_layers"]
    attends = [kind == "full_attention" for kind in shape["layer_types"] or ()]
    attends = attends or [(layer + 1) % interval == 0 for layer in range(num_layers)]
    delta = DeltaShape(
        hidden_size=shape["hidden_size"],
        num_key_heads=shape["linear_num_key_heads"],
        num_value_heads=shape["linear_num_value_heads"],
        key_head_dim=shape["linear_key_head_dim"],
        value_head_dim=shape["linear_value_head_dim"],
        conv_kernel=shape["linear_conv_kernel_dim"],
        rms_eps=eps,
    )
    dense = _dense(shape, eps, has_output_bias=True)
    return tuple(HybridShape(dense, None if is_attention else delta) for is_attention in attends)


def _dense(shape: Mapping[str, Any], eps: float, *, has_output_bias: bool) -> DenseShape:
    return DenseShape(
        hidden_size=shape["hidden_size"],
        intermediate_size=shape["intermediate_size"],
        num_heads=shape["num_heads"],
        num_kv_heads=shape["num_kv_heads"],
        head_dim=shape["head_dim"],
        qk_norm=shape["qk_norm"],
        attention_bias=shape["attention_bias"],
        rms_eps=eps,
        output_bias=shape["attention_bias"] and has_output_bias,
    )


def _dtype(config: Config) -> torch.dtype | None:
    """The dtype, if the file says one; `shape_of` has checked it."""
    written = config.values.get("dtype") or config.values.get("torch_dtype")
    return _DTYPES.get(str(written).removeprefix("torch."))


def _end_tokens(config: Config) -> frozenset[int]:
    written = config.values.get("eos_token_id")
    if written is None:
        return frozenset()
    ids = written if isinstance(written, list) else [written]
    if not all(type(token) is int and token >= 0 for token in ids):
        config.refuse("eos_token_id", "must be a token id or a list of them")
    return frozenset(ids)
