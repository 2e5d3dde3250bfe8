"""Sampled durations against their own mean and variance, and by address."""

from math import sqrt

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
from spdsim.draws import Draws, constant_s

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


def test_a_draw_is_the_same_in_whatever_order_it_is_asked_for() -> None:
    """Addressed by key, sequence and cycle; far cycles, too, lie beyond the first block."""
    forwards, backwards = (Draws(Gamma(1.0, 0.5), (0, 1, "forward", 2)) for _ in range(2))
    cycles = [-1, 0, 1, 1500, 3000]
    expected = [forwards.at(cycle) for cycle in cycles]
    assert [backwards.at(cycle) for cycle in reversed(cycles)] == expected[::-1]
    forwards.restart(1)
    assert [forwards.at(cycle) for cycle in cycles] != expected
    forwards.restart(0)
    assert [forwards.at(cycle) for cycle in cycles] == expected


def test_constants_are_not_drawn() -> None:
    """They cost nothing in the engine."""
    assert Draws.of(Constant(3.0), (0, 0, "draft", 0)) is None
    assert (constant_s(Constant(3.0)), constant_s(Gamma(3.0, 1.0))) == (3.0, 0.0)
