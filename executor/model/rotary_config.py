"""The rotary embedding that a config.json asks for, in any of the forms in which files say it.

Knows nothing of the rest of a model.
"""

from collections.abc import Mapping

from executor.model.rotary import LinearScaling, Llama3Scaling, Rotary
from spdsim.errors import ScenarioError
from spdsim.shapes.config import Config

_TYPES = ("default", "linear", "llama3")
_THETA = 10_000.0
_MAX_POSITIONS = {"llama": 2048, "mistral": 131_072}
"""What transformers assume where a file does not say; 32,768 in other families."""


def read_rotary(config: Config, head_dim: int, fraction: float) -> Rotary:
    """Return what `rope_parameters` say, or `rope_theta` with an optional `rope_scaling`.

    fraction: of a head's entries are rotated where the file does not say.
    Raises ScenarioError for a kind that is not computed, a missing key or a wrong value.
    """
    key = "rope_scaling" if config.values.get("rope_scaling") else "rope_parameters"
    rope = config.part(key) or Config({}, config.family, f"{config.prefix}{key}.")
    if nested := [name for name, value in rope.values.items() if isinstance(value, Mapping)]:
        rope.refuse(nested[0], "must not be a mapping: one rotary embedding for all layers is computed here")
    kind = rope.choice("rope_type" if "rope_type" in rope.values else "type", _TYPES, "default")
    theta = number(rope, "rope_theta", number(config, "rope_theta", _THETA))
    fraction = number(rope, "partial_rotary_factor", number(config, "partial_rotary_factor", fraction))
    dim = int(head_dim * fraction)
    if dim % 2 or not 0 < dim <= head_dim:
        raise ScenarioError(f"head_dim is {head_dim}: must have an even number of rotated entries, not {dim}")
    match kind:
        case "linear":
            return Rotary(dim, theta, LinearScaling(number(rope, "factor")))
        case "llama3":
            low, high = number(rope, "low_freq_factor"), number(rope, "high_freq_factor")
            if high <= low:
                rope.refuse("high_freq_factor", f"must be more than low_freq_factor, {low:g}")
            return Rotary(dim, theta, Llama3Scaling(number(rope, "factor"), low, high, _original_rows(config, rope)))
        case _:
            return Rotary(dim, theta)


def number(config: Config, key: str, default: float | None = None) -> float:
    """Return a positive number; `default` where the key is missing or null. Raises ScenarioError for anything else."""
    value = config.values.get(key)
    if value is None:
        return config.missing(key) if default is None else default
    if isinstance(value, bool) or not isinstance(value, int | float):
        config.refuse(key, "must be a number")
    if not 0 < value < float("inf"):
        config.refuse(key, "must be positive and finite")
    return float(value)


def _original_rows(config: Config, rope: Config) -> int:
    """The context for which a scaled model was trained; as in transformers, the file's key goes before the rope's."""
    key = "original_max_position_embeddings"
    inside = rope.count(key, config.count("max_position_embeddings", _MAX_POSITIONS.get(config.family, 32_768)))
    found: int = config.count(key, inside)
    return found
