"""The target model as a shape: what its sizes in memory follow from.

Decoder models with grouped-query attention, gated delta layers or both, and a gated MLP or a mixture of experts.
Knows nothing of how it is cut.
"""

from math import ceil
from typing import Annotated, Any

from pydantic import BeforeValidator, ConfigDict, Field

from spdsim.machine import OriginKind
from spdsim.scenario.catalogue import expand
from spdsim.scenario.fields import Count, Index, Part, Positive, base_serves
from spdsim.scenario.layers import LayerType, draft_layer_of, idle_params, layers_of, precision_of
from spdsim.target.layers import Layer

# No size of a model comes near it; products of sizes stay finite.
Size = Annotated[Count, Field(le=1_000_000_000)]
Bits = Annotated[Positive, Field(le=64)]


class TargetModel(Part):
    """The shape of the target model."""

    model_config = ConfigDict(json_schema_extra=base_serves)

    base: str | None = Field(
        default=None,
        description="Catalogue name, or path of a config.json, whose shape serves where no key is given here.",
    )
    name: str = "model"
    origin: OriginKind = Field(default="assumed", description="How the shape is known.")
    source: str = Field(default="", description="Where the shape comes from, in words.")
    num_layers: Count = Field(le=10_000, description="Decoder layers L.")
    hidden_size: Size = Field(description="Hidden size H.")
    intermediate_size: Size = Field(description="Width of the gated MLP; also that of the draft module's layers.")
    num_heads: Size = Field(description="Query heads.")
    num_kv_heads: Size = Field(description="Key and value heads.")
    head_dim: Size = Field(description="Size of one head.")
    vocab_size: Size = Field(description="Number of token ids.")
    tied_embeddings: bool = Field(default=False, description="The LM head is the embedding table.")
    dtype_bytes: Count = Field(
        default=2,
        le=64,
        description="Bytes of a hidden state's entry; of a weight or a KV entry too, unless given below.",
    )

    weight_bits: Bits | None = Field(
        default=None, description="Bits of one weight of the layers' matrices; null: as dtype_bytes says."
    )
    weight_group_size: Size | None = Field(
        default=None, description="Quantised weights that share a scale; null: all those of one output."
    )
    weight_scale_bits: Annotated[float, Field(strict=True, ge=0, le=128)] = Field(
        default=16, description="Bits of such a scale, with its zero point if it has one; nothing without weight_bits."
    )
    quantized_lm_head: bool = Field(default=False, description="The LM head is stored as the layers' matrices are.")
    kv_dtype_bytes: Positive | None = Field(
        default=None, le=64, description="Bytes of one entry of the KV cache; null: dtype_bytes."
    )

    attention_bias: bool = Field(default=False, description="Query, key and value projections have a bias (Qwen2).")
    qk_norm: bool = Field(default=False, description="Queries and keys are normalised (Qwen3).")
    attention_output_gate: bool = Field(
        default=False, description="Attention's output is gated, which doubles the query projection (Qwen3.5)."
    )
    sliding_window: Size | None = Field(
        default=None,
        description="Tokens that attention looks back on in every layer, or in those of type sliding_attention.",
    )

    num_experts: Size | None = Field(default=None, description="Experts of a layer; null: a dense MLP.")
    experts_per_token: Size | None = Field(default=None, description="Experts that a token uses.")
    moe_intermediate_size: Size | None = Field(default=None, description="Width of one expert.")
    shared_expert_intermediate_size: Index = Field(
        default=0, le=1_000_000_000, description="Width of the expert that every token uses; 0: there is none."
    )
    dense_layers: tuple[Index, ...] = Field(default=(), description="Layers, from 0, with a dense MLP all the same.")

    full_attention_interval: Size | None = Field(
        default=None, description="Every so many layers one has attention, the others a gated delta rule."
    )
    layer_types: tuple[LayerType, ...] | None = Field(
        default=None, description="The type of each layer, where no interval says it; linear_attention: gated delta."
    )
    linear_num_key_heads: Size | None = Field(default=None, description="Key heads of a gated delta layer.")
    linear_num_value_heads: Size | None = Field(default=None, description="Value heads of a gated delta layer.")
    linear_key_head_dim: Size | None = Field(default=None, description="Size of such a key head.")
    linear_value_head_dim: Size | None = Field(default=None, description="Size of such a value head.")
    linear_conv_kernel_dim: Size = Field(default=4, description="Tokens that such a layer's convolution sees.")

    @property
    def types(self) -> tuple[LayerType, ...]:
        """The type of every layer."""
        if self.layer_types is not None:
            return self.layer_types
        if (interval := self.full_attention_interval) is not None:
            numbers = range(1, self.num_layers + 1)
            return tuple("linear_attention" if number % interval else "full_attention" for number in numbers)
        return ("sliding_attention" if self.sliding_window else "full_attention",) * self.num_layers

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
