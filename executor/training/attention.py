"""Attention by structure: a row sees one key of a given block at each near distance, and all completed rows before.

Nothing of the size of rows times keys is kept: rows are taken a few at a time, and the weights of the attention are
computed anew in the backward pass, from the logarithm of their sum (as in FlashAttention, arXiv:2205.14135). Memory is
linear in the sequence.

Shapes: G key heads, Q query heads for each; B blocks of T rows, of which A ask; D head size; C rows and S keys at a
time; N near distances.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

CHUNK_ROWS = 256
"""Rows of each block that are taken at a time."""

Near = tuple[tuple[int, ...], ...]
"""For each asking block, the blocks whose key its rows see at distance 0, 1, …; none has more than the next."""


def attend(
    query_GAQTD: Tensor, keys_GBTD: Tensor, values_GBTD: Tensor, near: Sequence[tuple[int, ...]], completed: int
) -> Tensor:
    """Return what the rows of some blocks take in, (G, A, Q, T, D).

    near: for each asking block the blocks whose key its rows see at distance 0, 1, …, none having more than the next;
    beyond, rows see those of the block `completed`. What lies before the first position is not seen.
    """
    out: Tensor = _Structured.apply(query_GAQTD, keys_GBTD, values_GBTD, tuple(near), completed)  # type: ignore[no-untyped-call]
    return out


class _Structured(torch.autograd.Function):
    """Softmax attention over near and far keys; its gradient is written out, so that weights need not be kept."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, keys: Tensor, values: Tensor, near: Near, completed: int) -> Tensor:
        near_scores = _near_scores(query, keys, near)
        log_sum = near_scores.logsumexp(-1)
        out = torch.zeros_like(query)
        for rows, far in _chunks(query.shape[3], near):
            scores = _far_scores(query, keys[:, completed], near, rows, far)
            log_sum[..., rows] = torch.logaddexp(log_sum[..., rows], scores.logsumexp(-1))
            weights = scores.sub_(log_sum[..., rows, None]).exp_().to(values.dtype)
            out[..., rows, :] = _product(weights, values[:, completed, far])
        near_weights = near_scores.sub(log_sum[..., None]).exp_().to(values.dtype)
        for distance, asking, seen in _distances(near):
            weight = near_weights[:, asking, :, distance:, distance, None]
            out[:, asking, :, distance:] += weight * _back(values[:, seen], distance)
        ctx.save_for_backward(query, keys, values, out, log_sum, near_scores)
        ctx.near, ctx.completed = near, completed
        return out

    @staticmethod
    def backward(ctx: Any, *of_outputs: Tensor) -> tuple[Tensor | None, ...]:
        query, keys, values, out, log_sum, near_scores = ctx.saved_tensors
        near, completed, of_out = ctx.near, ctx.completed, of_outputs[0]
        scale = query.shape[-1] ** -0.5
        of_query, of_keys, of_values = map(torch.zeros_like, (query, keys, values))
        # The gradient of a softmax needs what all its weights together pass back.
        passed = (of_out * out).sum(-1, dtype=torch.float32)
        for rows, far in _chunks(query.shape[3], near):
            of_out_here, query_here = of_out[..., rows, :], query[..., rows, :]
            scores = _far_scores(query, keys[:, completed], near, rows, far)
            weights = scores.sub_(log_sum[..., rows, None]).exp_()
            of_weights = _product(of_out_here, values[:, completed, far].mT).float()
            of_scores = of_weights.sub_(passed[..., rows, None]).mul_(weights).mul_(scale).to(query.dtype)
            of_query[..., rows, :] = _product(of_scores, keys[:, completed, far])
            # Summed over asking blocks and query heads: to a key they are as good as more rows.
            of_keys[:, completed, far] += _rows(of_scores).mT @ _rows(query_here)
            of_values[:, completed, far] += _rows(weights.to(values.dtype)).mT @ _rows(of_out_here)
        near_weights = near_scores.sub(log_sum[..., None]).exp_()
        for distance, asking, seen in _distances(near):
            end = query.shape[3] - distance
            weight = near_weights[:, asking, :, distance:, distance]
            of_out_here, query_here = of_out[:, asking, :, distance:], query[:, asking, :, distance:]
            of_weight = (of_out_here * _back(values[:, seen], distance)).sum(-1, dtype=torch.float32)
            of_score = of_weight.sub_(passed[:, asking, :, distance:]).mul_(weight).mul_(scale).to(query.dtype)
            of_query[:, asking, :, distance:] += of_score[..., None] * _back(keys[:, seen], distance)
            _add(of_keys[:, :, :end], seen, (of_score[..., None] * query_here).sum(2))
            _add(of_values[:, :, :end], seen, (weight.to(values.dtype)[..., None] * of_out_here).sum(2))
        return of_query, of_keys, of_values, None, None


def _chunks(num_rows: int, near: Near) -> Iterator[tuple[slice, slice]]:
    """Rows that are taken together, and the completed rows that some of them see far back."""
    for start in range(0, num_rows, CHUNK_ROWS):
        stop = min(start + CHUNK_ROWS, num_rows)
        if stop > len(near[0]):
            yield slice(start, stop), slice(0, stop - len(near[0]))


def _far_scores(query: Tensor, completed_GTD: Tensor, near: Near, rows: slice, far: slice) -> Tensor:
    """The scores (G, A, Q, C, S), float32, of completed rows: minus infinity for those that are near, or later."""
    scores = _product(query[..., rows, :], completed_GTD[:, far].mT).float()
    counts_A = torch.tensor([len(seen) for seen in near], device=query.device)
    last_AC = torch.arange(rows.start, rows.stop, device=query.device) - counts_A[:, None]
    is_hidden_ACS = torch.arange(far.stop, device=query.device) > last_AC[..., None]
    return scores.mul_(query.shape[-1] ** -0.5).masked_fill_(is_hidden_ACS[:, None], float("-inf"))


def _near_scores(query: Tensor, keys: Tensor, near: Near) -> Tensor:
    """The scores (G, A, Q, T, N), float32, by distance: minus infinity before the first position, and beyond."""
    shape = (*query.shape[:-1], len(near[-1]))
    scores = torch.full(shape, float("-inf"), dtype=torch.float32, device=query.device)
    for distance, asking, seen in _distances(near):
        products = query[:, asking, :, distance:] * _back(keys[:, seen], distance)
        scores[:, asking, :, distance:, distance] = products.sum(-1, dtype=torch.float32) * query.shape[-1] ** -0.5
    return scores


def _distances(near: Near) -> Iterator[tuple[int, slice, slice | list[int]]]:
    """Every near distance, the asking blocks that have it, and the block that each of them sees there."""
    for distance in range(len(near[-1])):
        first = next(index for index, seen in enumerate(near) if len(seen) > distance)
        blocks = [seen[distance] for seen in near[first:]]
        # A slice is not copied.
        is_run = blocks == list(range(blocks[0], blocks[0] + len(blocks)))
        yield distance, slice(first, None), slice(blocks[0], blocks[-1] + 1) if is_run else blocks


def _back(seen_GATD: Tensor, distance: int) -> Tensor:
    """What rows from `distance` on see at that distance, (G, A, 1, T - distance, D)."""
    return seen_GATD[:, :, None, : seen_GATD.shape[2] - distance]


def _rows(x_GAQCX: Tensor) -> Tensor:
    """All rows of each key head, (G, A · Q · C, X)."""
    return x_GAQCX.flatten(1, 3)


def _product(x_GAQCX: Tensor, by_GXY: Tensor) -> Tensor:
    """The product with one matrix for each key head, (G, A, Q, C, Y)."""
    return (_rows(x_GAQCX) @ by_GXY).view(*x_GAQCX.shape[:-1], -1)


def _add(to_GBTD: Tensor, blocks: slice | list[int], added_GATD: Tensor) -> None:
    if isinstance(blocks, slice):
        to_GBTD[:, blocks] += added_GATD
    else:
        to_GBTD.index_add_(1, torch.tensor(blocks, device=to_GBTD.device), added_GATD)
