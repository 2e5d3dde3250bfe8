"""The target model: what its sizes in memory follow from.

Decoder models with grouped-query attention, gated delta layers or both, and a gated MLP or a mixture of experts.
Knows nothing of how it is cut.
"""

from math import ceil
from typing import Annotated, Any

from pydantic import BeforeValidator

from spdsim.scenario.catalogue import expand
from spdsim.scenario.layers import draft_layer_of, idle_params, layers_of, precision_of
from spdsim.scenario.shape import Shape
from spdsim.shapes.layers import Layer


class TargetModel(Shape):
    """The shape of the target model."""

    @property
    def layers(self) -> tuple[Layer, ...]:
        """Every decoder layer of the target, in bytes."""
        return layers_of(self)

    @property
    def draft_layer(self) -> Layer:
        """A layer of the draft module: dense, full attention, not quantised, else as the target's."""
        return draft_layer_of(self)

    @property
    def table_bytes(self) -> int:
        """The vocabulary by hidden size table, not quantised, bytes."""
        return self.vocab_size * self.hidden_size * self.dtype_bytes

    @property
    def head_bytes(self) -> int:
        """The LM head, bytes."""
        if self.quantized_lm_head:
            return ceil(precision_of(self).matrix_bytes(self.hidden_size, self.vocab_size))
        return self.table_bytes

    @property
    def embedding_bytes(self) -> int:
        """The embedding table, bytes; where it is the LM head too, there is one of both."""
        return self.head_bytes if self.tied_embeddings else self.table_bytes

    @property
    def tables_bytes(self) -> int:
        """Embedding and LM head, bytes; one table where they are tied."""
        return self.embedding_bytes + (0 if self.tied_embeddings else self.head_bytes)

    @property
    def state_vector_bytes(self) -> int:
        """One hidden state, bytes."""
        return self.hidden_size * self.dtype_bytes

    @property
    def weight_bytes(self) -> int:
        """The whole model, bytes: layers, final norm, embedding, LM head."""
        final_norm = self.hidden_size * self.dtype_bytes
        return sum(layer.weight_bytes for layer in self.layers) + final_norm + self.tables_bytes

    @property
    def num_params(self) -> int:
        """All weights, the embedding and every expert among them."""
        # At one byte a weight, bytes are weights.
        return self.model_copy(update={"dtype_bytes": 1, "weight_bits": None, "quantized_lm_head": False}).weight_bytes

    @property
    def num_active_params(self) -> int:
        """All weights but those of experts that a token does not use."""
        return self.num_params - idle_params(self)


def expand_model(written: Any) -> Any:
    """Return the shape behind a catalogue name, or behind a mapping with `base`, whose own keys win."""
    return with_changes(expand("models", written), written)


def with_changes(shape: Any, written: Any) -> Any:
    """Return `shape` with a source that tells which of its keys were written in the scenario."""
    if shape is written or not isinstance(written, dict) or not isinstance(shape, dict) or "source" in written:
        return shape
    changed = [str(key) for key in written if key not in ("base", "name", "origin")]
    if not changed or not shape.get("source"):
        return shape
    return {**shape, "source": f"{shape['source']}; {', '.join(changed)} as the scenario says"}


ModelChoice = Annotated[TargetModel, BeforeValidator(expand_model, json_schema_input_type=str | TargetModel)]
