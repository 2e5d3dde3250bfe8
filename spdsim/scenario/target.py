"""The target model as a shape: what its sizes in memory follow from.

Dense decoder models with grouped-query attention and a gated MLP. Knows nothing of how it is cut.
"""

from typing import Annotated

from pydantic import BeforeValidator, ConfigDict, Field

from spdsim.scenario.catalogue import expand
from spdsim.scenario.fields import Count, Part, base_serves


class TargetModel(Part):
    """The shape of the target model."""

    model_config = ConfigDict(json_schema_extra=base_serves)

    base: str | None = Field(default=None, description="Catalogue name whose shape serves where no key is given here.")
    name: str = "model"
    num_layers: Count = Field(description="Decoder layers L.")
    hidden_size: Count = Field(description="Hidden size H.")
    intermediate_size: Count = Field(description="Width of the gated MLP.")
    num_heads: Count = Field(description="Query heads.")
    num_kv_heads: Count = Field(description="Key and value heads.")
    head_dim: Count = Field(description="Size of one head.")
    vocab_size: Count = Field(description="Number of token ids.")
    tied_embeddings: bool = Field(default=False, description="The LM head is the embedding table.")
    dtype_bytes: Count = Field(default=2, description="Bytes of one weight, hidden state or KV entry.")

    @property
    def layer_params(self) -> int:
        """Weights of one decoder layer: attention, gated MLP, two norms."""
        query, key_value = self.num_heads * self.head_dim, self.num_kv_heads * self.head_dim
        attention = self.hidden_size * (2 * query + 2 * key_value)
        return attention + 3 * self.hidden_size * self.intermediate_size + 2 * self.hidden_size

    @property
    def layer_bytes(self) -> int:
        """Weights of one decoder layer, bytes."""
        return self.layer_params * self.dtype_bytes

    @property
    def table_bytes(self) -> int:
        """The embedding table, or the LM head, bytes."""
        return self.vocab_size * self.hidden_size * self.dtype_bytes

    @property
    def kv_bytes_per_token(self) -> int:
        """Keys and values of one token in one layer, bytes."""
        return 2 * self.num_kv_heads * self.head_dim * self.dtype_bytes


ModelChoice = Annotated[
    TargetModel,
    BeforeValidator(lambda written: expand("models", written), json_schema_input_type=str | TargetModel),
]
