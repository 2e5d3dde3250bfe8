"""What a v11 checkpoint says of itself in its `config`.

Knows nothing of weights. Raises InputError of the form "config.key is value: rule"; who read the file names it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from executor.draft.cut import broken_anchor_rule
from spdsim.shapes.config import Config

VERSION = 11


@dataclass(frozen=True, slots=True)
class DraftConfig:
    """A draft module as its checkpoint describes it.

    anchors: `aggr_feature_bound`. num_layers: `num_spec_layers`. draft_token_ids: rising; None: every token id.
    stage_layers: layers of each stage, where it says so.
    """

    hidden_size: int
    vocab_size: int
    num_stages: int
    num_layers: int
    anchors: tuple[int, ...]
    draft_token_ids: tuple[int, ...] | None = None
    stage_layers: tuple[int, ...] | None = None


def read_config(values: Mapping[str, Any]) -> DraftConfig:
    """Return the config of a checkpoint. Raises InputError where a key is missing, malformed or contradicts another."""
    config = Config({str(key): _plain(value) for key, value in values.items()}, "draft module", "config.")
    if config.count("version") != VERSION:
        config.refuse("version", f"must be {VERSION}")
    vocab_size = config.count("vocab_size")
    return DraftConfig(
        config.count("hidden_size"),
        vocab_size,
        config.count("num_stages"),
        config.count("num_spec_layers"),
        _anchors(config),
        _draft_token_ids(config, vocab_size),
        _stage_layers(config),
    )


def _anchors(config: Config) -> tuple[int, ...]:
    key = "aggr_feature_bound"
    anchors = config.list_of(key, int)
    if anchors is None:
        config.missing(key)
    # How many layers the target has is not known here.
    if rule := broken_anchor_rule(tuple(anchors), max(anchors, default=0)):
        config.refuse(key, rule)
    if config.count("num_aggr_types") != len(anchors):
        config.refuse("num_aggr_types", f"must be {len(anchors)}, the number of anchors in {key}")
    return tuple(anchors)


def _draft_token_ids(config: Config, vocab_size: int) -> tuple[int, ...] | None:
    key, size = "draft_token_ids", config.count("draft_vocab_size", vocab_size)
    ids = config.list_of(key, int)
    if ids is not None:
        if any(left >= right for left, right in pairwise(ids)):
            config.refuse(key, "must rise from one to the next")
        if not ids or ids[0] < 0 or ids[-1] >= vocab_size:
            config.refuse(key, f"must be token ids, 0 to {vocab_size - 1}")
    if size != (expected := vocab_size if ids is None else len(ids)):
        what = "vocab_size, since there is no draft_token_ids" if ids is None else f"the number of {key}"
        config.refuse("draft_vocab_size", f"must be {expected}, {what}")
    return None if ids is None else tuple(ids)


def _stage_layers(config: Config) -> tuple[int, ...] | None:
    key, written = "stage_layers", config.values.get("stage_layers")
    if isinstance(written, str):
        parts = [part.strip() for part in written.split(";") if part.strip()]
        if not all(part.isdecimal() for part in parts):
            config.refuse(key, "must be whole numbers, one for each stage")
        return tuple(map(int, parts)) or None
    layers = config.list_of(key, int)
    return None if layers is None else tuple(layers)


def _plain(value: Any) -> Any:
    """The value as a JSON file would hold it: what is no plain value becomes text, and is refused where it matters."""
    match value:
        case None | bool() | int() | float() | str():
            return value
        case list() | tuple():
            return [_plain(entry) for entry in value]
        case _ if hasattr(value, "tolist"):
            return _plain(value.tolist())
        case _:
            return str(value)
