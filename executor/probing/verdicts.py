"""The probes `verify` and `verify_sampling`: the final norm, the LM head, and the verdict on a draft."""

from collections.abc import Callable, Iterator
from dataclasses import asdict

import torch
from torch import Tensor

from executor.model.head import Head
from executor.probing.findings import Finding, Measured, Params
from executor.probing.share import Share
from executor.probing.subject import SameWeights, Subject, room_on
from executor.probing.timers import samples_of, timer_of
from executor.verify.coins import Key
from executor.verify.rule import draft_token, verify_match, verify_rejection
from executor.verify.sampling import Sampling
from executor.verify.shards import partial, shard_rows

_SAMPLINGS = (Sampling(1.0), Sampling(1.0, top_k=50), Sampling(1.0, top_p=0.95), Sampling(1.0, top_k=50, top_p=0.95))
"""What is tried where the options say nothing."""
_KEY = Key(0, 0, 1)


def probe_verify(subject: Subject, share: Share) -> Iterator[Finding]:
    """Yield the seconds of a verdict by the likeliest token, with all rows of the LM head and with a worker's shard."""
    layout, vocab_size = subject.plan.layout, subject.architecture.vocab_size
    cases: list[Params] = [{"vocab_rows": vocab_size, "part": "all"}]
    if layout.lm_head == "sharded" and layout.num_stages > 1:
        first, last = shard_rows(vocab_size, layout.num_workers, 0)
        cases.append({"vocab_rows": last - first, "part": "shard"})
    if not _has_room(subject, share):
        return
    for params, seconds in share.cases(cases):
        head, hidden_1H = _head(subject, int(params["vocab_rows"])), subject.hidden(1)
        act = _greedy(head, hidden_1H, is_shard=params["part"] == "shard")
        yield Measured("verify", params, samples_of(timer_of(subject.device), act, seconds))


def probe_verify_sampling(subject: Subject, share: Share) -> Iterator[Finding]:
    """Yield the seconds of a verdict on a sampled draft with all rows of the LM head, by sampling.

    rule: rejection where the plan's drafts are the module's own, which come with their distribution; else match.
    """
    plan, vocab_size = subject.plan, subject.architecture.vocab_size
    is_rejection = plan.has_module_drafts
    rule = "rejection" if is_rejection else "match"
    cases: list[Params] = [
        {**asdict(sampling), "rule": rule, "vocab_rows": vocab_size}
        for sampling in (_SAMPLINGS if plan.sampling.is_greedy else (plan.sampling,))
    ]
    if not _has_room(subject, share):
        return
    head, hidden_1H = _head(subject, vocab_size), subject.hidden(1)
    draft_size = plan.draft.vocab_size or vocab_size
    ids_Q = None if plan.draft.vocab_size is None else torch.arange(draft_size, device=subject.device)
    for params, seconds in share.cases(cases):
        sampling = Sampling(float(params["temperature"]), int(params["top_k"]), float(params["top_p"]))
        act = _sampled(head, hidden_1H, sampling, torch.randn(draft_size, device=subject.device), ids_Q, is_rejection)
        yield Measured("verify_sampling", params, samples_of(timer_of(subject.device), act, seconds))


def _has_room(subject: Subject, share: Share) -> bool:
    """Whether there is memory for the LM head; says so if not."""
    target = subject.architecture
    has_room = target.vocab_size * target.hidden_size * subject.dtype.itemsize <= room_on(subject.device)
    if not has_room:
        share.skip("the LM head does not fit into half of the memory that is free")
    return has_room


def _head(subject: Subject, num_rows: int) -> Head:
    return Head(subject.architecture, SameWeights(0), 0, num_rows, subject.device, subject.dtype)


def _greedy(head: Head, hidden_1H: Tensor, *, is_shard: bool) -> Callable[[], object]:
    greedy, token_1 = Sampling(), torch.zeros(1, dtype=torch.int64, device=hidden_1H.device)
    if is_shard:
        return lambda: partial(head(hidden_1H), 0, greedy, "match", _KEY)
    return lambda: verify_match(head(hidden_1H), token_1, greedy, _KEY)


def _sampled(
    head: Head, hidden_1H: Tensor, sampling: Sampling, logits_Q: Tensor, ids_Q: Tensor | None, is_rejection: bool
) -> Callable[[], object]:
    token_1, law_Q = draft_token(logits_Q, sampling, _KEY, ids_Q)
    if not is_rejection:
        return lambda: verify_match(head(hidden_1H), token_1, sampling, _KEY)
    return lambda: verify_rejection(head(hidden_1H), token_1, law_Q, ids_Q, sampling, _KEY)
