"""How tokens are sampled, and the laws that come of it, held against definitions in plain Python and transformers."""

import subprocess
import sys
from math import exp, inf, nan

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from transformers.generation.logits_process import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from executor.verify.sampling import Sampling
from executor.verify.warp import best, warp
from spdsim.errors import InputError

torch.set_num_threads(1)

DEVICES = ["cpu", *["cuda"] * torch.cuda.is_available()]


def kept_tokens(law_V: Tensor) -> list[int]:
    return law_V.isfinite().nonzero().flatten().tolist()


def by_definition(logits: list[float], sampling: Sampling) -> list[float]:
    """Return probabilities: rank, cut to k, then cut where the better ones have the mass already; normalise."""
    ranked = sorted(range(len(logits)), key=lambda token: (-logits[token], token))
    if sampling.is_greedy:
        return [float(token == ranked[0]) for token in range(len(logits))]
    ranked = ranked[: sampling.top_k or None]
    weight = [exp((value - max(logits)) / sampling.temperature) for value in logits]
    total, better, kept = sum(weight[token] for token in ranked), 0.0, []
    for token in ranked:
        if sampling.top_p == 1.0 or better / total < sampling.top_p:
            kept.append(token)
        better += weight[token]
    mass = sum(weight[token] for token in kept)
    return [weight[token] / mass if token in kept else 0.0 for token in range(len(logits))]


# Logits in quarters tie often; top-p in odd 1/1024 lies on no sum of masses except of equal ones, which no rank splits.
quarters = st.integers(-12, 12).map(lambda number: number / 4)
samplings = st.builds(
    Sampling,
    st.sampled_from([0.0, 0.5, 1.0, 1.7]),
    st.integers(0, 12),
    st.one_of(st.just(1.0), st.integers(0, 510).map(lambda number: (2 * number + 1.3) / 1024)),
)


@given(st.lists(quarters, min_size=1, max_size=10), samplings)
def test_a_law_is_what_its_definition_says(logits: list[float], sampling: Sampling) -> None:
    """For all sorts of ties and cuts; and it is normalised."""
    law_V = warp(torch.tensor(logits), sampling)
    assert law_V.exp().tolist() == pytest.approx(by_definition(logits, sampling), abs=1e-6)
    assert law_V.exp().sum().item() == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("top_k", [1, 7, 50, 100])
@pytest.mark.parametrize("top_p", [0.05, 0.5, 0.93, 1.0])
@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.5])
def test_a_law_is_that_of_transformers(temperature: float, top_k: int, top_p: float) -> None:
    """Its three warpers, in its order, on logits without ties."""
    logits_V = torch.randn(100, generator=torch.Generator().manual_seed(3)) * 2.0
    scores_1V = TemperatureLogitsWarper(temperature)(None, logits_V[None])
    scores_1V = TopKLogitsWarper(top_k)(None, scores_1V)
    if top_p < 1.0:
        scores_1V = TopPLogitsWarper(top_p)(None, scores_1V)
    law_V = warp(logits_V, Sampling(temperature, top_k, top_p))
    torch.testing.assert_close(law_V, scores_1V[0].log_softmax(dim=-1))


def test_of_equal_tokens_the_lowest_ids_are_kept() -> None:
    """In top-k, in top-p and by greed; and minus zero is zero."""
    logits_V = torch.tensor([0.0, 2.0, -0.0, 2.0, 0.0, 2.0])
    assert kept_tokens(warp(logits_V, Sampling())) == [1]
    assert kept_tokens(warp(logits_V, Sampling(1.0, top_k=2))) == [1, 3]
    assert kept_tokens(warp(logits_V, Sampling(1.0, top_k=4))) == [0, 1, 3, 5]
    assert kept_tokens(warp(logits_V, Sampling(1.0, top_k=5))) == [0, 1, 2, 3, 5]
    assert kept_tokens(warp(logits_V, Sampling(1.0, top_p=0.5))) == [1, 3]


def test_top_p_keeps_the_smallest_set_with_the_mass() -> None:
    """Four equal tokens: a half is two of them, the least more is three, hardly anything is one, nearly all is four."""
    even_V = torch.zeros(4)
    assert kept_tokens(warp(even_V, Sampling(1.0, top_p=0.5))) == [0, 1]
    assert kept_tokens(warp(even_V, Sampling(1.0, top_p=0.5 + 1e-9))) == [0, 1, 2]
    assert kept_tokens(warp(even_V, Sampling(1.0, top_p=1e-12))) == [0]
    assert kept_tokens(warp(even_V, Sampling(1.0, top_p=1.0 - 1e-9))) == [0, 1, 2, 3]


def test_top_p_counts_the_mass_that_top_k_left() -> None:
    """Of four equal tokens cut to two, 0.5 is one token."""
    assert kept_tokens(warp(torch.zeros(4), Sampling(1.0, top_k=2, top_p=0.5))) == [0]


def test_a_token_that_the_model_forbids_stays_forbidden() -> None:
    """Logits of minus infinity, with fewer tokens left than top-k asks for."""
    logits_V = torch.tensor([-inf, 1.0, -inf, 0.0])
    for sampling in (Sampling(), Sampling(2.0), Sampling(1.0, top_k=3), Sampling(1.0, top_p=0.99)):
        law_V = warp(logits_V, sampling)
        assert set(kept_tokens(law_V)) <= {1, 3} and law_V.exp().sum().item() == pytest.approx(1.0)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
@pytest.mark.parametrize("sampling", [Sampling(), Sampling(0.7), Sampling(1.3, 5), Sampling(1.0, 0, 0.8)])
def test_a_law_is_float32_whatever_the_logits_are(dtype: torch.dtype, device: str, sampling: Sampling) -> None:
    """Logits of another type are taken for the numbers that they are."""
    logits_V = torch.randn(40, generator=torch.Generator().manual_seed(1)).to(dtype)
    law_V = warp(logits_V.to(device), sampling)
    assert law_V.dtype == torch.float32 and law_V.device.type == device
    torch.testing.assert_close(law_V.cpu(), warp(logits_V.float(), sampling))


@given(st.lists(quarters, min_size=1, max_size=30), st.integers(1, 30), st.randoms(use_true_random=False))
def test_the_best_tokens_are_the_same_in_any_order_of_rows(logits: list[float], count: int, random: object) -> None:
    """Rows come with their ids, so that what arrives from shards needs no order."""
    order = sorted(range(len(logits)), key=lambda _: random.random())  # type: ignore[attr-defined]
    count = min(count, len(logits))
    there = best(torch.tensor(logits), count)
    mixed = best(torch.tensor([logits[row] for row in order]), count, torch.tensor(order))
    assert there.id_C.tolist() == sorted(range(len(logits)), key=lambda row: (-logits[row], row))[:count]
    assert there.value_C.tolist() == [logits[row] for row in there.id_C.tolist()]
    assert mixed.id_C.equal(there.id_C) and mixed.value_C.equal(there.value_C)


@pytest.mark.parametrize("temperature", [-1.0, 0.001, 101.0, nan, inf, -0.5])
def test_a_temperature_out_of_range_is_refused(temperature: float) -> None:
    """Between 0 and 0.01 too, where float32 has no room for noise beside the logits."""
    with pytest.raises(InputError, match=r"sampling\.temperature is .*: must be 0 \(greedy\), or from 0.01 to 100"):
        Sampling(temperature)


def test_cuts_out_of_range_are_refused() -> None:
    """With what would do."""
    with pytest.raises(InputError, match=r"sampling\.top_k is -1: must be at least 1, or 0 to keep all"):
        Sampling(1.0, top_k=-1)
    for top_p in (0.0, -0.1, 1.1, nan):
        with pytest.raises(InputError, match=r"sampling\.top_p is .*: must be above 0 and at most 1"):
            Sampling(1.0, top_p=top_p)


def test_sampling_is_read_without_torch() -> None:
    """What plans a run imports it before any library is there."""
    code = "import sys, executor.verify.sampling; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
