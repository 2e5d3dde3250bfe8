"""What both rules promise of every verdict; the laws of many are in test_executor_verify_laws."""

from itertools import product

import pytest
import torch

from executor.verify.coins import Key, Stream, gumbel_V, uniform
from executor.verify.rule import choose, draft_token, verify_match, verify_rejection
from executor.verify.sampling import Sampling
from executor.verify.warp import warp
from spdsim.errors import InputError
from tests.drafts import CHAIN_TARGET, DRAFTS, SAMPLINGS, TARGET, probabilities

torch.set_num_threads(1)


@pytest.mark.parametrize("sampling", [Sampling(), *SAMPLINGS], ids=str)
def test_match_emits_the_targets_own_choice_whatever_the_draft(sampling: Sampling) -> None:
    """And accepts the draft if it is that token."""
    for position in range(40):
        key = Key(0, 0, position)
        own = int(choose(TARGET, sampling, key))
        for draft in range(8):
            verdict_2 = verify_match(TARGET, torch.tensor([draft]), sampling, key)
            assert verdict_2.tolist() == [int(draft == own), own]
        assert verify_match(TARGET, None, sampling, key).tolist() == [1, own]


@pytest.mark.parametrize("sampling", SAMPLINGS, ids=str)
@pytest.mark.parametrize("draft", DRAFTS)
def test_every_verdict_of_rejection_is_that_of_its_definition(draft: str, sampling: Sampling) -> None:
    """Worked out in float64 from the same coin and noise: u q(x) <= p(x), else Gumbel-max over max(0, p - q)."""
    draft_logits, token_ids = DRAFTS[draft]
    p_V, q_V = probabilities(TARGET, sampling), probabilities(draft_logits, sampling, token_ids)
    residual_V = (p_V - q_V).clamp(min=0.0)
    for position in range(25):
        key = Key(3, 1, position)
        token_1, law_Q = draft_token(draft_logits, sampling, key, token_ids)
        token = int(token_1)
        if draft == "identical" or uniform(key, Stream.ACCEPT) * q_V[token] <= p_V[token]:
            expected = [1, token]
        else:
            noise_V = gumbel_V(key, Stream.RESIDUAL, 0, 8, torch.device("cpu")).double()
            expected = [0, int((residual_V.log() + noise_V).argmax())]
        assert verify_rejection(TARGET, token_1, law_Q, token_ids, sampling, key).tolist() == expected


@pytest.mark.parametrize("sampling", [Sampling(), Sampling(1.0), Sampling(1.2, 3, 0.9)], ids=str)
def test_one_seed_has_one_text_by_match_however_good_the_drafts_are(sampling: Sampling) -> None:
    """Plain decoding's own; another seed or sequence has another, unless nothing is drawn."""

    def text(seed: int, sequence: int, draft_seed: int | None) -> list[int]:
        tokens, drafts = [4], torch.Generator().manual_seed(draft_seed or 0)
        for position in range(60):
            draft_1 = None if draft_seed is None else torch.randint(4, (1,), generator=drafts)
            tokens.append(
                int(verify_match(CHAIN_TARGET[tokens[-1]], draft_1, sampling, Key(seed, sequence, position))[1])
            )
        return tokens

    plain = text(0, 0, None)
    assert text(0, 0, 1) == text(0, 0, 2) == plain
    assert (text(1, 0, 1) == plain) is sampling.is_greedy
    assert (text(0, 1, 1) == plain) is sampling.is_greedy


def test_greed_takes_the_lowest_of_equal_tokens_and_needs_no_coin() -> None:
    """Under both rules, which are then one; the draft too."""
    logits_V = torch.tensor([0.0, 3.0, -1.0, 3.0])
    for draft, key in product(range(4), (Key(0, 0, 1), Key(1, 0, 1))):
        draft_1, law_V = torch.tensor([draft]), warp(torch.zeros(4).index_fill(0, torch.tensor(draft), 1.0), Sampling())
        assert verify_match(logits_V, draft_1, Sampling(), key).tolist() == [draft == 1, 1]
        assert verify_rejection(logits_V, draft_1, law_V, None, Sampling(), key).tolist() == [draft == 1, 1]
    token_1, law_Q = draft_token(logits_V, Sampling(), Key(0, 0, 1), torch.tensor([2, 5, 6, 9]))
    assert token_1.tolist() == [5] and law_Q.exp().tolist() == [0.0, 1.0, 0.0, 0.0]


@pytest.mark.parametrize("sampling", SAMPLINGS, ids=str)
@pytest.mark.parametrize("draft", ["some tokens", "identical"])
def test_what_the_target_never_says_is_never_emitted(draft: str, sampling: Sampling) -> None:
    """Even if a draft outside its own law is handed in, and even if nothing is left of p - q to draw from."""
    # Backwards, so that the token with index 0, which wins where all weights are zero, is an impossible one.
    target, token_ids = TARGET.flip(0), DRAFTS[draft][1]
    law_Q = warp(DRAFTS[draft][0].flip(0), sampling)
    for position, token in product(range(10), range(8)):
        key = Key(4, 4, position)
        verdict_2 = verify_rejection(target, torch.tensor([token]), law_Q, token_ids, sampling, key)
        assert probabilities(target, sampling)[int(verdict_2[1])] > 0.0


@pytest.mark.parametrize("sampling", [Sampling(), *SAMPLINGS], ids=str)
def test_nothing_waits_for_the_device(sampling: Sampling) -> None:
    """Every rule runs on tensors without data, so it reads none; verdicts are two int64 on the device of the logits."""
    target, draft = (torch.empty(8, device="meta", dtype=torch.bfloat16) for _ in range(2))
    for token_ids in (None, torch.empty(8, device="meta", dtype=torch.int64)):
        token_1, law_Q = draft_token(draft, sampling, Key(0, 0, 1), token_ids)
        for verdict_2 in (
            verify_match(target, token_1, sampling, Key(0, 0, 1)),
            verify_rejection(target, token_1, law_Q, token_ids, sampling, Key(0, 0, 1)),
        ):
            assert (verdict_2.device.type, verdict_2.dtype, verdict_2.shape) == ("meta", torch.int64, (2,))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("sampling", [Sampling(), *SAMPLINGS], ids=str)
def test_another_device_gives_the_same_verdicts(sampling: Sampling) -> None:
    """Noise is a hash of integers, so only the rounding of logarithms is left to differ."""
    draft_logits, token_ids = DRAFTS["some tokens"]
    assert token_ids is not None
    for position in range(50):
        key = Key(6, 6, position)
        verdicts = []
        for device in ("cpu", "cuda"):
            target, ids = TARGET.to(device), token_ids.to(device)
            token_1, law_Q = draft_token(draft_logits.to(device), sampling, key, ids)
            verdicts.append(verify_rejection(target, token_1, law_Q, ids, sampling, key).tolist())
            verdicts.append(verify_match(target, token_1, sampling, key).tolist())
        assert verdicts[:2] == verdicts[2:]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("sampling", [Sampling(), *SAMPLINGS], ids=str)
def test_logits_of_any_type_are_taken_for_their_numbers(dtype: torch.dtype, sampling: Sampling) -> None:
    """As float32 would be."""
    target = TARGET.to(torch.bfloat16)
    for position in range(10):
        key = Key(0, 9, position)
        token_1, law_Q = draft_token(target.to(dtype), sampling, key)
        assert law_Q.equal(warp(target.float(), sampling))
        verdicts = [
            verdict_2
            for logits in (target.to(dtype), target.float())
            for verdict_2 in (
                verify_match(logits, token_1, sampling, key),
                verify_rejection(logits, token_1, law_Q, None, sampling, key),
            )
        ]
        assert verdicts[0].equal(verdicts[2]) and verdicts[1].equal(verdicts[3])


@pytest.mark.parametrize("sampling", [Sampling(1.0), Sampling(1.0, top_k=3)], ids=str)
def test_a_law_of_another_vocabulary_is_refused(sampling: Sampling) -> None:
    """Seven probabilities for eight tokens, with and without a draft vocabulary."""
    with pytest.raises(InputError, match="draft law has 7 entries: must have one for each of the 4 tokens"):
        verify_rejection(TARGET, torch.tensor([0]), torch.zeros(7), torch.arange(4), sampling, Key(0, 0, 1))
    if not sampling.top_k:
        with pytest.raises(InputError, match="draft law has 7 entries: must have one for each of the 8 tokens"):
            verify_rejection(TARGET, torch.tensor([0]), torch.zeros(7), None, sampling, Key(0, 0, 1))
