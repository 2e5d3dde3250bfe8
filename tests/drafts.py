"""One target and drafts of every quality, on eight tokens, for tests of verification."""

import torch
from torch import Tensor

from executor.verify.sampling import Sampling
from executor.verify.warp import warp

TARGET = torch.tensor([1.2, -0.4, 0.3, 0.9, -1.0, 0.0, -torch.inf, -torch.inf])
"""Six tokens that the target may say, and two that it never does."""

DRAFTS: dict[str, tuple[Tensor, Tensor | None]] = {
    "identical": (TARGET, None),
    "opposite": (torch.tensor([-1.2, 0.4, -0.3, -0.9, 1.0, 0.0, 0.5, -0.5]), None),
    "overlapping": (torch.tensor([0.2, 0.1, 1.4, -0.8, 0.3, -1.5, -1.0, 0.4]), None),
    "one-hot": (torch.full((8,), -torch.inf).index_fill(0, torch.tensor(3), 0.0), None),
    "some tokens": (torch.tensor([1.0, 0.5, 0.0, 0.2]), torch.tensor([0, 2, 4, 7])),
    "never right": (torch.tensor([0.3, 0.0]), torch.tensor([6, 7])),
}
"""Logits of drafts, and the draft vocabulary."""

SAMPLINGS = [
    Sampling(1.0),
    Sampling(0.5),
    Sampling(2.0),
    Sampling(1.0, top_k=3),
    Sampling(1.5, top_p=0.75),
    Sampling(0.8, top_k=5, top_p=0.85),
]

CHAIN_TARGET = torch.randn(5, 4, generator=torch.Generator().manual_seed(20))
CHAIN_DRAFT = CHAIN_TARGET + torch.randn(5, 4, generator=torch.Generator().manual_seed(21))
"""Logits of the next of four tokens: row 4 begins, row x follows token x."""


def probabilities(logits: Tensor, sampling: Sampling, token_ids: Tensor | None = None) -> Tensor:
    """Return the law over all eight tokens, float64."""
    law = warp(logits, sampling).double().exp()
    return law if token_ids is None else torch.zeros(8, dtype=torch.float64).index_copy(0, token_ids, law)
