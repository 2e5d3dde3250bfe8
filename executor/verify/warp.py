"""From logits to the law that tokens are drawn from: temperature, then top-k, then top-p.

Tokens are ranked by (logit, then lowest id first), so every cut is the same however the vocabulary is sharded: a
truncated law is made of candidates, best first, and whoever holds the same candidates makes the same law, bit by bit.
Nothing here waits for the device.

Knows nothing of drafts or randomness.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from executor.verify.sampling import Sampling

_LOW_32 = (1 << 32) - 1


class Candidates(NamedTuple):
    """Some tokens: their float32 values (logits, or log-probabilities) and their int64 ids."""

    value_C: Tensor
    id_C: Tensor


def warp(logits_V: Tensor, sampling: Sampling) -> Tensor:
    """Return the float32 log-probabilities_V under `sampling`, normalised; -inf where a token is cut off.

    Greedy is the limit of low temperatures: the most likely token (of equals the lowest id) has it all.
    """
    if not (sampling.is_greedy or sampling.is_truncated):
        return tempered(logits_V, sampling).log_softmax(dim=-1)
    return spread(law_of(logits_V, sampling), logits_V.numel())


def law_of(logits_V: Tensor, sampling: Sampling) -> Candidates:
    """Return the law of `warp` as log-probabilities of tokens: all that greed and top-k leave, best first, or all."""
    if sampling.is_greedy:
        id_1 = logits_V.argmax(dim=-1, keepdim=True)
        return Candidates(torch.zeros_like(id_1, dtype=torch.float32), id_1)
    if sampling.is_truncated:
        return narrow(best(logits_V, kept(sampling, logits_V.numel())), sampling)
    return Candidates(warp(logits_V, sampling), torch.arange(logits_V.numel(), device=logits_V.device))


def spread(law: Candidates, num_rows: int) -> Tensor:
    """Return the log-probabilities of all `num_rows` tokens under a law over some; -inf for the others."""
    return law.value_C.new_full((num_rows,), -torch.inf).scatter_(-1, law.id_C, law.value_C)


def tempered(logits_V: Tensor, sampling: Sampling) -> Tensor:
    """Return the logits over temperature, float32."""
    return logits_V.float() / sampling.temperature


def kept(sampling: Sampling, num_rows: int) -> int:
    """Return how many of `num_rows` tokens, the best, top-k keeps; top-p has no number before it has seen them."""
    return min(sampling.top_k, num_rows) if sampling.top_k else num_rows


def best(logits_R: Tensor, count: int, id_R: Tensor | None = None, first_row: int = 0) -> Candidates:
    """Return the `count` tokens with the largest logits, best first; of equals the lowest id is better.

    id_R: the token ids of the rows; None if they are first_row, first_row + 1, ...
    """
    if id_R is None:
        id_R = torch.arange(first_row, first_row + logits_R.numel(), device=logits_R.device)
    # One integer that orders by logit, then by id, has no ties, so any algorithm of top-k gives the same answer.
    # Adding zero makes -0.0 equal 0.0.
    rank_R = _ordered((logits_R.float() + 0.0).view(torch.int32)).long()
    rank_R.bitwise_left_shift_(32).bitwise_or_(_LOW_32 - id_R)
    rank_C = rank_R.topk(count).values if count < rank_R.numel() else rank_R.sort(descending=True).values
    return Candidates(_ordered((rank_C >> 32).int()).view(torch.float32), _LOW_32 - (rank_C & _LOW_32))


def narrow(candidates: Candidates, sampling: Sampling) -> Candidates:
    """Return the log-probabilities of `candidates` (the logits of all that `kept` counts, best first).

    top-p keeps a token if the mass of all better ones is below top_p, so the best is always kept.
    """
    value_C = tempered(candidates.value_C, sampling)
    if sampling.top_p < 1.0:
        # float64: the rounding of up to V additions must not move the cut.
        mass_C = value_C.double().softmax(dim=-1)
        better_C = mass_C.cumsum(dim=-1).roll(1)
        better_C[0] = 0.0
        value_C = value_C.masked_fill(better_C >= sampling.top_p, -torch.inf)
    return Candidates(value_C.log_softmax(dim=-1), candidates.id_C)


def _ordered(bits: Tensor) -> Tensor:
    """Map the bits of float32 to int32 in the order of the numbers; its own inverse."""
    return (bits >> 31).bitwise_and_(0x7FFFFFFF).bitwise_xor_(bits)
