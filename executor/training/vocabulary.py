"""The draft vocabulary: the token ids that the training text has most often, and how much of a text they cover.

Shapes: V token ids of the draft vocabulary.
"""

from collections.abc import Iterable

import torch
from torch import Tensor

_TEXTS = 512
"""Windows that are counted at a time: one count goes over the whole vocabulary."""


def count_tokens(windows: Iterable[Tensor], vocab_size: int) -> Tensor:
    """Return how often each token id occurs, int64 (vocab_size,)."""
    total, held = torch.zeros(vocab_size, dtype=torch.int64), list[Tensor]()
    for tokens in windows:
        held.append(tokens)
        if len(held) == _TEXTS:
            total += torch.cat(held).bincount(minlength=vocab_size)
            held.clear()
    return total + torch.cat(held).bincount(minlength=vocab_size) if held else total


def most_frequent(counts: Tensor, size: int) -> tuple[int, ...]:
    """Return the `size` token ids with the largest counts, rising; of equal ones the lower first."""
    order = torch.sort(counts, descending=True, stable=True).indices
    return tuple(sorted(order[:size].tolist()))


def coverage(counts: Tensor, ids: tuple[int, ...] | None) -> float:
    """Return the share of counted tokens that are among `ids`; None: all are."""
    total = int(counts.sum())
    return 1.0 if ids is None or not total else int(counts[list(ids)].sum()) / total
