"""A decoder layer in bytes: the matrices that a token reads, and what must be held in memory.

A layer is a mixer (attention, or a gated delta rule) and an MLP (dense, or a mixture of experts). Plain numbers only:
knows nothing of scenarios, files or time.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Literal

LayerKind = Literal["attention", "gated_delta"]

_STATE_ENTRY_BYTES = 4
"""A recurrent state is kept in fp32, whatever the weights are."""


@dataclass(frozen=True, slots=True)
class Layer:
    """One decoder layer.

    matrices_bytes: weights that one token reads, one entry for each matrix-vector kernel; active experts only.
    weight_bytes: all that is held: every expert, norms, convolution, biases, scales of a quantisation.
    active_params: weights that one token multiplies, two operations each.
    kv_bytes_per_token: keys and values of one token. window_tokens: attention reads at most so many cached tokens.
    state_bytes: recurrent state, read and written for every token.
    """

    kind: LayerKind
    is_moe: bool
    matrices_bytes: tuple[float, ...]
    weight_bytes: int
    active_params: int
    kv_bytes_per_token: int
    window_tokens: int | None
    state_bytes: int

    @property
    def read_bytes(self) -> float:
        """Weights that one token reads, bytes."""
        return sum(self.matrices_bytes)

    @property
    def matrix_names(self) -> tuple[str, ...]:
        """What each of the matrices is, in words."""
        inward = "q k v" if self.kind == "attention" else "q k v z b a"
        mlp = ("router", "experts' gate up", "experts' down", "shared gate up", "shared down")
        names = (inward, "out", *(mlp if self.is_moe else ("gate up", "down")))
        return names[: len(self.matrices_bytes)]

    def cached_tokens(self, context_tokens: int) -> int:
        """Return how many tokens of a context have keys and values in the cache."""
        return context_tokens if self.window_tokens is None else min(context_tokens, self.window_tokens)


@dataclass(frozen=True, slots=True)
class Precision:
    """How values are stored.

    weight_bits: bits of one weight of a matrix. group_weights: weights that share a scale; None: those of one output.
    scale_bits: bits of a scale, with its zero point where it has one; 0: not quantised. plain_bytes: bytes of what is
    never quantised: norms, biases, the convolution, the router. kv_bytes: bytes of one entry of keys or values.
    """

    weight_bits: float
    plain_bytes: float
    kv_bytes: float
    group_weights: int | None = None
    scale_bits: float = 0.0

    def matrix_bytes(self, inputs: int, outputs: int) -> float:
        """Return the bytes of a matrix with its scales."""
        num_weights = inputs * outputs
        num_scales = outputs if self.group_weights is None else num_weights / self.group_weights
        return (num_weights * self.weight_bits + num_scales * self.scale_bits) / 8


@dataclass(frozen=True, slots=True)
class Matrix:
    """One matrix-vector kernel: `held` equal matrices in memory, of which a token reads `read` (experts)."""

    inputs: int
    outputs: int
    held: int = 1
    read: int = 1
    is_plain: bool = False

    def bytes_of_one(self, precision: Precision) -> float:
        """Return the bytes of one of the matrices."""
        if self.is_plain:
            return self.inputs * self.outputs * precision.plain_bytes
        return precision.matrix_bytes(self.inputs, self.outputs)


@dataclass(frozen=True, slots=True)
class Attention:
    """Grouped-query attention. has_gate: a gate on its output doubles the query projection."""

    hidden: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    has_bias: bool = False
    has_gate: bool = False
    has_qk_norm: bool = False
    window_tokens: int | None = None

    @property
    def _qkv_outputs(self) -> int:
        return (self.num_heads * (1 + self.has_gate) + 2 * self.num_kv_heads) * self.head_dim

    @property
    def matrices(self) -> tuple[Matrix, ...]:
        """The fused query, key and value projections, and the output projection."""
        return Matrix(self.hidden, self._qkv_outputs), Matrix(self.num_heads * self.head_dim, self.hidden)

    @property
    def num_plain(self) -> int:
        """Weights outside of matrices."""
        return self.has_bias * self._qkv_outputs + self.has_qk_norm * 2 * self.head_dim


@dataclass(frozen=True, slots=True)
class GatedDelta:
    """Linear attention by the gated delta rule, as in Qwen3-Next and Qwen3.5 (arXiv:2412.06464)."""

    hidden: int
    num_key_heads: int
    num_value_heads: int
    key_head_dim: int
    value_head_dim: int
    conv_kernel: int

    @property
    def _values(self) -> int:
        return self.num_value_heads * self.value_head_dim

    @property
    def _conv_channels(self) -> int:
        return 2 * self.num_key_heads * self.key_head_dim + self._values

    @property
    def matrices(self) -> tuple[Matrix, ...]:
        """The fused projections to query, key, value, gate z and the small b and a; the output projection."""
        inward = self._conv_channels + self._values + 2 * self.num_value_heads
        return Matrix(self.hidden, inward), Matrix(self._values, self.hidden)

    @property
    def num_plain(self) -> int:
        """Weights outside of matrices: convolution, decay and step of each head, norm."""
        return self._conv_channels * self.conv_kernel + 2 * self.num_value_heads + self.value_head_dim

    def state_bytes(self, precision: Precision) -> int:
        """Return the state between two tokens, bytes: one matrix a value head, and the convolution's last inputs."""
        matrices = self._values * self.key_head_dim * _STATE_ENTRY_BYTES
        return matrices + ceil(self._conv_channels * (self.conv_kernel - 1) * precision.plain_bytes)


@dataclass(frozen=True, slots=True)
class Mlp:
    """A dense gated MLP."""

    hidden: int
    width: int

    @property
    def matrices(self) -> tuple[Matrix, ...]:
        """The fused gate and up projections, and the down projection."""
        return Matrix(self.hidden, 2 * self.width), Matrix(self.width, self.hidden)


@dataclass(frozen=True, slots=True)
class Experts:
    """A mixture of gated MLPs, of which a token uses `num_active`, and perhaps one that every token uses."""

    hidden: int
    width: int
    num_experts: int
    num_active: int
    shared_width: int = 0

    @property
    def matrices(self) -> tuple[Matrix, ...]:
        """The router, the grouped kernels of the experts, and those of the shared expert."""
        held, read = self.num_experts, self.num_active
        found = (
            # Checkpoints leave the router as it is: it is small, and it decides.
            Matrix(self.hidden, self.num_experts, is_plain=True),
            Matrix(self.hidden, 2 * self.width, held, read),
            Matrix(self.width, self.hidden, held, read),
        )
        if not self.shared_width:
            return found
        # One more output: the gate of the shared expert.
        return (*found, Matrix(self.hidden, 2 * self.shared_width + 1), Matrix(self.shared_width, self.hidden))


def decoder_layer(mixer: Attention | GatedDelta, mlp: Mlp | Experts, precision: Precision) -> Layer:
    """Return the layer that a mixer and an MLP make, with the norm before each."""
    matrices: Sequence[Matrix] = (*mixer.matrices, *mlp.matrices)
    num_plain = mixer.num_plain + 2 * mixer.hidden
    held = sum(matrix.held * matrix.bytes_of_one(precision) for matrix in matrices)
    return Layer(
        kind="attention" if isinstance(mixer, Attention) else "gated_delta",
        is_moe=isinstance(mlp, Experts),
        matrices_bytes=tuple(matrix.read * matrix.bytes_of_one(precision) for matrix in matrices),
        weight_bytes=ceil(held + num_plain * precision.plain_bytes),
        active_params=sum(matrix.read * matrix.inputs * matrix.outputs for matrix in matrices),
        kv_bytes_per_token=_kv_bytes(mixer, precision) if isinstance(mixer, Attention) else 0,
        window_tokens=mixer.window_tokens if isinstance(mixer, Attention) else None,
        state_bytes=mixer.state_bytes(precision) if isinstance(mixer, GatedDelta) else 0,
    )


def _kv_bytes(attention: Attention, precision: Precision) -> int:
    return ceil(2 * attention.num_kv_heads * attention.head_dim * precision.kv_bytes)
