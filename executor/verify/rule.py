"""Who wins a position, the draft or the target: two rules, with the whole vocabulary at hand.

match: the target chooses its own token, by argmax or, with sampling, by Gumbel-max with noise keyed by position and
token id; the draft is accepted if it is that token. Lossless for any draft, and what is emitted never depends on the
draft, so one seed gives the text of plain decoding.

rejection: the draft x was drawn from a law q; accept if u q(x) <= p(x), else draw from max(0, p - q), normalised
(Leviathan et al., arXiv:2211.17192). The output has the law p, and a draft is accepted with probability sum min(p, q),
the most that any rule can reach.

A position is verified once, so a draft made anew after a flush may reuse its key: no verdict has seen that noise.
Verdicts are int64 tensors (accepted, token) on the device of the logits, and nothing here waits for that device.

Knows nothing of where logits come from.
"""

import torch
from torch import Tensor

from executor.verify.coins import Key, Stream, gumbel_of, gumbel_V, uniform
from executor.verify.sampling import Sampling
from executor.verify.warp import Candidates, best, kept, law_of, narrow, spread, tempered, warp
from spdsim.errors import InputError


def choose(logits_V: Tensor, sampling: Sampling, key: Key) -> Tensor:
    """Return the target's own token_1 (int64) at the position of `key`: that of plain decoding."""
    if sampling.is_greedy:
        return logits_V.argmax(dim=-1, keepdim=True)
    if not sampling.is_truncated:
        return noisy(logits_V, sampling, key).argmax(dim=-1, keepdim=True)
    return choose_among(best(logits_V, kept(sampling, logits_V.numel())), sampling, key)


def choose_among(candidates: Candidates, sampling: Sampling, key: Key) -> Tensor:
    """Return the target's own token_1, given the best candidates' logits (as many as `kept` says)."""
    return _draw(narrow(candidates, sampling), key, Stream.TARGET)


def noisy(logits_R: Tensor, sampling: Sampling, key: Key, first_row: int = 0) -> Tensor:
    """Return logits over temperature plus the target's noise: the largest is its choice where nothing is cut off."""
    noise_R = gumbel_V(key, Stream.TARGET, first_row, logits_R.numel(), logits_R.device)
    return noise_R.add_(tempered(logits_R, sampling))


def foreseen(
    draft_logits_RQ: Tensor, sampling: Sampling, key: Key, draft_token_ids_Q: Tensor | None = None
) -> Tensor:  # fmt: skip
    """Return the log-probabilities_RQ that a draft gives to each token to be the target's own choice (`choose`).

    draft_logits_RQ: of what may come to the position of `key` after R texts. draft_token_ids_Q: as in `draft_token`.
    With sampling the target's noise is known before its logits are, so the draft adds the same noise to its own: the
    better they are, the likelier both have the same largest one. The text does not change, since the target looks at
    no draft (Daliri, Musco, Suresh, arXiv:2408.07978). What top-k leaves out loses as much as it is below the cut, for
    the target's cut may be another; top-p's cut would need a sort of every row, and is not made.
    """
    if sampling.is_greedy:
        return draft_logits_RQ.float().log_softmax(dim=-1)
    logits_RQ = tempered(draft_logits_RQ, sampling)
    size, device = logits_RQ.shape[-1], logits_RQ.device
    if draft_token_ids_Q is None:
        noise_Q = gumbel_V(key, Stream.TARGET, 0, size, device)
    else:
        noise_Q = gumbel_of(draft_token_ids_Q, key, Stream.TARGET)
    score_RQ = logits_RQ + noise_Q
    if sampling.top_k:
        last_R1 = logits_RQ.topk(kept(sampling, size)).values[:, -1:]
        score_RQ += (logits_RQ - last_R1).clamp_(max=0.0)
    return score_RQ.log_softmax(dim=-1)


def draft_token(
    draft_logits_Q: Tensor, sampling: Sampling, key: Key, draft_token_ids_Q: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Draw a draft for the position of `key`, and return its token_1 (int64) and the log-probabilities_Q it had.

    draft_token_ids_Q: the ids of the draft vocabulary, ascending; None if it is the target's vocabulary.
    Greedy sampling takes the most likely token, with a law that says so.
    """
    law = law_of(draft_logits_Q, sampling)
    id_C = law.id_C if draft_token_ids_Q is None else draft_token_ids_Q[law.id_C]
    token_1 = id_C if sampling.is_greedy else _draw(Candidates(law.value_C, id_C), key, Stream.DRAFT)
    return token_1, spread(law, draft_logits_Q.numel())


def verify_match(logits_V: Tensor, draft_token_1: Tensor | None, sampling: Sampling, key: Key) -> Tensor:
    """Return the verdict_2 on a draft of any kind by the match rule; without a draft (y_1), it is accepted."""
    return match_verdict(choose(logits_V, sampling, key), draft_token_1)


def match_verdict(token_1: Tensor, draft_token_1: Tensor | None) -> Tensor:
    """Return the verdict_2 where the target's own choice is `token_1`."""
    accepted_1 = torch.ones_like(token_1) if draft_token_1 is None else (token_1 == draft_token_1).long()
    return torch.cat((accepted_1, token_1))


def level_verdict(token_1: Tensor, level_2W: Tensor, parent: int) -> Tensor:
    """Return the verdict_3 (accepted, token, node) on a level of a tree, where the target's own choice is `token_1`.

    level_2W: tokens and parents of its nodes. parent: the right node of the level before, of which the right one is a
    child. What is emitted is that choice, so that it has the law p whatever is proposed.
    """
    is_right_W = (level_2W[0] == token_1) & (level_2W[1] == parent)
    node_1 = is_right_W.long().argmax(dim=-1, keepdim=True)
    return torch.cat((is_right_W.any(dim=-1, keepdim=True).long(), token_1, node_1))


def verify_rejection(
    logits_V: Tensor,
    draft_token_1: Tensor,
    draft_law_Q: Tensor,
    draft_token_ids_Q: Tensor | None,
    sampling: Sampling,
    key: Key,
) -> Tensor:
    """Return the verdict_2 on a draft drawn from `draft_law_Q` (log-probabilities, of `draft_token`).

    draft_token_ids_Q: the ids of the draft vocabulary, ascending; None if it is the target's vocabulary.
    Greedy laws have one token each, so the match rule says the same and is used.
    Raises InputError if the law has not one entry for every token of its vocabulary.
    """
    if sampling.is_greedy:
        return verify_match(logits_V, draft_token_1, sampling, key)
    if sampling.top_k:
        candidates = best(logits_V, kept(sampling, logits_V.numel()))
        return reject_among(candidates, draft_token_1, draft_law_Q, draft_token_ids_Q, sampling, key)
    _check_law(draft_law_Q, draft_token_ids_Q, logits_V.numel())
    p_V = warp(logits_V, sampling).exp()
    q_V = draft_law_Q.exp()
    if draft_token_ids_Q is not None:
        q_V = torch.zeros_like(p_V).index_copy_(0, draft_token_ids_Q, q_V)
    token_1 = _draw_residual(p_V, q_V, gumbel_V(key, Stream.RESIDUAL, 0, p_V.numel(), p_V.device))
    return _rejection_verdict(draft_token_1, p_V[draft_token_1], q_V[draft_token_1], token_1, key)


def reject_among(
    candidates: Candidates,
    draft_token_1: Tensor,
    draft_law_Q: Tensor,
    draft_token_ids_Q: Tensor | None,
    sampling: Sampling,
    key: Key,
) -> Tensor:
    """Return the verdict_2 by the rejection rule, given the best candidates' logits (as many as `kept` says).

    What is no candidate has p = 0, so it is in no residual and q is asked for at the candidates alone.
    Raises InputError as `verify_rejection` does.
    """
    _check_law(draft_law_Q, draft_token_ids_Q, None)
    law = narrow(candidates, sampling)
    p_C, q_C = law.value_C.exp(), _draft_probability(law.id_C, draft_law_Q, draft_token_ids_Q)
    slot_1 = _draw_residual(p_C, q_C, gumbel_of(law.id_C, key, Stream.RESIDUAL))
    p_draft_1 = p_C.where(law.id_C == draft_token_1, 0.0).sum(dim=-1, keepdim=True)
    q_draft_1 = _draft_probability(draft_token_1, draft_law_Q, draft_token_ids_Q)
    return _rejection_verdict(draft_token_1, p_draft_1, q_draft_1, law.id_C[slot_1], key)


def _draw(law: Candidates, key: Key, stream: Stream) -> Tensor:
    noise_C = gumbel_of(law.id_C, key, stream)
    return law.id_C[noise_C.add_(law.value_C).argmax(dim=-1, keepdim=True)]


def _draw_residual(p_C: Tensor, q_C: Tensor, noise_C: Tensor) -> Tensor:
    """The index_1 of a draw from max(0, p - q); from p where that is zero everywhere (p = q, so all is accepted).

    Gumbel-max without the logarithm, which is slow at the many zeros of a residual.
    """
    residual_C = (p_C - q_C).clamp_(min=0.0)
    weight_C = residual_C.where(residual_C.any(), p_C)
    return noise_C.exp_().mul_(weight_C).argmax(dim=-1, keepdim=True)


def _rejection_verdict(draft_token_1: Tensor, p_1: Tensor, q_1: Tensor, token_1: Tensor, key: Key) -> Tensor:
    """The verdict_2 on a draft of probabilities p and q, with `token_1` of the residual to take its place.

    A token that the target cannot say is refused even if the draft says that it could not either.
    """
    accepted_1 = (uniform(key, Stream.ACCEPT) * q_1 <= p_1) & (p_1 > 0.0)
    return torch.cat((accepted_1.long(), draft_token_1.where(accepted_1, token_1)))


def _draft_probability(id_C: Tensor, draft_law_Q: Tensor, draft_token_ids_Q: Tensor | None) -> Tensor:
    """The draft's probability of the tokens `id_C`; zero outside its vocabulary."""
    if draft_token_ids_Q is None:
        return draft_law_Q[id_C].exp()
    slot_C = torch.searchsorted(draft_token_ids_Q, id_C).clamp_(max=draft_token_ids_Q.numel() - 1)
    return draft_law_Q[slot_C].exp().where(draft_token_ids_Q[slot_C] == id_C, 0.0)


def _check_law(draft_law_Q: Tensor, draft_token_ids_Q: Tensor | None, num_rows: int | None) -> None:
    expected = num_rows if draft_token_ids_Q is None else draft_token_ids_Q.numel()
    if expected is not None and draft_law_Q.numel() != expected:
        rule = f"must have one for each of the {expected} tokens of the draft vocabulary"
        raise InputError(f"draft law has {draft_law_Q.numel()} entries: {rule}")
