"""Which layers of a published model look back on a sliding window only, family by family."""

from typing import Any

from spdsim.shapes.config import Config

_WINDOW = 4096
"""Tokens of a window where a file does not say."""


def window_everywhere(config: Config, _: int) -> dict[str, Any]:
    """Mixtral: in every layer, if the file gives one."""
    return {"sliding_window": config.count("sliding_window", None)}


def mistral_window(config: Config, _: int) -> dict[str, Any]:
    """Mistral: in every layer; later models of the family say null, for none."""
    is_said = "sliding_window" in config.values
    return {"sliding_window": config.count("sliding_window", None if is_said else _WINDOW)}


def window_above(config: Config, num_layers: int) -> dict[str, Any]:
    """Qwen2 and Qwen3: a window, if it is used at all, in the layers from max_window_layers on."""
    if not _has_window(config):
        return {}
    first = config.index("max_window_layers", 28)
    return _windowed(config, num_layers, [layer >= first for layer in range(num_layers)])


def window_every_other(config: Config, num_layers: int) -> dict[str, Any]:
    """Qwen2-MoE: in every other one of the layers below max_window_layers."""
    if not _has_window(config):
        return {}
    last = config.index("max_window_layers", 28)
    return _windowed(config, num_layers, [layer % 2 == 0 and layer < last for layer in range(num_layers)])


def window_if_used(config: Config, _: int) -> dict[str, Any]:
    """Qwen3-MoE: in every layer, if it is used at all."""
    return {"sliding_window": config.count("sliding_window", _WINDOW)} if _has_window(config) else {}


def _has_window(config: Config) -> bool:
    return config.flag("use_sliding_window", False) and config.values.get("sliding_window", _WINDOW) is not None


def _windowed(config: Config, num_layers: int, is_sliding: list[bool]) -> dict[str, Any]:
    otherwise = ["sliding_attention" if sliding else "full_attention" for sliding in is_sliding]
    types = layer_types(config, num_layers, "sliding_attention") or otherwise
    return {"sliding_window": config.count("sliding_window", _WINDOW), "layer_types": types}


def layer_types(config: Config, num_layers: int, other: str) -> list[str] | None:
    """The type of each layer, full attention or the `other`, if the file lists them."""
    types = config.list_of("layer_types", str)
    if types is None:
        return None
    if len(types) != num_layers:
        config.refuse("layer_types", f"must have {num_layers} entries, one for each of num_hidden_layers")
    if unknown := [kind for kind in types if kind not in ("full_attention", other)]:
        config.refuse("layer_types", f"must be made of full_attention and {other}, not {unknown[0]}")
    return types
