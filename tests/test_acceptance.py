"""Acceptance models: their means, their addresses, and what they correlate."""

import numpy as np
import pytest

from spdsim.acceptance import (
    Acceptance,
    Bernoulli,
    BetaPerSequence,
    ByFillDepth,
    Markov,
    Replay,
    max_tokens,
    mean_acceptance,
    toss,
)  # fmt: skip
from spdsim.analysis.summary import summarize
from spdsim.schedules.spd import Layout
from tests.machines import machine, run

MODELS: list[Acceptance] = [
    Bernoulli(0.8),
    ByFillDepth((0.5, 0.6, 0.8, 0.9)),
    Markov((0.9, 0.4), (0.95, 0.8)),
    BetaPerSequence(0.7, 8.0),
    Replay(((True, False, True, True), (False, True, True, True, True))),
]


@pytest.mark.parametrize("model", MODELS[:4], ids=lambda model: type(model).__name__)
def test_the_measured_acceptance_meets_the_mean_of_the_model(model: Acceptance) -> None:
    """By fill depth, too: drafts made while the pipeline fills count as often as rejections make it fill."""
    report = summarize(run(machine(Layout(4)), 120, 60, model))
    assert report.measured_acceptance == pytest.approx(mean_acceptance(model, 4), abs=0.03)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: type(model).__name__)
def test_a_coin_depends_on_seed_sequence_and_position_only(model: Acceptance) -> None:
    """Asking for more positions, or for another sequence first, changes no coin."""
    for sequence in range(20):
        short, long = toss(model, 3, sequence, 5), toss(model, 3, sequence, 50)
        assert [short.accepts(i, 2) for i in range(1, 5)] == [long.accepts(i, 2) for i in range(1, 5)]


def test_other_seeds_and_sequences_toss_other_coins() -> None:
    """Independent streams."""
    base = [toss(Bernoulli(0.5), 0, 0, 100).accepts(i, 1) for i in range(100)]
    assert base != [toss(Bernoulli(0.5), 1, 0, 100).accepts(i, 1) for i in range(100)]
    assert base != [toss(Bernoulli(0.5), 0, 1, 100).accepts(i, 1) for i in range(100)]


def test_a_higher_probability_accepts_whatever_a_lower_one_did() -> None:
    """Common random numbers: raising p turns coins one way only."""
    low, high = toss(Bernoulli(0.5), 0, 0, 500), toss(Bernoulli(0.6), 0, 0, 500)
    assert all(high.accepts(i, 1) or not low.accepts(i, 1) for i in range(500))


def test_certain_and_impossible_drafts_are_exactly_that() -> None:
    """p = 0 and p = 1, for a Beta as well."""
    for model in (Bernoulli, lambda p: BetaPerSequence(p, 5.0)):
        assert all(toss(model(1.0), 0, 0, 200).accepts(i, 1) for i in range(200))
        assert not any(toss(model(0.0), 0, 0, 200).accepts(i, 1) for i in range(200))


def test_markov_text_comes_in_runs() -> None:
    """The lag-1 autocorrelation is that of the chain: variance of p between states times the second eigenvalue."""
    model = Markov((0.95, 0.35), (0.9, 0.8))
    coins = np.array(toss(model, 0, 0, 200_000).fixed, float)
    got = np.corrcoef(coins[:-1], coins[1:])[0, 1]
    easy = model.easy_fraction
    mean = mean_acceptance(model, 1)
    between = easy * (0.95 - mean) ** 2 + (1 - easy) * (0.35 - mean) ** 2
    assert got == pytest.approx(between * (0.9 + 0.8 - 1.0) / (mean * (1 - mean)), abs=0.01)


def test_beta_sequences_spread_more_than_coins_alone() -> None:
    """Variance between sequences: p (1 - p) / (concentration + 1), and the binomial one on top."""
    means = [np.mean(toss(BetaPerSequence(0.7, 9.0), 0, s, 2000).fixed or []) for s in range(2000)]
    assert np.var(means) == pytest.approx(0.7 * 0.3 / 10.0 * (1 + 9 / 2000), rel=0.1)


def test_a_recorded_sequence_is_replayed_and_ends_where_its_record_ends() -> None:
    """Entry j is the j-th verified draft; beyond the last record the first comes again."""
    model = Replay(((True, False), (False, False, True)))
    assert [toss(model, 0, s, 9).fixed for s in (0, 1)] == [
        [True, True, False, True, True, True, True, True, True],
        [True, False, False, True, True, True, True, True, True],
    ]
    assert [max_tokens(model, s) for s in (0, 1, 2)] == [3, 4, 3]
    assert max_tokens(Bernoulli(0.5), 0) is None
    assert mean_acceptance(model, 4) == pytest.approx(0.4)


def test_the_mean_by_fill_depth_is_that_of_the_renewal() -> None:
    """n = 2, p = (a, b): drafts until a rejection: 1 with 1 - a, else 1 + geometric(1 - b)."""
    a, b = 0.3, 0.9
    assert mean_acceptance(ByFillDepth((a, b)), 2) == pytest.approx(1 - 1 / (1 + a / (1 - b)))
    assert mean_acceptance(ByFillDepth((0.2, 1.0)), 2) == 1.0
    assert mean_acceptance(ByFillDepth((0.6,)), 8) == pytest.approx(0.6)
