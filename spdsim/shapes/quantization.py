"""How the weights of a published checkpoint are stored: the `quantization_config` of its config.json.

Bits of a weight, weights that share a scale, and bits of a scale, as each method stores them.
"""

from collections.abc import Callable, Mapping
from typing import Any

from spdsim.shapes.config import Config

_SCALE_BITS = 16
_FP32_BITS = 32
_MOST_BITS = 32


def storage_of(config: Config) -> dict[str, Any]:
    """Return the keys of a target model that say how its weights and cache are stored; none if as its dtype says.

    Raises ScenarioError where the method is not known or a value is not what it must be.
    """
    quantization = config.part("quantization_config") or config.part("compression_config")
    if quantization is None:
        return {}
    # Old files of bitsandbytes name no method.
    is_unnamed = _either(quantization, "load_in_4bit") or _either(quantization, "load_in_8bit")
    method = quantization.choice("quant_method", tuple(_METHODS), "bitsandbytes" if is_unnamed else None)
    if method is None:
        quantization.missing("quant_method")
    return _METHODS[method](quantization)


def _group(quantization: Config, key: str) -> int | None:
    """The size of a group; -1 is how files say: one scale for each output."""
    is_whole_row = quantization.values.get(key) == -1
    found: int | None = None if is_whole_row else quantization.count(key, None)
    return found


def _block(quantization: Config, key: str) -> int | None:
    """The size of a block of rows and columns with one scale, if there are blocks."""
    block = quantization.list_of(key, int)
    if block is None:
        return None
    if len(block) != 2 or min(block) < 1:
        quantization.refuse(key, "must be two whole numbers, at least 1")
    return int(block[0] * block[1])


def _bits(quantization: Config, key: str) -> int:
    found: int = quantization.count(key, most=_MOST_BITS)
    return found


def _grouped(quantization: Config, bits_key: str, group_key: str, *, has_zero_point: bool) -> dict[str, Any]:
    """GPTQ and AWQ: fp16 scales, and zero points of as many bits as a weight, which GPTQ stores even if symmetric."""
    bits = _bits(quantization, bits_key)
    return {
        "weight_bits": bits,
        "weight_group_size": _group(quantization, group_key),
        "weight_scale_bits": _SCALE_BITS + (bits if has_zero_point else 0),
        "quantized_lm_head": quantization.flag("lm_head", False),
    }


def _gptq(quantization: Config) -> dict[str, Any]:
    return _grouped(quantization, "bits", "group_size", has_zero_point=True)


def _awq(quantization: Config) -> dict[str, Any]:
    bits = "w_bit" if "w_bit" in quantization.values else "bits"
    group = "q_group_size" if "q_group_size" in quantization.values else "group_size"
    return _grouped(quantization, bits, group, has_zero_point=quantization.flag("zero_point", True))


def _fp8(quantization: Config) -> dict[str, Any]:
    """Blocks with an fp32 scale each; without a block size, one scale for a whole matrix, which is next to nothing."""
    group = _block(quantization, "weight_block_size")
    return {"weight_bits": 8, "weight_group_size": group, "weight_scale_bits": _FP32_BITS if group else 0}


def _compressed(quantization: Config) -> dict[str, Any]:
    """compressed-tensors: groups of modules, each with a scheme; one scheme for all is what is understood."""
    groups = quantization.part("config_groups") or quantization.missing("config_groups")
    schemes = [weights for name in groups.values if (group := groups.part(name)) and (weights := group.part("weights"))]
    if not schemes:
        quantization.refuse("config_groups", "must have a group with weights")
    found = [_scheme(weights) for weights in schemes]
    if any(scheme != found[0] for scheme in found):
        quantization.refuse("config_groups", "must store all weights alike: mixed schemes are not known")
    cache = quantization.part("kv_cache_scheme")
    return found[0] | ({"kv_dtype_bytes": _bits(cache, "num_bits") / 8} if cache else {})


def _scheme(weights: Config) -> dict[str, Any]:
    bits, group = _bits(weights, "num_bits"), _block(weights, "block_structure") or _group(weights, "group_size")
    zero_point = 0 if weights.flag("symmetric", True) else bits
    return {"weight_bits": bits, "weight_group_size": group, "weight_scale_bits": _SCALE_BITS + zero_point}


def _bitsandbytes(quantization: Config) -> dict[str, Any]:
    """4 bits: blocks of 64 with an fp32 scale, or an 8-bit one and an fp32 scale for 256 of these. 8 bits: by row."""
    if _either(quantization, "load_in_4bit"):
        is_double = quantization.flag("bnb_4bit_use_double_quant", False)
        scale_bits = 8 + _FP32_BITS / 256 if is_double else _FP32_BITS
        return {"weight_bits": 4, "weight_group_size": 64, "weight_scale_bits": scale_bits}
    if _either(quantization, "load_in_8bit"):
        return {"weight_bits": 8, "weight_group_size": None, "weight_scale_bits": _FP32_BITS}
    return {}


def _either(quantization: Config, key: str) -> bool:
    return quantization.flag(key, quantization.flag(f"_{key}", False))


_METHODS: Mapping[str, Callable[[Config], dict[str, Any]]] = {
    "gptq": _gptq,
    "awq": _awq,
    "compressed-tensors": _compressed,
    "fp8": _fp8,
    "bitsandbytes": _bitsandbytes,
}
