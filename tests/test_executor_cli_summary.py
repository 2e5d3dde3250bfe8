"""The figures of a run, held against the schedule's laws and the results that they are made of."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from executor.plan import Job, JobResult
from executor.summary import Difference, Figures, figures
from spdsim import theory
from spdsim.schedules.spd import Layout

VERDICTS = st.lists(st.booleans(), min_size=1, max_size=30)


def spd(verdicts: list[bool], layout: Layout, *, begin_s: float = 5.0, cycle_s: float = 0.01) -> JobResult:
    """Return the result of a sequence with these verdicts, as the law of cycles has it."""
    num_tokens = len(verdicts) + 1
    rejections = verdicts[:-1].count(False)
    cycles = theory.cycles(num_tokens, rejections, layout.num_stages, layout.verification_lag)
    first_s = begin_s + 0.5
    return JobResult(
        tuple(range(num_tokens)), tuple(verdicts), cycles, begin_s, first_s, first_s + cycles * cycle_s
    )  # fmt: skip


def plain(num_tokens: int, *, token_s: float = 0.02) -> JobResult:
    return JobResult(tuple(range(num_tokens)), (True,) * (num_tokens - 1), num_tokens - 1, 1.0, 1.25,
                     1.25 + token_s * (num_tokens - 1))  # fmt: skip


def job(method: str, sequence: int = 0) -> Job:
    return Job("spd" if method == "spd" else "plain", sequence, (1,), 100)


def of(layout: Layout, *results: tuple[str, JobResult], must_agree: bool = True) -> Figures:
    """Return the figures of results in pairs or alone; a sequence begins with each plain one, if there is any."""
    jobs, sequence = [], -1
    first = results[0][0]
    for method, _ in results:
        sequence += method == first
        jobs.append(job(method, sequence))
    return figures(layout, jobs, [result for _, result in results], must_agree=must_agree)


@settings(max_examples=50, deadline=None)
@given(verdicts=VERDICTS, num_stages=st.integers(2, 9), lag=st.integers(0, 2))
def test_figures_follow_from_verdicts_and_times(verdicts: list[bool], num_stages: int, lag: int) -> None:
    """Acceptance is of verified drafts; with cycles and plain tokens of n : 1 the speedup is the law's for this run."""
    layout = Layout(num_stages, verification_lag=lag)
    num_tokens, cycle_s = len(verdicts) + 1, 0.01
    found = of(layout, ("plain", plain(num_tokens, token_s=num_stages * cycle_s)), ("spd", spd(verdicts, layout)))
    cycles = theory.cycles(num_tokens, verdicts[:-1].count(False), num_stages, lag)
    assert found.acceptance_probability == pytest.approx(sum(verdicts) / len(verdicts))
    assert (found.num_drafts, found.num_accepted, found.num_cycles) == (len(verdicts), sum(verdicts), cycles)
    assert found.tokens_per_cycle == pytest.approx(num_tokens / cycles)
    assert found.equivalent_accept_length == pytest.approx(num_stages * num_tokens / cycles)
    expected = theory.run_speedup(num_tokens, verdicts[:-1].count(False), num_stages, lag)
    assert found.speedup is not None and found.speedup.mean == pytest.approx(expected)
    assert found.closed_form_speedup == pytest.approx(
        theory.speedup(num_stages, sum(verdicts) / len(verdicts), lag)
    )  # fmt: skip
    assert found.differences == ()


@settings(max_examples=30, deadline=None)
@given(runs=st.lists(VERDICTS, min_size=2, max_size=5))
def test_sequences_add_up_and_give_an_interval(runs: list[list[bool]]) -> None:
    """Tokens over seconds of all of them, the prefill left out."""
    layout = Layout(4)
    results = [spd(verdicts, layout) for verdicts in runs]
    found = of(layout, *(("spd", result) for result in results))
    seconds = sum(result.end_s - result.first_token_s for result in results)
    decoding = found.speculative
    assert decoding is not None and decoding.tokens_per_s is not None and decoding.time_per_token_s is not None
    assert decoding.tokens_per_s.mean == pytest.approx(sum(map(len, runs)) / seconds)
    assert decoding.time_per_token_s.mean == pytest.approx(1 / decoding.tokens_per_s.mean)
    assert decoding.time_to_first_token_s.mean == pytest.approx(0.5)
    low, high = decoding.tokens_per_s.low, decoding.tokens_per_s.high
    assert low is not None and high is not None and low <= decoding.tokens_per_s.mean <= high
    assert (found.plain, found.speedup, found.differences) == (None, None, None)


def test_one_sequence_has_no_interval() -> None:
    """A single run does not vary."""
    found = of(Layout(2), ("plain", plain(9)), ("spd", spd([True] * 8, Layout(2))))
    assert found.speedup is not None and (found.speedup.low, found.speedup.high) == (None, None)


def test_an_interval_does_not_reach_below_zero() -> None:
    """Two sequences that differ much say little."""
    layout = Layout(2)
    quick = spd([True, True], layout)
    found = of(layout, ("spd", quick), ("spd", replace(quick, start_s=quick.start_s - 60.0)))
    assert found.speculative is not None
    first_s = found.speculative.time_to_first_token_s
    assert first_s.mean == pytest.approx(30.5) and first_s.low == 0.0


def test_a_speedup_is_per_token_where_lengths_differ() -> None:
    """With sampling the two methods may end at another token."""
    layout = Layout(2)
    found = of(layout, ("plain", plain(11, token_s=0.02)), ("spd", spd([True] * 40, layout)), must_agree=False)
    cycles = theory.cycles(41, 0, 2)
    assert found.speedup is not None and found.speedup.mean == pytest.approx(0.02 / (cycles * 0.01 / 40))
    assert found.differences is None


def test_a_single_token_has_no_speed() -> None:
    """Nothing is decoded after the prefill."""
    only = JobResult((7,), (), 0, 1.0, 1.5, 1.5)
    found = of(Layout(4), ("plain", only), ("spd", only))
    assert (found.speedup, found.tokens_per_cycle, found.acceptance_probability) == (None, None, None)
    assert found.speculative is not None and found.speculative.tokens_per_s is None
    assert found.speculative.time_to_first_token_s.mean == 0.5


def test_jobs_that_did_not_end_are_left_out() -> None:
    """The first results are of the first jobs."""
    jobs = [job("plain"), job("spd"), job("plain", 1), job("spd", 1)]
    found = figures(Layout(2), jobs, [plain(5), spd([True] * 4, Layout(2)), plain(5)], must_agree=True)
    assert found.plain is not None and found.plain.num_sequences == 2
    assert found.speculative is not None and found.speculative.num_sequences == 1
    nothing = figures(Layout(2), jobs, [], must_agree=True)
    assert (nothing.best, nothing.speedup, nothing.num_cycles) == (None, None, None)


@pytest.mark.parametrize(
    ("tokens", "position"),
    [((0, 1, 2, 3), None), ((0, 9, 2, 3), 1), ((0, 1, 2), 3), ((0, 1, 2, 3, 4), 4), ((), 0)],
)
def test_the_first_token_that_differs_is_found(tokens: tuple[int, ...], position: int | None) -> None:
    """A text that is too short or too long differs where it ends."""
    other = JobResult(tokens, (True,) * max(0, len(tokens) - 1), 3, 0.0, 1.0, 2.0)
    found = of(Layout(2), ("plain", plain(4)), ("spd", other))
    assert found.differences == (() if position is None else (Difference(0, position),))
