"""The LM head in shards says, token for token, what the whole one says."""

from itertools import product
from typing import get_args

import pytest
import torch
from torch import Tensor

from executor.verify.coins import Key
from executor.verify.rule import draft_token, verify_match, verify_rejection
from executor.verify.sampling import Rule, Sampling
from executor.verify.shards import combine, partial, partial_fields, shard_rows
from executor.verify.warp import warp
from spdsim.errors import InputError
from tests.chance import chi_square_p

torch.set_num_threads(1)

UNLIKELY = 1e-3
RULES: tuple[Rule, ...] = get_args(Rule)
SAMPLINGS = [
    Sampling(),
    Sampling(1.0),
    Sampling(0.6),
    Sampling(1.0, top_k=1),
    Sampling(1.3, top_k=6),
    Sampling(1.0, top_k=50),
    Sampling(2.0, top_p=0.7),
    Sampling(0.8, top_k=7, top_p=0.8),
]
VOCAB = 23
SOME_TOKENS = torch.tensor([0, 1, 4, 5, 11, 15, 22])


def logits(seed: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return logits_V in halves, so that ties are common, within shards and across them."""
    return (torch.randn(VOCAB, generator=torch.Generator().manual_seed(seed)) * 4).round().div(2).to(dtype)


def partials(logits_V: Tensor, num_shards: int, sampling: Sampling, rule: Rule, key: Key) -> list[tuple[Tensor, ...]]:
    """Return what each shard would send."""
    rows = [shard_rows(logits_V.numel(), num_shards, index) for index in range(num_shards)]
    return [partial(logits_V[first:last], first, sampling, rule, key) for first, last in rows]


@pytest.mark.parametrize("sampling", SAMPLINGS, ids=str)
@pytest.mark.parametrize("num_shards", range(1, 10))
def test_shards_say_what_the_whole_head_says(num_shards: int, sampling: Sampling) -> None:
    """By both rules, with drafts of all tokens or some, and with none, where logits tie, in float32 and bfloat16."""
    for number, dtype in enumerate((torch.float32, torch.bfloat16, torch.float32)):
        logits_V, key = logits(number, dtype), Key(1, 2, number)
        for token_ids in (None, SOME_TOKENS):
            draft_logits = logits(50 + number) if token_ids is None else logits(50 + number)[:7]
            token_1, law_Q = draft_token(draft_logits, sampling, key, token_ids)
            match = combine(partials(logits_V, num_shards, sampling, "match", key), sampling, "match", key, token_1)
            assert match.equal(verify_match(logits_V, token_1, sampling, key))
            found = partials(logits_V, num_shards, sampling, "rejection", key)
            rejection = combine(found, sampling, "rejection", key, token_1, law_Q, token_ids)
            assert rejection.equal(verify_rejection(logits_V, token_1, law_Q, token_ids, sampling, key))
            first = combine(found, sampling, "rejection", key, None)
            assert first.equal(verify_match(logits_V, None, sampling, key))


@pytest.mark.parametrize(("rule", "sampling"), list(product(RULES, [Sampling(1.0), Sampling(1.3, 6, 0.9)])), ids=str)
def test_four_shards_give_the_law_of_the_target(rule: Rule, sampling: Sampling) -> None:
    """Chi-square of 500 draws on eight tokens, with a draft that is wrong half of the time."""
    target_V = torch.tensor([1.2, -0.4, 0.3, 0.9, -1.0, 0.0, 0.5, -0.5])
    count_V = torch.zeros(8, dtype=torch.int64)
    for position in range(500):
        key = Key(7, 1, position)
        token_1, law_Q = draft_token(target_V.flip(0), sampling, key)
        found = partials(target_V, 4, sampling, rule, key)
        count_V[combine(found, sampling, rule, key, token_1, law_Q)[1]] += 1
    assert chi_square_p(count_V, warp(target_V, sampling).double().exp()) > UNLIKELY


@pytest.mark.parametrize(
    "sampling", [Sampling(), Sampling(0.6), Sampling(1.3, top_k=6), Sampling(0.8, 7, 0.8)], ids=str
)
def test_partials_that_carry_ids_may_come_in_any_order(sampling: Sampling) -> None:
    """Where logits tie, too."""
    for position in range(20):
        key, logits_V = Key(3, 3, position), logits(position)
        found = partials(logits_V, 5, sampling, "match", key)
        token_1 = torch.tensor([position])
        expected = verify_match(logits_V, token_1, sampling, key)
        for shift in range(5):
            assert combine(found[shift:] + found[:shift], sampling, "match", key, token_1).equal(expected)


@pytest.mark.parametrize(("rule", "sampling"), list(product(RULES, SAMPLINGS)), ids=str)
def test_a_partial_is_laid_out_as_its_fields_say(rule: Rule, sampling: Sampling) -> None:
    """Whatever the logits are and however few the rows, and with names that are identifiers."""
    for num_rows, dtype in product((1, 5, 23), (torch.float32, torch.bfloat16)):
        fields = partial_fields(sampling, rule, num_rows)
        sent = partial(logits(0, dtype)[:num_rows], 7, sampling, rule, Key(0, 0, 1))
        assert [(tensor.dtype, tensor.shape) for tensor in sent] == [(dtype, shape) for _, dtype, shape in fields]
        assert all(name.isidentifier() for name, _, _ in fields)


def num_bytes(sampling: Sampling, rule: Rule, num_rows: int) -> int:
    fields = partial_fields(sampling, rule, num_rows)
    return sum(dtype.itemsize * torch.Size(shape).numel() for _, dtype, shape in fields)


def test_a_partial_is_no_larger_than_exactness_needs() -> None:
    """A winner is 12 bytes; k candidates are 12 k; only what turns on all of the shard sends all of it."""
    for rule in RULES:
        assert num_bytes(Sampling(), rule, 10_000) == 12
        assert num_bytes(Sampling(1.0, 50), rule, 10_000) == num_bytes(Sampling(1.0, 50, 0.9), rule, 10_000) == 600
        assert num_bytes(Sampling(1.0, 0, 0.9), rule, 10_000) == 40_000
    assert num_bytes(Sampling(1.0), "match", 10_000) == 12
    assert num_bytes(Sampling(1.0), "rejection", 10_000) == 40_000


def test_shards_cover_every_row_once_and_evenly() -> None:
    """For any vocabulary and number of shards: contiguous, in order, and none larger by more than one row."""
    for vocab_size in (1, 2, 9, 64, 151_936):
        for num_shards in range(1, min(vocab_size, 20) + 1):
            rows = [shard_rows(vocab_size, num_shards, index) for index in range(num_shards)]
            assert [first for first, _ in rows] + [vocab_size] == [0] + [last for _, last in rows]
            sizes = {last - first for first, last in rows}
            assert min(sizes) >= 1 and max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize(("rule", "sampling"), list(product(RULES, SAMPLINGS)), ids=str)
def test_nothing_waits_for_the_device(rule: Rule, sampling: Sampling) -> None:
    """Partials and verdicts are made of tensors without data."""
    target, key = torch.empty(VOCAB, device="meta"), Key(0, 0, 1)
    token_1, law_Q = draft_token(target, sampling, key)
    verdict_2 = combine(partials(target, 3, sampling, rule, key), sampling, rule, key, token_1, law_Q)
    assert (verdict_2.device.type, verdict_2.dtype, verdict_2.shape) == ("meta", torch.int64, (2,))


def test_shards_that_cannot_be_are_refused() -> None:
    """None, more than tokens, or one that is not among them."""
    for num_shards in (0, -1, 6):
        with pytest.raises(InputError, match=f"num_shards is {num_shards}: must be 1 to 5"):
            shard_rows(5, num_shards, 0)
    for index in (-1, 3):
        with pytest.raises(InputError, match=f"shard index is {index}: must be 0 to 2"):
            shard_rows(5, 3, index)


def test_partials_that_decide_nothing_are_refused() -> None:
    """No partial at all, and by rejection a draft whose law is not known."""
    key, sampling = Key(0, 0, 1), Sampling(1.0)
    with pytest.raises(InputError, match="combine has 0 partials"):
        combine([], sampling, "match", key, None)
    with pytest.raises(InputError, match="draft law is missing: the rejection rule needs the law"):
        combine(partials(logits(0), 2, sampling, "rejection", key), sampling, "rejection", key, torch.tensor([1]))
