"""The same two rules where the LM head is spread over the vocabulary: partials of the shards, and how they combine.

Every shard sends one partial, in one round; the rank that drafts combines them, and it alone needs the draft and its
law. A combined verdict equals that of `rule` token for token, because noise is keyed by token id and cuts have no ties.

What a partial holds depends on what exactness needs:

- greedy, and match at a temperature alone: the largest score and its token, 12 bytes. Noise needs no normaliser.
- top-k: the shard's k best tokens and their logits, 12 k bytes. The k best of all are among them.
- else (rejection at a temperature alone; top-p without top-k): all logits of the shard, 4 bytes a row.
  Which tokens are in max(0, p - q), and in what proportion, turns on the normaliser of p, which no shard knows in its
  only round; a candidate drawn for one normaliser is wrong for another, and no fixed number of candidates serves all.
  Likewise no fixed number of tokens has the mass that top-p asks for. All logits come to V entries over all shards;
  the law of the draft, which the shards would otherwise have to be sent, comes to as many or fewer.

Knows nothing of messages: `partial_fields` says what they look like.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from executor.verify.coins import Key
from executor.verify.rule import choose, choose_among, match_verdict, noisy, reject_among, verify_rejection
from executor.verify.sampling import Rule, Sampling
from executor.verify.warp import Candidates, best, kept
from spdsim.errors import InputError

_NO_TOKEN = torch.iinfo(torch.int64).max


class Field(NamedTuple):
    """One tensor of a partial, as it is laid out in every message of a run."""

    name: str
    dtype: torch.dtype
    shape: tuple[int, ...]


def shard_rows(vocab_size: int, num_shards: int, index: int) -> tuple[int, int]:
    """Return the rows [first, last) of the LM head that shard `index` holds; sizes differ by one at most.

    Raises InputError if there is no such shard, or too few rows for all.
    """
    if not 1 <= num_shards <= vocab_size:
        raise InputError(f"num_shards is {num_shards}: must be 1 to {vocab_size}, so that every shard has a token")
    if not 0 <= index < num_shards:
        raise InputError(f"shard index is {index}: must be 0 to {num_shards - 1}")
    return vocab_size * index // num_shards, vocab_size * (index + 1) // num_shards


def partial_fields(sampling: Sampling, rule: Rule, num_rows: int) -> tuple[Field, ...]:
    """Return the tensors of a partial of a shard with `num_rows` rows, in order: the same in every cycle of a run."""
    match _kind(sampling, rule):
        case "winner":
            return Field("score", torch.float32, (1,)), Field("token", torch.int64, (1,))
        case "best":
            count = kept(sampling, num_rows)
            return Field("logits", torch.float32, (count,)), Field("tokens", torch.int64, (count,))
        case "all":
            return (Field("logits", torch.float32, (num_rows,)),)


def partial(logits_R: Tensor, first_row: int, sampling: Sampling, rule: Rule, key: Key) -> tuple[Tensor, ...]:
    """Return the partial of the shard whose rows begin at `first_row`, laid out as `partial_fields` says.

    It may share memory with the logits.
    """
    match _kind(sampling, rule):
        case "winner":
            score_R = logits_R if sampling.is_greedy else noisy(logits_R, sampling, key, first_row)
            row_1 = score_R.argmax(dim=-1, keepdim=True)
            return score_R[row_1].float(), row_1 + first_row
        case "best":
            return best(logits_R, kept(sampling, logits_R.numel()), first_row=first_row)
        case "all":
            return (logits_R.float(),)


def combine(
    partials: Sequence[tuple[Tensor, ...]],
    sampling: Sampling,
    rule: Rule,
    key: Key,
    draft_token_1: Tensor | None,
    draft_law_Q: Tensor | None = None,
    draft_token_ids_Q: Tensor | None = None,
) -> Tensor:
    """Return the verdict_2 of all shards' partials, on one device and in the order of the shards.

    draft_token_1, draft_law_Q, draft_token_ids_Q: as in `rule`; without a draft (y_1), it is accepted.

    Raises InputError if there are no partials, if the rejection rule has a draft without a law, or if the law has
    not one entry for every token of its vocabulary.
    """
    if not partials:
        raise InputError("combine has 0 partials: must have one from every shard")
    fields = tuple(torch.cat(tensors) for tensors in zip(*partials, strict=True))
    if rule == "match" or draft_token_1 is None or sampling.is_greedy:
        return match_verdict(_combined_choice(fields, sampling, rule, key), draft_token_1)
    if draft_law_Q is None:
        raise InputError("draft law is missing: the rejection rule needs the law that the draft was drawn from")
    if _kind(sampling, rule) == "all":
        return verify_rejection(fields[0], draft_token_1, draft_law_Q, draft_token_ids_Q, sampling, key)
    return reject_among(_combined_best(fields, sampling), draft_token_1, draft_law_Q, draft_token_ids_Q, sampling, key)


def _kind(sampling: Sampling, rule: Rule) -> Literal["winner", "best", "all"]:
    if sampling.is_greedy or (rule == "match" and not sampling.is_truncated):
        return "winner"
    return "best" if sampling.top_k else "all"


def _combined_choice(fields: tuple[Tensor, ...], sampling: Sampling, rule: Rule, key: Key) -> Tensor:
    """The target's own token_1."""
    match _kind(sampling, rule):
        case "winner":
            score_W, token_W = fields
            return token_W.where(score_W == score_W.max(), _NO_TOKEN).min(dim=-1, keepdim=True).values
        case "best":
            return choose_among(_combined_best(fields, sampling), sampling, key)
        case "all":
            return choose(fields[0], sampling, key)


def _combined_best(fields: tuple[Tensor, ...], sampling: Sampling) -> Candidates:
    logits_C, id_C = fields
    return best(logits_C, kept(sampling, logits_C.numel()), id_C)
