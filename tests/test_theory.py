"""The closed forms, against each other and against figures that are known."""

import numpy as np
import pytest

from spdsim import theory
from spdsim.analysis.estimates import mean_of, percentiles, ratio, t_quantile


def test_the_law_has_its_known_values() -> None:
    """1 at p = 0 and n at p = 1 without lag; n / (n + k) at p = 0 with one; never more than 1 / (1 - p)."""
    for n in (1, 2, 8, 100):
        assert theory.speedup(n, 0.0) == pytest.approx(1.0)
        assert theory.speedup(n, 1.0) == pytest.approx(n)
        assert theory.speedup(n, 0.0, 2) == pytest.approx(n / (n + 2))
        assert theory.speedup(n, 0.8) <= 1.0 / 0.2 + 1e-12
    assert theory.run_speedup(512, 0, 8) == pytest.approx(7.89, abs=0.005)
    assert theory.run_speedup(1, 0, 8) is None


def test_the_inverse_gives_the_acceptance_back() -> None:
    """p = 1 - (n / S - 1) / (n + k - 1)."""
    for lag in (0, 1, 2):
        assert theory.acceptance_of(theory.speedup(8, 0.7, lag), 8, lag) == pytest.approx(0.7)
    with pytest.raises(ValueError, match="one stage"):
        theory.acceptance_of(1.0, 1)


def test_the_run_form_tends_to_the_law() -> None:
    """For K tokens and (1 - p)(K - 2) rejections."""
    n, p, k = 8, 0.8, 1
    tokens = 1_000_002
    run = theory.run_speedup(tokens, round((1 - p) * (tokens - 2)), n, k)
    assert run == pytest.approx(theory.speedup(n, p, k), rel=1e-4)


def test_slots_add_up_to_the_cycles() -> None:
    """Useful, wasted and idle slots are n times the cycles a token takes."""
    for lag in (0, 1, 2):
        assert sum(theory.stage_slots(8, 0.8, lag)) == pytest.approx(8 * 8 / theory.speedup(8, 0.8, lag))
    useful, wasted, idle = theory.stage_slots(8, 0.8)
    total = useful + wasted + idle
    assert [round(100 * part / total) for part in (useful, wasted, idle)] == [42, 29, 29]


def test_the_quantile_of_student_is_continuous_where_the_table_ends() -> None:
    """Table up to 30 degrees of freedom, expansion beyond: 2.0395 at 31, 1.960 at infinity."""
    assert t_quantile(1) == pytest.approx(12.706, abs=1e-3)
    assert t_quantile(31) == pytest.approx(2.0395, abs=1e-3)
    assert t_quantile(10**6) == pytest.approx(1.96, abs=1e-3)


def test_the_interval_of_a_ratio_covers_it_nineteen_times_in_twenty() -> None:
    """By simulation, with 20 sequences of different length."""
    generator = np.random.default_rng(0)
    covered, trials = 0, 2000
    for _ in range(trials):
        length = generator.integers(50, 150, 20).astype(float)
        time = length * 0.3 + generator.normal(0.0, 1.0, 20)
        _, low, high = ratio(time, length)
        assert low is not None and high is not None
        covered += low <= 0.3 <= high
    assert covered / trials == pytest.approx(0.95, abs=0.02)


def test_one_sequence_has_no_interval() -> None:
    """There is nothing to tell the spread from."""
    assert mean_of(np.array([3.0])) == (3.0, None, None)


def test_the_interval_of_a_percentile_holds_the_percentile_of_all_values() -> None:
    """By bootstrap over whole sequences; the same values give the same interval."""
    generator = np.random.default_rng(3)
    by_sequence = [generator.gamma(2.0, 1.0 + skill, 200) for skill in generator.random(15)]
    pooled, intervals = percentiles(by_sequence, (50, 99))
    assert pooled == np.percentile(np.concatenate(by_sequence), (50, 99)).tolist()
    for value, interval in zip(pooled, intervals, strict=True):
        assert interval is not None and interval[0] <= value <= interval[1]
        assert interval[1] - interval[0] < value
    assert percentiles(by_sequence, (50, 99)) == (pooled, intervals)
    assert percentiles(by_sequence[:9], (50,))[1] == [None]
