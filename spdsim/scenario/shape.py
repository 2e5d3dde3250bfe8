"""The shape of a target model as people write it: its sizes, and what its layers are."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from spdsim.machine import OriginKind
from spdsim.scenario.fields import Count, Index, Part, Positive, base_serves

LayerType = Literal["full_attention", "sliding_attention", "linear_attention"]

# No size of a model comes near it; products of sizes stay finite.
Size = Annotated[Count, Field(le=1_000_000_000)]
Bits = Annotated[Positive, Field(le=64)]


class Shape(Part):
    """What is written of a model."""

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
