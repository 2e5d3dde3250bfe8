"""A model in the figures that people compare: weights, what a token reads, operations, KV cache."""

from collections import Counter
from dataclasses import dataclass

from spdsim.shapes.layers import Layer


@dataclass(frozen=True, slots=True)
class ModelSummary:
    """What is told of a model. head_params: weights of the LM head; it is the embedding table if `is_tied`."""

    name: str
    origin: str
    source: str
    hidden_size: int
    layers: tuple[Layer, ...]
    num_params: int
    num_active_params: int
    weight_bytes: int
    embedding_bytes: int
    head_bytes: int
    head_params: int
    is_tied: bool

    @property
    def kinds(self) -> list[tuple[Layer, int]]:
        """Each kind of layer and how many there are, in the order in which a token meets them."""
        return list(Counter(self.layers).items())

    @property
    def architecture(self) -> str:
        """What the layers are, in a word or two."""
        words = ["MoE"] * any(layer.is_moe for layer in self.layers)
        words += ["hybrid"] * any(layer.kind == "gated_delta" for layer in self.layers)
        return " ".join(words) or "dense"

    @property
    def read_bytes_per_token(self) -> float:
        """Weights that one token reads, the LM head among them; no KV cache."""
        return sum(layer.read_bytes for layer in self.layers) + self.head_bytes

    @property
    def flops_per_token(self) -> int:
        """Floating-point operations of one token's products with weights."""
        return 2 * (sum(layer.active_params for layer in self.layers) + self.head_params)

    @property
    def kv_bytes_per_token(self) -> int:
        """Keys and values of one token in all layers."""
        return sum(layer.kv_bytes_per_token for layer in self.layers)

    @property
    def state_bytes(self) -> int:
        """Recurrent state of one sequence in all layers."""
        return sum(layer.state_bytes for layer in self.layers)

    def to_document(self) -> dict[str, object]:
        """Return the figures as JSON data."""
        return {
            "name": self.name,
            "origin": self.origin,
            "source": self.source,
            "architecture": self.architecture,
            "num_layers": len(self.layers),
            "hidden_size": self.hidden_size,
            "num_params": self.num_params,
            "num_active_params": self.num_active_params,
            "weight_bytes": self.weight_bytes,
            "embedding_bytes": self.embedding_bytes,
            "head_bytes": self.head_bytes,
            "tied_embeddings": self.is_tied,
            "read_bytes_per_token": self.read_bytes_per_token,
            "flops_per_token": self.flops_per_token,
            "kv_bytes_per_token": self.kv_bytes_per_token,
            "state_bytes": self.state_bytes,
            "layers": [{"num_layers": count, **_document(layer)} for layer, count in self.kinds],
        }


def _document(layer: Layer) -> dict[str, object]:
    return {
        "kind": layer.kind,
        "is_moe": layer.is_moe,
        "weight_bytes": layer.weight_bytes,
        "read_bytes_per_token": layer.read_bytes,
        "matrices_bytes": dict(zip(layer.matrix_names, layer.matrices_bytes, strict=True)),
        "active_params": layer.active_params,
        "kv_bytes_per_token": layer.kv_bytes_per_token,
        "window_tokens": layer.window_tokens,
        "state_bytes": layer.state_bytes,
    }
