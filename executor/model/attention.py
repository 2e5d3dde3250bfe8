"""Attention of new tokens over the cached rows of the one sequence.

Knows nothing of projections, nor of where keys and queries come from.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from executor.model.rows import Rows


@dataclass(frozen=True, slots=True)
class KVCache:
    """Keys and values of one layer by position, (num_kv_heads, max_rows, head_dim) each.

    A row that turns out wrong is simply overwritten. rows_HSD: the heads of both, keys first; pair_21HSD: the same
    memory, as attention takes it.
    """

    rows_HSD: Tensor
    pair_21HSD: Tensor

    def write(self, positions_T: Tensor, rows_HTD: Tensor) -> None:
        """Write keys and values (the heads of both, keys first) at the tokens' positions."""
        self.rows_HSD.index_copy_(1, positions_T, rows_HTD)


def new_cache(num_kv_heads: int, max_rows: int, head_dim: int, dtype: torch.dtype, device: torch.device) -> KVCache:
    """Return a cache of `max_rows` rows. Zeros: a row that is masked must be finite all the same."""
    rows_HSD = torch.zeros(2 * num_kv_heads, max_rows, head_dim, dtype=dtype, device=device)
    pair_21HSD = rows_HSD.view(2, 1, num_kv_heads, max_rows, head_dim)
    return KVCache(rows_HSD, pair_21HSD)


def rotate(x_HTD: Tensor, rows: Rows) -> None:
    """Rotate queries or keys to their positions, in place."""
    dim = rows.cos_TD.shape[-1]
    if dim < x_HTD.shape[-1]:
        x_HTD = x_HTD[..., :dim]
    turned = x_HTD.roll(dim // 2, -1)
    x_HTD.mul_(rows.cos_TD).addcmul_(turned, rows.sin_TD)


def attend(query_HTD: Tensor, cache: KVCache, rows: Rows, window: int | None) -> Tensor:
    """Return the attention of T queries over the cached rows that they see, (T, num_heads * head_dim).

    window: a token sees itself and the window - 1 rows before it; None: all.
    """
    first, mask_TS = (0, rows.mask_TS) if window is None else _windowed(rows, window)
    _, _, num_kv_heads, _, head_dim = cache.pair_21HSD.shape
    keys_1HSD, values_1HSD = cache.pair_21HSD.narrow(3, first, rows.num_visible - first).unbind()
    num_tokens, group = rows.count, query_HTD.shape[0] // num_kv_heads
    if mask_TS is None and num_tokens > 1:
        keys, values = keys_1HSD.repeat_interleave(group, dim=1), values_1HSD.repeat_interleave(group, dim=1)
        mixed = F.scaled_dot_product_attention(query_HTD[None], keys, values, is_causal=True)
        return mixed[0].transpose(0, 1).reshape(num_tokens, -1)
    # The query heads of one key head are as good as rows of one head: no key is repeated.
    query = query_HTD.reshape(1, num_kv_heads, -1, head_dim)
    if num_tokens == 1:
        return F.scaled_dot_product_attention(query, keys_1HSD, values_1HSD, mask_TS).view(1, -1)
    assert mask_TS is not None
    mixed = F.scaled_dot_product_attention(query, keys_1HSD, values_1HSD, mask_TS.repeat(group, 1))
    return mixed.view(-1, num_tokens, head_dim).transpose(0, 1).reshape(num_tokens, -1)


def _windowed(rows: Rows, window: int) -> tuple[int, Tensor | None]:
    """The first row that is read, and the mask, with a sliding window."""
    if rows.num_visible <= window:
        return 0, rows.mask_TS
    if rows.age_S is not None and rows.mask_TS is not None:
        return 0, rows.mask_TS & (rows.age_S < window)
    if rows.count == 1 and rows.mask_TS is None:
        return rows.num_visible - window, None
    row_S = torch.arange(rows.num_visible, device=rows.positions_T.device)
    age_TS = rows.positions_T[:, None] - row_S
    return 0, (age_TS >= 0) & (age_TS < window)
