"""Verification is lossless: what comes out has the target's own law for any draft, by chi-square.

Seeds are fixed, so a test fails always or never; with right rules the smallest of 36 p-values is about 0.03.
"""

from functools import cache

import pytest
import torch
from torch import Tensor

from executor.verify.coins import Key
from executor.verify.rule import choose, draft_token, verify_rejection
from executor.verify.sampling import Sampling
from executor.verify.warp import warp
from tests.chance import chi_square, chi_square_p, p_value
from tests.drafts import CHAIN_DRAFT, CHAIN_TARGET, DRAFTS, SAMPLINGS, TARGET, probabilities

torch.set_num_threads(1)

UNLIKELY = 1e-3
NUM_DRAWS = 200


@cache
def drawn(draft: str, sampling: Sampling) -> tuple[Tensor, int]:
    """Return how often each token came out of the rejection rule, and how many drafts were accepted."""
    count_V, num_accepted = torch.zeros(8, dtype=torch.int64), 0
    draft_logits, token_ids = DRAFTS[draft]
    for position in range(NUM_DRAWS):
        key = Key(11, SAMPLINGS.index(sampling), position)
        token_1, law_Q = draft_token(draft_logits, sampling, key, token_ids)
        accepted, token = verify_rejection(TARGET, token_1, law_Q, token_ids, sampling, key).tolist()
        count_V[token] += 1
        num_accepted += accepted
    return count_V, num_accepted


@pytest.mark.parametrize("sampling", SAMPLINGS, ids=str)
@pytest.mark.parametrize("draft", DRAFTS)
def test_rejection_gives_the_law_of_the_target(draft: str, sampling: Sampling) -> None:
    """Chi-square of 200 draws each, whatever the draft is worth."""
    assert chi_square_p(drawn(draft, sampling)[0], probabilities(TARGET, sampling)) > UNLIKELY


@pytest.mark.parametrize("draft", DRAFTS)
def test_rejection_gives_the_law_of_the_target_over_all_warps(draft: str) -> None:
    """The same draws pooled, which sees a smaller error: the sum of chi-squares has the sum of degrees of freedom."""
    found = [chi_square(drawn(draft, sampling)[0], probabilities(TARGET, sampling)) for sampling in SAMPLINGS]
    assert p_value(sum(each[0] for each in found), sum(each[1] for each in found)) > 0.01


@pytest.mark.parametrize("sampling", SAMPLINGS, ids=str)
@pytest.mark.parametrize("draft", DRAFTS)
def test_rejection_accepts_as_many_drafts_as_the_laws_overlap(draft: str, sampling: Sampling) -> None:
    """With probability sum min(p, q): certain for identical laws, never for disjoint ones."""
    p_V, q_V = probabilities(TARGET, sampling), probabilities(DRAFTS[draft][0], sampling, DRAFTS[draft][1])
    overlap = float(torch.minimum(p_V, q_V).sum())
    standard_error = (NUM_DRAWS * overlap * max(1.0 - overlap, 0.0)) ** 0.5
    assert drawn(draft, sampling)[1] == pytest.approx(NUM_DRAWS * overlap, abs=3.3 * standard_error + 1e-3)


def test_the_law_is_noticed_if_it_is_wrong() -> None:
    """A rule that replaces a rejected draft by a draw from p fails the same chi-square."""
    count_V = torch.zeros(8, dtype=torch.int64)
    sampling, (draft_logits, _) = Sampling(1.0), DRAFTS["opposite"]
    for position in range(500):
        key = Key(11, 0, position)
        token_1, law_Q = draft_token(draft_logits, sampling, key)
        accepted, token = verify_rejection(TARGET, token_1, law_Q, None, sampling, key).tolist()
        count_V[token if accepted else int(choose(TARGET, sampling, key))] += 1
    assert chi_square_p(count_V, probabilities(TARGET, sampling)) < UNLIKELY


@pytest.mark.parametrize("sampling", SAMPLINGS, ids=str)
def test_a_draft_has_the_law_that_it_comes_with(sampling: Sampling) -> None:
    """Over its own vocabulary, warped as the target is."""
    draft_logits, token_ids = DRAFTS["some tokens"]
    assert token_ids is not None
    count_V = torch.zeros(8, dtype=torch.int64)
    for position in range(300):
        token_1, law_Q = draft_token(draft_logits, sampling, Key(5, 0, position), token_ids)
        assert law_Q.equal(warp(draft_logits, sampling))
        count_V[token_1] += 1
    assert chi_square_p(count_V, probabilities(draft_logits, sampling, token_ids)) > UNLIKELY


@pytest.mark.parametrize("sampling", SAMPLINGS, ids=str)
def test_the_targets_own_choice_has_its_law(sampling: Sampling) -> None:
    """Which is the law of the match rule, for it emits nothing else."""
    count_V = torch.zeros(8, dtype=torch.int64)
    for position in range(500):
        count_V[choose(TARGET, sampling, Key(2, 3, position))] += 1
    assert chi_square_p(count_V, probabilities(TARGET, sampling)) > UNLIKELY


@pytest.mark.parametrize("sampling", [Sampling(1.0), Sampling(0.7, top_k=3)], ids=str)
def test_two_consecutive_tokens_of_a_pipeline_have_the_joint_law(sampling: Sampling) -> None:
    """The second is drafted on top of the first draft, before the verdict; after a rejection anew, with its old key."""
    count_VV, rejected_first = torch.zeros(4, 4, dtype=torch.int64), 0
    for sequence in range(600):
        first, second = Key(1, sequence, 1), Key(1, sequence, 2)
        first_1, first_law = draft_token(CHAIN_DRAFT[4], sampling, first)
        second_1, second_law = draft_token(CHAIN_DRAFT[int(first_1)], sampling, second)
        accepted, y1 = verify_rejection(CHAIN_TARGET[4], first_1, first_law, None, sampling, first).tolist()
        if not accepted:
            rejected_first += 1
            second_1, second_law = draft_token(CHAIN_DRAFT[y1], sampling, second)
        y2 = int(verify_rejection(CHAIN_TARGET[y1], second_1, second_law, None, sampling, second)[1])
        count_VV[y1, y2] += 1
    p_V = warp(CHAIN_TARGET[4], sampling).double().exp()
    p_VV = torch.stack([p_V[y1] * warp(CHAIN_TARGET[y1], sampling).double().exp() for y1 in range(4)])
    assert rejected_first > 60
    assert chi_square_p(count_VV.flatten(), p_VV.flatten()) > UNLIKELY
