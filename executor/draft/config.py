"""What a checkpoint says of the draft module in it, whatever its format.

Knows nothing of files and weights.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from math import isfinite
from typing import Any

from executor.draft.cut import broken_anchor_rule
from executor.draft.shape import DraftShape
from executor.model.dense import DenseShape
from executor.model.rotary import Rotary
from spdsim.shapes.config import Config


@dataclass(frozen=True, slots=True)
class LayerSizes:
    """The sizes of each decoder layer. rms_eps: None: the target's, the format does not say it."""

    intermediate_size: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    rms_eps: float | None = None

    @classmethod
    def of(cls, layer: DenseShape) -> "LayerSizes":
        """Return those of a layer."""
        return cls(layer.intermediate_size, layer.num_heads, layer.num_kv_heads, layer.head_dim, layer.rms_eps)


@dataclass(frozen=True, slots=True)
class MadeFor:
    """What is said of the target that a module was made for; None: nothing.

    name: name or path. fingerprint: of the names and sizes of its tensors, as `executor.draft.target` takes it.
    """

    name: str | None = None
    model_type: str | None = None
    fingerprint: str | None = None


@dataclass(frozen=True, slots=True)
class DraftConfig:
    """A draft module as its checkpoint describes it.

    draft_token_ids: rising; None: every token id. stage_layers: layers of each stage; None: as many in each.
    layer, rotary: None: the target's, the format does not say them. facts: of the training, whatever is known.
    """

    hidden_size: int
    vocab_size: int
    num_stages: int
    num_layers: int
    anchors: tuple[int, ...]
    draft_token_ids: tuple[int, ...] | None = None
    stage_layers: tuple[int, ...] | None = None
    layer: LayerSizes | None = None
    rotary: Rotary | None = None
    target: MadeFor = MadeFor()
    facts: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(
        cls, shape: DraftShape, target: MadeFor, rotary: Rotary | None = None, facts: Mapping[str, Any] | None = None
    ) -> "DraftConfig":
        """Return the description of a module of this shape."""
        cut = shape.cut
        return cls(
            shape.layer.hidden_size, shape.vocab_size, cut.num_stages, shape.num_layers, cut.anchors,
            shape.draft_token_ids, cut.layers, LayerSizes.of(shape.layer), rotary, target,
            {} if facts is None else facts,
        )  # fmt: skip

    @property
    def draft_vocab_size(self) -> int:
        """How many token ids it can draft."""
        return self.vocab_size if self.draft_token_ids is None else len(self.draft_token_ids)


def read_anchors(config: Config, key: str) -> tuple[int, ...]:
    """Return the anchors under a key. Raises ScenarioError where there are none, or they break a rule."""
    anchors = config.list_of(key, int)
    if anchors is None:
        config.missing(key)
    # How many layers the target has is not known here.
    if rule := broken_anchor_rule(tuple(anchors), max(anchors, default=0)):
        config.refuse(key, rule)
    return tuple(anchors)


def read_token_ids(config: Config, key: str, vocab_size: int) -> tuple[int, ...] | None:
    """Return the token ids under a key, or None where there are none. Raises ScenarioError where they are no subset."""
    ids = config.list_of(key, int)
    if ids is None:
        return None
    if any(left >= right for left, right in pairwise(ids)):
        config.refuse(key, "must rise from one to the next")
    if not ids or ids[0] < 0 or ids[-1] >= vocab_size:
        config.refuse(key, f"must be token ids, 0 to {vocab_size - 1}")
    return tuple(ids)


def check_stage_layers(config: Config, layers: list[int] | None, num_stages: int) -> tuple[int, ...] | None:
    """Return the layers of the stages. Raises ScenarioError unless there is one entry for each stage, or none."""
    if layers is None:
        return None
    if len(layers) != num_stages or min(layers) < 1:
        config.refuse("stage_layers", f"must be {num_stages} whole numbers, at least 1, one for each of num_stages")
    return tuple(layers)


def plain(value: Any) -> Any:
    """Return a value as a JSON file would hold it: what is no plain value becomes text, refused where it matters."""
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if isfinite(value) else str(value)
        case list() | tuple():
            return [plain(entry) for entry in value]
        case Mapping():
            return {str(key): plain(entry) for key, entry in value.items()}
        case _ if hasattr(value, "tolist"):
            return plain(value.tolist())
        case _:
            return str(value)
