"""A dense decoder layer: grouped-query attention over cached rows and a gated MLP, each after an RMS norm.

Any number of tokens of the one sequence at a time. Written for few operations per token: a host that issues them one
by one is what limits small stages. Knows nothing of the layer's place in the model.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from executor.model import packed
from executor.model.attention import KVCache, attend, new_cache, rotate
from executor.model.parts import RmsNorm, Weight
from executor.model.rows import Rows

Product = Callable[..., Tensor]


@dataclass(frozen=True, slots=True)
class DenseShape:
    """The sizes of a dense layer.

    qk_norm: queries and keys are normalised by head. attention_bias: of query, key and value; output_bias: of the
    attention's output. window: a token sees itself and the window - 1 rows before it; None: all.
    """

    hidden_size: int
    intermediate_size: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    qk_norm: bool
    attention_bias: bool
    rms_eps: float
    window: int | None = None
    output_bias: bool = False


def _add_linear(residual: Tensor, x: Tensor, weight_OI: Tensor) -> Tensor:
    return torch.addmm(residual, x, weight_OI.t())


class Attention(nn.Module):
    """Attention with its projections; query, key and value are one matrix."""

    linear: Product = staticmethod(F.linear)
    add_linear: Product = staticmethod(_add_linear)

    def __init__(self, shape: DenseShape, dtype: torch.dtype, device: torch.device | str) -> None:
        super().__init__()
        self.shape = shape
        sizes = [heads * shape.head_dim for heads in (shape.num_heads, shape.num_kv_heads, shape.num_kv_heads)]
        self.qkv = torch.empty(sum(sizes), shape.hidden_size, dtype=dtype, device=device)
        self.qkv_bias = self.qkv.new_empty(sum(sizes)) if shape.attention_bias else None
        weights = torch.split(self.qkv, sizes)
        biases = (None, None, None) if self.qkv_bias is None else torch.split(self.qkv_bias, sizes)
        self.q_proj, self.k_proj, self.v_proj = map(Weight, weights, biases)
        self.output = self.qkv.new_empty(shape.hidden_size, sizes[0])
        self.output_bias = self.qkv.new_empty(shape.hidden_size) if shape.output_bias else None
        self.o_proj = Weight(self.output, self.output_bias)
        if shape.qk_norm:
            self.q_norm = RmsNorm(shape.head_dim, shape.rms_eps, dtype, device)
            self.k_norm = RmsNorm(shape.head_dim, shape.rms_eps, dtype, device)
        # A plain attribute: reaching a submodule by its name costs as much as a small operation.
        self.head_norms = (self.q_norm, self.k_norm) if shape.qk_norm else None

    def forward(self, normed_TH: Tensor, residual_TH: Tensor, rows: Rows, cache: KVCache) -> Tensor:
        """Return `residual_TH` and the attention of `normed_TH`, and write its keys and values into the cache."""
        shape = self.shape
        num_heads, num_rotated = shape.num_heads, shape.num_heads + shape.num_kv_heads
        qkv_TO = self.linear(normed_TH, self.qkv, self.qkv_bias)
        qkv_HTD = qkv_TO.view(rows.count, -1, shape.head_dim).transpose(0, 1)
        query_HTD, query_key_HTD = qkv_HTD[:num_heads], qkv_HTD[:num_rotated]
        if self.head_norms:
            of_query, of_key = self.head_norms
            of_query.to_unit(query_key_HTD)
            query_HTD.mul_(of_query.scale)
            query_key_HTD[num_heads:].mul_(of_key.scale)
        rotate(query_key_HTD, rows)
        cache.write(rows.positions_T, qkv_HTD[num_heads:])
        out_TH = self.add_linear(residual_TH, attend(query_HTD, cache, rows, shape.window), self.output)
        return out_TH if self.output_bias is None else out_TH.add_(self.output_bias)

    def pack(self) -> None:
        """Pack the weights for products of a few rows; what carries the names of checkpoints is gone."""
        del self.q_proj, self.k_proj, self.v_proj, self.o_proj
        self.qkv, self.output = packed.pack(self.qkv), packed.pack(self.output)
        self.linear, self.add_linear = packed.linear, packed.add_linear


class Mlp(nn.Module):
    """A gated MLP; gate and up are one matrix."""

    linear: Product = staticmethod(F.linear)
    add_linear: Product = staticmethod(_add_linear)

    def __init__(self, hidden_size: int, width: int, dtype: torch.dtype, device: torch.device | str) -> None:
        super().__init__()
        self.width = width
        self.gate_up = torch.empty(2 * width, hidden_size, dtype=dtype, device=device)
        self.gate_proj, self.up_proj = map(Weight, torch.split(self.gate_up, width))
        self.down = self.gate_up.new_empty(hidden_size, width)
        self.down_proj = Weight(self.down)

    def forward(self, normed_TH: Tensor, residual_TH: Tensor) -> Tensor:
        """Return `residual_TH` and the MLP of `normed_TH`."""
        gate_up = self.linear(normed_TH, self.gate_up)
        act = F.silu(gate_up[:, : self.width]).mul_(gate_up[:, self.width :])
        return self.add_linear(residual_TH, act, self.down)

    def pack(self) -> None:
        """Pack the weights for products of a few rows; what carries the names of checkpoints is gone."""
        del self.gate_proj, self.up_proj, self.down_proj
        self.gate_up, self.down = packed.pack(self.gate_up), packed.pack(self.down)
        self.linear, self.add_linear = packed.linear, packed.add_linear


class DenseLayer(nn.Module):
    """One decoder layer, its parameters uninitialised and named as in checkpoints (`self_attn.q_proj.weight`).

    They are made where they run, and stay there.
    """

    def __init__(self, shape: DenseShape, dtype: torch.dtype, device: torch.device | str) -> None:
        super().__init__()
        self.shape = shape
        self.self_attn = Attention(shape, dtype, device)
        self.mlp = Mlp(shape.hidden_size, shape.intermediate_size, dtype, device)
        self.input_layernorm = RmsNorm(shape.hidden_size, shape.rms_eps, dtype, device)
        self.post_attention_layernorm = RmsNorm(shape.hidden_size, shape.rms_eps, dtype, device)
        # Plain attributes, and no calls of modules: each saves as much as a small operation costs.
        self.normalize, self.attend = self.input_layernorm.forward, self.self_attn.forward
        self.normalize_mixed, self.feed = self.post_attention_layernorm.forward, self.mlp.forward

    def new_cache(self, max_rows: int) -> KVCache:
        """Return an empty cache for this layer."""
        like = self.self_attn.qkv
        return new_cache(self.shape.num_kv_heads, max_rows, self.shape.head_dim, like.dtype, like.device)

    def forward(self, hidden_TH: Tensor, rows: Rows, cache: KVCache) -> Tensor:
        """Return the hidden states after this layer; the tokens' rows in `cache` are written."""
        mixed_TH = self.attend(self.normalize(hidden_TH), hidden_TH, rows, cache)
        return self.feed(self.normalize_mixed(mixed_TH), mixed_TH)

    def pack(self) -> None:
        """Pack the weights for products of a few rows, once they are loaded."""
        self.self_attn.pack()
        self.mlp.pack()
