"""A decoder layer of a hybrid model (Qwen3.5): a gated delta rule or gated attention, and a gated MLP.

Norms store their weights' difference from 1. Knows nothing of which layers are of which kind.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from executor.model.attention import KVCache, attend, new_cache, rotate
from executor.model.delta import DeltaShape, GatedDelta, StateRing
from executor.model.dense import DenseShape, Mlp
from executor.model.parts import RmsNorm, Weight
from executor.model.rows import Rows

NORM_OFFSET = 1.0


@dataclass(frozen=True, slots=True)
class HybridShape:
    """The sizes of a hybrid layer. delta: those of its delta rule; None: it attends, as `dense` says, with a gate."""

    dense: DenseShape
    delta: DeltaShape | None


class GatedAttention(nn.Module):
    """Attention whose output is gated, entry by entry; a head's query is followed by its gate."""

    def __init__(self, shape: DenseShape, dtype: torch.dtype, device: torch.device | str) -> None:
        super().__init__()
        self.shape = shape
        sizes = [heads * shape.head_dim for heads in (2 * shape.num_heads, shape.num_kv_heads, shape.num_kv_heads)]
        self.qkv = torch.empty(sum(sizes), shape.hidden_size, dtype=dtype, device=device)
        self.qkv_bias = self.qkv.new_empty(sum(sizes)) if shape.attention_bias else None
        biases = (None, None, None) if self.qkv_bias is None else torch.split(self.qkv_bias, sizes)
        self.q_proj, self.k_proj, self.v_proj = map(Weight, torch.split(self.qkv, sizes), biases)
        self.output = self.qkv.new_empty(shape.hidden_size, shape.num_heads * shape.head_dim)
        self.output_bias = self.qkv.new_empty(shape.hidden_size) if shape.output_bias else None
        self.o_proj = Weight(self.output, self.output_bias)
        self.q_norm = RmsNorm(shape.head_dim, shape.rms_eps, dtype, device, NORM_OFFSET)
        self.k_norm = RmsNorm(shape.head_dim, shape.rms_eps, dtype, device, NORM_OFFSET)

    def forward(self, normed_TH: Tensor, residual_TH: Tensor, rows: Rows, cache: KVCache) -> Tensor:
        """Return `residual_TH` and the attention of `normed_TH`, and write its keys and values into the cache."""
        shape, num_gated = self.shape, 2 * self.shape.num_heads
        heads_TXD = F.linear(normed_TH, self.qkv, self.qkv_bias).view(rows.count, -1, shape.head_dim)
        keys_values_HTD = heads_TXD[:, num_gated:].transpose(0, 1)
        query_HTD = self.q_norm.forward(heads_TXD[:, :num_gated:2].transpose(0, 1))
        key_HTD = keys_values_HTD[: shape.num_kv_heads]
        key_HTD.copy_(self.k_norm.forward(key_HTD))
        rotate(query_HTD, rows)
        rotate(key_HTD, rows)
        cache.write(rows.positions_T, keys_values_HTD)
        gate = heads_TXD[:, 1:num_gated:2].sigmoid().view(rows.count, -1)
        gated = attend(query_HTD, cache, rows, None).mul_(gate)
        out_TH = torch.addmm(residual_TH, gated, self.output.t())
        return out_TH if self.output_bias is None else out_TH.add_(self.output_bias)


class HybridLayer(nn.Module):
    """One decoder layer, its parameters uninitialised and named as in checkpoints, where it runs and stays.

    What follows from its weights is worked out when they are loaded (`weights.load`).
    """

    def __init__(self, shape: HybridShape, dtype: torch.dtype, device: torch.device | str) -> None:
        super().__init__()
        self.shape = shape
        if shape.delta is None:
            self.self_attn = GatedAttention(shape.dense, dtype, device)
        else:
            self.linear_attn = GatedDelta(shape.delta, dtype, device)
        size, eps = shape.dense.hidden_size, shape.dense.rms_eps
        self.mlp = Mlp(size, shape.dense.intermediate_size, dtype, device)
        self.input_layernorm = RmsNorm(size, eps, dtype, device, NORM_OFFSET)
        self.post_attention_layernorm = RmsNorm(size, eps, dtype, device, NORM_OFFSET)

    def new_cache(self, max_rows: int, num_states: int) -> KVCache | StateRing:
        """Return what this layer remembers: `max_rows` keys and values, or the states of `num_states` positions."""
        if self.shape.delta is not None:
            return self.linear_attn.new_states(num_states)
        dense, like = self.shape.dense, self.self_attn.qkv
        return new_cache(dense.num_kv_heads, max_rows, dense.head_dim, like.dtype, like.device)

    def forward(self, hidden_TH: Tensor, rows: Rows, cache: KVCache | StateRing) -> Tensor:
        """Return the hidden states after this layer, and remember the tokens in `cache`."""
        normed_TH = self.input_layernorm.forward(hidden_TH)
        if isinstance(cache, StateRing):
            mixed_TH = self.linear_attn.forward(normed_TH, hidden_TH, rows, cache)
        else:
            mixed_TH = self.self_attn.forward(normed_TH, hidden_TH, rows, cache)
        return self.mlp.forward(self.post_attention_layernorm.forward(mixed_TH), mixed_TH)
