"""Sampled durations against their own mean and variance, and by address."""

from math import log, sqrt
from statistics import NormalDist

import numpy as np
import pytest

from spdsim.distributions import (
    Constant,
    Distribution,
    Empirical,
    Gamma,
    LogNormal,
    Normal,
    Sum,
    added,
    draw,
    mean_s,
    scaled,
    variance_s2,
)  # fmt: skip
from spdsim.draws import BLOCK_CYCLES, BLOCK_SEQUENCES, Address, Draws, constant_s
from spdsim.machine import Duration
from spdsim.normal import standard_normal

ALL: list[Distribution] = [
    Constant(2e-3),
    Normal(2e-3, 0.5e-3),
    Normal(1e-3, 2e-3),
    Normal(0.0, 1e-3),
    LogNormal(2e-3, 0.4),
    Gamma(2e-3, 0.7),
    Empirical((1e-3, 2e-3, 6e-3)),
    Sum((Gamma(2e-3, 0.7), Normal(1e-3, 2e-3), Constant(1e-3))),
]


@pytest.mark.parametrize("distribution", ALL, ids=str)
def test_draws_have_the_mean_and_variance_that_are_stated(distribution: Distribution) -> None:
    """Within five standard errors; the normal is cut off at zero, and so are its moments."""
    count = 200_000
    values = draw(distribution, np.random.default_rng(1), count)
    assert (values >= 0.0).all()
    error = sqrt(variance_s2(distribution) / count)
    assert abs(values.mean() - mean_s(distribution)) <= 5 * error + 1e-15
    assert values.var() == pytest.approx(variance_s2(distribution), rel=0.03, abs=1e-18)


@pytest.mark.parametrize("distribution", ALL, ids=str)
def test_scaling_scales_every_draw(distribution: Distribution) -> None:
    """Mean and variance follow."""
    assert mean_s(scaled(distribution, 3.0)) == pytest.approx(3.0 * mean_s(distribution))
    assert variance_s2(scaled(distribution, 3.0)) == pytest.approx(9.0 * variance_s2(distribution))


def test_constants_add_up_to_a_constant_and_nothing_adds_nothing() -> None:
    """A sum is one only where something is drawn."""
    gamma = Gamma(2e-3, 0.7)
    assert added((Constant(1e-3), Constant(2e-3))) == Constant(3e-3)
    assert added((gamma, Constant(0.0))) == gamma
    assert added((Constant(1e-3), gamma)) == Sum((gamma, Constant(1e-3)))


@pytest.mark.parametrize("distribution", [LogNormal(2e-3, 0.0), Gamma(2e-3, 0.0), Normal(2e-3, 0.0)], ids=str)
def test_without_spread_every_draw_is_the_mean(distribution: Distribution) -> None:
    """cv = 0 is a constant, not a division by zero."""
    assert draw(distribution, np.random.default_rng(0), 5).tolist() == pytest.approx([2e-3] * 5)
    assert mean_s(distribution) == 2e-3


def test_normal_variates_have_the_quantiles_and_tails_of_the_normal_distribution() -> None:
    """By the table: all of its values, and what a lognormal makes of them, beside the exact moments and quantiles."""
    values = np.sort(standard_normal(np.random.default_rng(0), 2_000_000))
    assert values.dtype == np.float32
    exact = NormalDist()
    for p in (1e-4, 0.01, 0.25, 0.5, 0.9, 0.999, 0.9999):
        quantile = exact.inv_cdf(p)
        error = sqrt(p * (1 - p) / values.size) / exact.pdf(quantile)
        assert abs(values[int(p * values.size)] - quantile) < 5 * error + 1e-4
    table = np.unique(values).astype(np.float64)
    assert len(table) == 2**16
    assert abs(table.mean()) < 1e-9
    assert table.var() == pytest.approx(1.0, abs=1e-6)
    for cv, lost in ((0.5, 1e-6), (1.3, 2e-5)):
        sigma = sqrt(log(1 + cv * cv))
        assert -lost < np.exp(sigma * table - sigma * sigma / 2).mean() - 1.0 <= 1e-9
    assert 4.3 < -values[0] == values[-1] < 4.5


def test_as_many_variates_come_as_are_asked_for_one_after_another() -> None:
    """Four to a random number, of which some may be left over."""
    for count in (0, 1, 3, 4, 5):
        assert standard_normal(np.random.default_rng(0), count).shape == (count,)
    whole = standard_normal(np.random.default_rng(0), 8)
    generator = np.random.default_rng(0)
    assert [*standard_normal(generator, 4), *standard_normal(generator, 4)] == whole.tolist()


def test_a_draw_is_the_same_in_whatever_order_it_is_asked_for() -> None:
    """Addressed by key, sequence and cycle; far cycles, too, lie beyond the first block."""
    forwards, backwards = (Draws(Gamma(1.0, 0.5), Address(0, 1, "forward", 2)) for _ in range(2))
    cycles = [-1, 0, 1, 1500, 3000]
    expected = [forwards.at(cycle) for cycle in cycles]
    assert [backwards.at(cycle) for cycle in reversed(cycles)] == expected[::-1]
    forwards.restart(1)
    assert [forwards.at(cycle) for cycle in cycles] != expected
    forwards.restart(0)
    assert [forwards.at(cycle) for cycle in cycles] == expected


def test_constants_are_not_drawn() -> None:
    """They cost nothing in the engine."""
    assert Draws.of(Constant(3.0), Address(0, 0, "draft")) is None
    assert (constant_s(Constant(3.0)), constant_s(Gamma(3.0, 1.0))) == (3.0, 0.0)


def test_whoever_takes_whole_blocks_finds_the_draws_of_each_sequence() -> None:
    """The prefill first, then 128 cycles at a time, of 64 sequences: what vectorised simulations read."""
    draws = Draws(LogNormal(1.0, 0.3), Address(7, 1, "forward"), shared_fraction=0.4)
    blocks = draws.blocks(3)
    whole = np.concatenate([next(blocks) for _ in range(3)], axis=1)
    assert whole.shape == (BLOCK_SEQUENCES, 1 + 2 * BLOCK_CYCLES)
    for row in (15, 0, 6):
        draws.restart(3 * BLOCK_SEQUENCES + row)
        assert [draws.at(cycle) for cycle in range(-1, 2 * BLOCK_CYCLES)] == whole[row].tolist()


def test_every_part_of_an_address_gives_other_draws() -> None:
    """Seed, worker, what, detail, and which of equal tasks; the first of them is what is meant without a number."""
    base = Address(0, 1, "draft", 2)
    others = [
        base._replace(seed=5), base._replace(worker=5), base._replace(what="verify"), base._replace(detail=5),
        base._replace(occurrence=5),
    ]  # fmt: skip
    drawn = [Draws(Gamma(1.0, 0.5), address).at(0) for address in (base, *others)]
    assert len(set(drawn)) == len(drawn)
    assert Draws(Gamma(1.0, 0.5), Address(0, 1, "draft", 2, 0)).at(0) == drawn[0]


def test_depths_share_the_draws_of_equal_distributions() -> None:
    """What does not depend on the tokens in flight is one stream of draws, whatever is in flight."""
    slow, fast = Gamma(2.0, 0.1), Gamma(1.0, 0.1)
    assert {Duration(slow).number_at_depth(depth) for depth in range(9)} == {0}
    duration = Duration(slow, by_fill_depth=(fast, fast, slow))
    assert [duration.number_at_depth(depth) for depth in range(6)] == [0, 1, 1, 3, 3, 3]


@pytest.mark.parametrize("fraction", [0.3, 1.0])
def test_workers_share_a_part_of_the_cycles(fraction: float) -> None:
    """In these cycles each takes the same quantile of its own distribution."""
    slow, fast = (
        Draws(LogNormal(mean, 0.2), Address(0, worker, "forward"), fraction) for worker, mean in ((1, 2.0), (2, 1.0))
    )
    together = [slow.at(cycle) == pytest.approx(2.0 * fast.at(cycle), rel=1e-12) for cycle in range(2000)]
    assert np.mean(together) == pytest.approx(fraction, abs=0.04)
