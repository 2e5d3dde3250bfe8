"""The figures of one scenario with little computing: right means, honest intervals, the same whatever the batches."""

from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spdsim import theory
from spdsim.acceptance import Acceptance, Bernoulli, BetaPerSequence, ByFillDepth, Markov, Replay, toss
from spdsim.analysis.estimates import ratio
from spdsim.analysis.summary import summarize
from spdsim.errors import InputError, ScenarioError
from spdsim.evaluation import MIN_SEQUENCES, evaluate, evaluate_each, figures
from spdsim.evaluation.control import coin_control, controlled_ratio, rejection_control
from spdsim.evaluation.reference import reference_work
from spdsim.evaluation.runs import EngineProducer, Runs
from spdsim.scenario import Scenario, load_scenario
from spdsim.simulation import simulate
from spdsim.timing import machine_of
from tests.commands import ROOT, TUTORIAL

GAMMA = "timing.profile.forward_per_layer={kind: gamma, mean_s: 1e-3, cv: 0.3}"
DEPTHS = "acceptance={kind: by_fill_depth, p: [0.9, 0.8, 0.7]}"
GEOMETRIC = "workload.new_tokens={kind: geometric, mean: 12, max: 40}"


def tutorial(*settings: str) -> Scenario:
    return load_scenario(TUTORIAL, ["workload.new_tokens=24", *settings])


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("tutorial", [DEPTHS, GAMMA, GEOMETRIC]),
        ("tutorial", ["acceptance={kind: replay, accepted: [AARA, RRR, AAAAAA]}", "replications=4"]),
        ("tutorial", [DEPTHS, "workload.sequences=3", "replications=2"]),
        ("tutorial", ["partition.stages=1"]),
        ("h100x8", [DEPTHS, "runtime.launch=eager"]),
        ("two-node-infiniband", [DEPTHS, "replications=3"]),
    ],
)
def test_without_a_control_the_figures_are_those_of_a_report(
    name: str, changes: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the engine: figure by figure and interval by interval, whatever the baseline; only rounding may differ."""
    monkeypatch.setattr(figures, "producer_of", lambda *both: (EngineProducer(*both), "engine", ""))
    scenario = load_scenario(ROOT / "scenarios" / f"{name}.yaml", ["workload.new_tokens=20", *changes])
    found, report = evaluate(scenario), summarize(simulate(scenario))
    for name in ("time_per_token_s", "tokens_per_s", "time_to_first_token_s", "speedup"):
        mine, theirs = getattr(found, name), getattr(report, name)
        assert (mine.mean, mine.low, mine.high) == pytest.approx((theirs.mean, theirs.low, theirs.high), rel=1e-9)
    assert found.tokens_per_cycle == pytest.approx(report.tokens_per_cycle, rel=1e-12)
    assert found.measured_acceptance == report.measured_acceptance
    assert found.num_sequences == report.num_sequences


def test_cycles_of_one_length_give_the_closed_form_from_a_few_sequences() -> None:
    """A time that is a line in the rejections has the mean of the law, and an interval of no width."""
    scenario = tutorial(
        "timing.profile={origin: assumed, source: a test, forward: 1e-3, draft: 0, verify: 0}",
        "links.intra_node={latency_s: 0, bandwidth_bytes_per_s: 1e15}", "acceptance.p=0.7",
    )  # fmt: skip
    found = evaluate(scenario).time_per_token_s
    expected_s = theory.cycles(24, 0, 4) + 3 * 22 * 0.3
    assert found.mean == pytest.approx(expected_s / 23 * 1e-3, rel=1e-6)
    assert found.low == pytest.approx(found.high, rel=1e-6)


def test_replications_are_the_same_in_any_batch() -> None:
    """An interval that is never narrow enough ends with what so many replications give at once."""
    changes = [GAMMA, "workload.sequences=2"]
    stepwise = evaluate(tutorial(*changes), precision=1e-9, max_replications=30)
    assert stepwise == evaluate(tutorial(*changes, "replications=30"))
    assert stepwise.num_sequences == 60


def test_a_wider_interval_takes_fewer_sequences_and_is_reached() -> None:
    """The number of sequences grows with the square of the precision; never fewer than are believed."""
    wide, narrow = (evaluate(tutorial(GAMMA), precision=precision) for precision in (0.2, 0.01))
    assert wide.num_sequences == MIN_SEQUENCES < narrow.num_sequences
    mean, low = narrow.time_per_token_s.mean, narrow.time_per_token_s.low
    assert low is not None and (mean - low) / mean <= 0.01


@pytest.mark.parametrize("precision", [None, 0.003])
def test_scenarios_evaluated_together_have_the_figures_of_each_alone(precision: float | None) -> None:
    """Bit for bit, whatever they differ in; what needs the engine is left, and an error is that of `evaluate`."""
    changes = [
        [GAMMA, "acceptance.p=0.6"], [GAMMA, "acceptance.p=0.9"], [GAMMA, "acceptance.p=0.9", "seed=5"],
        ["links.intra_node.latency_s=5e-5"], [GEOMETRIC, GAMMA], ["partition.stages=1"], ["partition.stages=2"],
        [GAMMA, "workload.sequences=3"], [DEPTHS], ["workload.new_tokens=1"], ["devices.count=2"],
    ]  # fmt: skip
    scenarios = [tutorial("replications=20", *settings) for settings in changes]
    both = [(scenario, machine_of(scenario)) for scenario in scenarios]
    left = []
    for scenario, found in zip(scenarios, evaluate_each(both, precision=precision), strict=True):
        if found is None and scenario.workload.max_new_tokens == 1:
            assert precision is not None  # more sequences are looked at before it is said that none decodes anything
        elif found is None:
            alone = evaluate(scenario, precision=precision)
            left.append(alone.path)
            assert alone.path == "engine" or alone.num_sequences > 128
        elif isinstance(found, Exception):
            with pytest.raises(type(found)) as raised:
                evaluate(scenario, precision=precision)
            assert str(raised.value) == str(found)
        else:
            assert found == evaluate(scenario, precision=precision)
    assert left.count("engine") == 1 and ("fast" in left) == (precision is not None)
    assert evaluate_each([]) == []


def test_a_record_is_not_replayed_twice_for_the_sake_of_precision() -> None:
    """Copies of the same sequences would narrow the interval and tell nothing."""
    found = evaluate(tutorial("acceptance={kind: replay, accepted: [AARA, RRR, AAAAAA]}"), precision=1e-6)
    assert found.num_sequences == 3


MODELS: list[Acceptance] = [
    Bernoulli(0.7), BetaPerSequence(0.8, 4.0), Markov((0.95, 0.5), (0.9, 0.7)), Markov((0.9, 0.2), (1.0, 1.0)),
]  # fmt: skip


@pytest.mark.parametrize("model", MODELS, ids=str)
def test_the_expected_rejections_are_those_that_are_drawn(model: Acceptance) -> None:
    """With lengths of all kinds, the control has mean zero, to four standard errors."""
    lengths = np.array([1 + number % 30 for number in range(1500)])
    rejections = np.array([
        sum(not toss(model, 3, number, length + 1).accepts(position, 1) for position in range(1, length - 1))
        for number, length in enumerate(lengths.tolist())
    ])  # fmt: skip
    control = rejection_control(model, lengths, rejections)
    assert control is not None
    assert abs(control.mean()) < 4.0 * control.std() / np.sqrt(len(control))
    assert rejections.mean() > 0.5


@pytest.mark.parametrize("model", [ByFillDepth((0.9, 0.8)), Replay(((True, False),))], ids=str)
def test_nothing_is_claimed_of_verdicts_that_depend_on_others(model: Acceptance) -> None:
    """No control where no expectation is known."""
    assert rejection_control(model, np.array([5, 6]), np.array([1, 2])) is None


@pytest.mark.parametrize("model", [*MODELS, ByFillDepth((0.9, 0.6, 0.3))], ids=str)
def test_the_wrong_coins_of_all_positions_are_those_to_be_expected(model: Acceptance) -> None:
    """For methods that verify no draft for some tokens: the control has mean zero, to four standard errors."""
    lengths = np.array([2 + number % 30 for number in range(1500)])
    coins = [toss(model, 5, number, length + 1) for number, length in enumerate(lengths.tolist())]
    control = coin_control(model, coins, lengths)
    assert control is not None
    assert control.std() > 0.3
    assert abs(control.mean()) < 4.0 * control.std() / np.sqrt(len(control))
    assert coin_control(Replay(((True, False),)), coins, lengths) is None


def part(runs: Runs, first: int, last: int) -> Runs:
    arrays = {field.name: getattr(runs, field.name)[first:last] for field in fields(Runs) if field.name != "plain"}
    return Runs(**arrays, plain=runs.plain)


@pytest.mark.parametrize(
    ("changes", "least_gain"),
    [
        ([GAMMA], 2.5),
        ([GAMMA, "acceptance={kind: markov, p: [0.95, 0.5], stay: [0.9, 0.8]}"], 3.0),
        (["acceptance={kind: beta, p: 0.8, concentration: 6}", GEOMETRIC], 1.5),
    ],
    ids=["bernoulli", "markov", "beta and lengths"],
)
def test_intervals_hold_the_mean_of_a_long_run_and_are_narrower(changes: list[str], least_gain: float) -> None:
    """About 95 of 100 intervals of 20 sequences do, each narrower than the plain one; the long run's has no control."""
    size, count = 20, 45
    scenario = tutorial("workload.new_tokens=12", *changes)
    model = scenario.acceptance
    runs = EngineProducer(scenario, machine_of(scenario)).runs(0, size * count)
    steps, times_s = (runs.num_tokens - 1).astype(np.float64), runs.end_s - runs.begin_s
    truth, low, high = ratio(times_s, steps)
    assert low is not None and high is not None and model is not None
    held, gains = 0, []
    for first in range(0, size * count, size):
        some = part(runs, first, first + size)
        own_steps, own_s = steps[first : first + size], times_s[first : first + size]
        control = rejection_control(_model(scenario), some.num_tokens, some.num_rejections)
        mean, its_low, its_high = controlled_ratio(own_s, own_steps, control, own_steps)
        plain_mean, plain_low, _ = ratio(own_s, own_steps)
        assert its_low is not None and its_high is not None and plain_low is not None
        # The long run has an interval of its own.
        held += its_low - (high - truth) <= truth <= its_high + (high - truth)
        gains.append((plain_mean - plain_low) / (mean - its_low))
    assert held >= 0.86 * count
    assert np.median(gains) > least_gain


def _model(scenario: Scenario) -> Acceptance:
    from spdsim.scenario import acceptance_of

    return acceptance_of(scenario)


def test_intervals_with_a_control_are_neither_too_narrow_nor_too_wide() -> None:
    """Drawn numbers with a known mean: 95 % of the intervals hold it, with sizes that vary and that do not."""
    generator = np.random.default_rng(1)
    for is_sized in (False, True):
        held = 0
        for _ in range(2000):
            size = generator.integers(5, 20, 12) if is_sized else np.full(12, 10)
            control = generator.normal(size=12) * 3.0
            times = 2.0 * size + 5.0 * control + generator.normal(size=12)
            _, low, high = controlled_ratio(times, size.astype(float), control, size.astype(float))
            assert low is not None and high is not None
            held += low <= 2.0 <= high
        assert 0.935 <= held / 2000 <= 0.965


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(5, 30), st.floats(-100.0, 100.0))
def test_what_is_a_multiple_of_the_control_does_not_matter(seed: int, count: int, factor: float) -> None:
    """The estimate and its interval see only what the control does not tell."""
    generator = np.random.default_rng(seed)
    size = np.full(count, 10.0)
    control, noise = generator.normal(size=count), generator.normal(size=count)
    plain = controlled_ratio(20.0 * size + noise, size, control, size)
    shifted = controlled_ratio(20.0 * size + noise + factor * control, size, control, size)
    assert shifted == pytest.approx(plain, rel=1e-9)


def test_few_sequences_are_not_spent_on_a_control() -> None:
    """Below a handful the plain ratio is told, and one sequence has no interval."""
    ones = np.ones(3)
    assert controlled_ratio(np.array([1.0, 2.0, 3.0]), ones, np.array([0.0, 1.0, 2.0]), ones) == ratio(
        np.array([1.0, 2.0, 3.0]), ones
    )
    assert evaluate(tutorial("replications=1")).time_per_token_s.low is None


@pytest.mark.parametrize(
    "changes", [[], ["timing.profile.forward_per_layer={mean_s: 1e-3, per_context_token_s: 1e-5}"]]
)
def test_plain_decoding_is_read_off_one_sequence_for_all(changes: list[str]) -> None:
    """Where durations are constant: of every length, as from the traces of all sequences."""
    scenario = tutorial(GEOMETRIC, "replications=20", "seed=3", *changes)
    machine = machine_of(scenario)
    runs = EngineProducer(scenario, machine).runs(0, 20)
    work = reference_work(scenario, machine, runs.num_tokens)
    assert runs.plain is not None
    np.testing.assert_allclose(work.stages_s, runs.plain.stages_s, rtol=1e-9)
    np.testing.assert_allclose(work.lm_head_s, runs.plain.lm_head_s, rtol=1e-9, atol=1e-15)
    np.testing.assert_allclose(work.issued_s, runs.plain.issued_s, rtol=1e-9, atol=1e-15)
    assert work.hops.total_s == pytest.approx(runs.plain.hops.total_s, rel=0.05)


BY_DEPTH = "timing.profile.forward_per_layer={mean_s: 1e-3, by_fill_depth: [1e-3, 1.2e-3, 2e-3]}"
GROWING = "timing.profile.forward_per_layer={mean_s: 1e-3, per_context_token_s: 1e-5}"


@pytest.mark.parametrize("change", [BY_DEPTH, GROWING])
def test_long_sequences_are_told_from_their_beginning_where_it_tells_them(change: str) -> None:
    """Times in a line go on in it; what depends on the fill depth is read off all of a sequence."""
    scenario = tutorial("workload.new_tokens=200", "replications=1", change)
    machine = machine_of(scenario)
    runs = EngineProducer(scenario, machine).runs(0, 1)
    work = reference_work(scenario, machine, runs.num_tokens)
    assert runs.plain is not None
    np.testing.assert_allclose(work.stages_s, runs.plain.stages_s, rtol=1e-9)
    np.testing.assert_allclose(work.lm_head_s, runs.plain.lm_head_s, rtol=1e-9)
    assert work.hops.total_s == pytest.approx(runs.plain.hops.total_s, rel=0.01)


def test_random_durations_are_at_their_means_in_what_plain_decoding_does() -> None:
    """To four standard errors of what the traces of many sequences tell, and with no noise of its own."""
    scenario = tutorial(GAMMA, "replications=60", "timing.profile.verify={kind: lognormal, mean_s: 3e-4, cv: 0.5}")
    machine = machine_of(scenario)
    runs = EngineProducer(scenario, machine).runs(0, 60)
    work = reference_work(scenario, machine, runs.num_tokens)
    assert runs.plain is not None and len(set(work.stages_s)) == 1
    for drawn, expected in ((runs.plain.stages_s, work.stages_s), (runs.plain.lm_head_s, work.lm_head_s)):
        assert drawn.std() > 0.0
        assert abs(drawn.mean() - expected[0]) < 4.0 * drawn.std() / np.sqrt(60)


def test_what_cannot_be_told_is_refused() -> None:
    """Outputs of one token; a precision that is none; no replications."""
    with pytest.raises(ScenarioError, match="at least 2 tokens"):
        evaluate(tutorial("workload.new_tokens=1"))
    for precision in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(InputError, match="the precision is"):
            evaluate(tutorial(), precision=precision)
    with pytest.raises(InputError, match="must be at least 1"):
        evaluate(tutorial(), precision=0.1, max_replications=0)
