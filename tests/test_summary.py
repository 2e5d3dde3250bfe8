"""Figures of a report on runs small enough to work out by hand."""

from dataclasses import replace

import pytest

from spdsim.acceptance import Bernoulli, toss
from spdsim.analysis.fate import ABANDONED, USEFUL, WASTED, fates, rejections
from spdsim.analysis.report import CAUSES, STEPS
from spdsim.analysis.summary import summarize
from spdsim.distributions import Constant
from spdsim.engine import Engine, Request
from spdsim.errors import TraceError
from spdsim.machine import Duration, Sharing
from spdsim.schedules.spd import Layout
from spdsim.trace import ONE_DEVICE, PLAIN_PIPELINE, Site, Trace
from tests.machines import Place, empty_trace, machine, play, run


def fate_of(trace: Trace, op: str) -> dict[tuple[int, int, int], int]:
    """Return the fate of each span of `op` by (worker, cycle, position)."""
    found = fates(trace)
    return {(s.worker, s.cycle, s.position): int(found[i]) for i, s in enumerate(trace.spans()) if s.op == op}


def test_work_is_useful_wasted_or_abandoned_as_in_the_grid() -> None:
    """n = 2, verdicts R, A: position 1 is drafted wrongly in cycle 0 and corrected in cycle 1."""
    trace = play(machine(Layout(2), draft=0.5, verify=0.25), "RA")
    assert fate_of(trace, "forward") == {
        (1, 0, 0): USEFUL, (1, 1, 1): WASTED, (2, 1, 0): USEFUL,
        (1, 2, 1): USEFUL, (1, 3, 2): ABANDONED, (2, 3, 1): USEFUL,
    }  # fmt: skip
    assert fate_of(trace, "draft") == {(0, 0, 1): WASTED, (0, 1, 2): WASTED, (0, 2, 2): USEFUL, (0, 3, 3): ABANDONED}
    assert set(fate_of(trace, "verify").values()) == {USEFUL}
    assert [(s, c, p) for s, c, p, _ in rejections(trace)] == [(0, 1, 1)]


def test_verifications_behind_a_rejection_are_wasted_with_a_lag() -> None:
    """Lag 2, n = 2: verdicts computed but not yet delivered when a rejection arrives go with the flush."""
    trace = play(machine(Layout(2, verification_lag=2)), "ARA")
    verified = fate_of(trace, "verify")
    assert sorted(p for (_, c, p), fate in verified.items() if fate == USEFUL and c >= 0) == [1, 2, 3]
    assert WASTED in verified.values()


def test_a_cycle_that_waits_for_the_draft_says_so() -> None:
    """Stages of 2 s, drafts of 3 s, n = 2: a steady cycle is 3 s, and the step `draft` costs a third."""
    report = summarize(play(machine(Layout(2), forward=2, draft=3), "A" * 50))
    assert report.cycle_s is not None and report.cycle_s.full_mean == pytest.approx(3.0)
    factors = {step.step: step.factor for step in report.waterfall}
    assert factors["draft"] == pytest.approx(2 / 3, rel=0.02)
    stage = report.workers[1]
    assert stage.idle_by_cause["draft"] == pytest.approx(1 / 3, rel=0.05)


def test_an_uneven_cut_costs_what_the_slowest_stage_takes_longer() -> None:
    """Stages of 1, 1, 4 s: the cycle is 4 s where the mean stage is 2 s."""
    report = summarize(play(machine(Layout(3), forward=[1, 1, 4]), "A" * 60))
    factors = {step.step: step.factor for step in report.waterfall}
    assert factors["imbalance"] == pytest.approx(0.5, rel=0.03)
    assert report.workers[1].idle_by_cause["slower_stage"] == pytest.approx(0.75, rel=0.05)


def test_the_lm_head_off_the_stages_is_a_gain_and_verify_a_loss() -> None:
    """n = 4, stages of 2 s, LM head 4 s: plain 12 s a token; a cycle 6 s."""
    report = summarize(play(machine(Layout(4), forward=2, verify=4), "A" * 100))
    factors = {step.step: step.factor for step in report.waterfall}
    assert factors["lm_head_off_stages"] == pytest.approx(12 / 8)
    assert factors["verify"] == pytest.approx(2 / 6, rel=0.05)
    assert report.baselines[0].time_per_token_s == pytest.approx(12.0)


def test_links_and_host_are_told_apart() -> None:
    """A hop of 0.5 s and bookkeeping of 0.25 s, both exposed in every full cycle."""
    report = summarize(play(machine(Layout(2), forward=1, hop=0.5, commit=0.25), "A" * 100))
    shares = {s.parameter: s.time_per_token_change_fraction for s in report.sensitivities}
    # A cycle: forward 1, hop 0.5, verify 0, hop 0.5; the commit is beside the way of the verdict.
    assert shares["link"] == pytest.approx(0.01 * 1.0 / 2.0, rel=0.05)
    assert report.workers[0].idle_by_cause["host"] == pytest.approx(0.25 / 2.0, rel=0.05)


def test_the_plain_pipeline_adds_the_hops_between_stages() -> None:
    """n = 3, hop 0.5 s, posting 0.25 s: two hops a token."""
    report = summarize(play(machine(Layout(3), forward=1, hop=0.5, post=0.25), "A" * 20))
    times = {baseline.name: baseline.time_per_token_s for baseline in report.baselines}
    assert times[ONE_DEVICE] == pytest.approx(3.0)
    assert times[PLAIN_PIPELINE] == pytest.approx(3.0 + 2 * 0.75)


def test_the_headline_is_over_the_baseline_of_the_header() -> None:
    """Where the model does not fit one device, plain decoding on one is listed as hypothetical."""
    trace = play(machine(Layout(3), forward=1, hop=0.5), "AAA")
    trace.header = replace(trace.header, baseline=PLAIN_PIPELINE)
    report = summarize(trace)
    assert report.speedup is not None and report.speedup.over == PLAIN_PIPELINE == report.baselines[0].name
    assert report.speedup.mean == pytest.approx(report.baselines[0].speedup)
    assert "hypothetical" in report.baselines[1].note


def test_break_even_is_the_acceptance_at_which_spd_equals_plain_decoding() -> None:
    """A run at the reported acceptance has a speedup of one."""
    slow = machine(Layout(4), forward=1, draft=0.5, verify=0.5, hop=0.2)
    at = summarize(run(slow, 200, 20)).break_even_acceptance
    assert at is not None and 0.0 < at < 1.0
    report = summarize(run(slow, 300, 25, Bernoulli(at)))
    assert report.speedup is not None and report.speedup.mean == pytest.approx(1.0, abs=0.03)


def test_sensitivities_see_through_a_shared_device() -> None:
    """Two stages on one device, by turns or side by side: 1 % more a stage is 1 % more a token."""
    ways: tuple[Sharing, ...] = ("turns", "bandwidth")
    for sharing in ways:
        report = summarize(play(machine(Layout(2), Place([0, 1, 1], sharing), forward=3, draft=1), "A" * 40))
        found = {s.parameter: s.time_per_token_change_fraction for s in report.sensitivities}
        assert found["stage"] == pytest.approx(0.01, rel=1e-3)


def test_the_prefill_of_the_draft_module_is_no_refill() -> None:
    """It lies in the first cycle of decoding, and is paid once, not with every rejection."""
    plain = machine(Layout(4), forward=1, draft=0.5)
    slow_start = replace(plain, tasks={**plain.tasks, (0, "prefill"): Duration(Constant(20.0))})
    before, after = (summarize(run(m, 64, 5, Bernoulli(0.8))) for m in (plain, slow_start))
    assert after.break_even_acceptance == pytest.approx(before.break_even_acceptance, abs=1e-9)
    assert after.time_per_token_s is not None and before.time_per_token_s is not None
    assert after.time_per_token_s.mean > before.time_per_token_s.mean


def test_a_run_that_takes_no_time_has_no_figures_of_decoding() -> None:
    """A profile of zeros is allowed, and divides nothing by zero."""
    report = summarize(play(machine(Layout(2), forward=0), "AA"))
    assert report.speedup is None and report.tokens_per_s is None and report.waterfall == ()


def test_break_even_says_when_there_is_none() -> None:
    """A cycle longer than a plain token never pays; equal stages and all else free pay always."""
    never = summarize(run(machine(Layout(2), forward=1, draft=9)))
    assert never.break_even_acceptance is None and "none" in never.break_even_note
    always = summarize(run(machine(Layout(2), forward=1)))
    assert always.break_even_acceptance == 0.0
    assert summarize(run(machine(Layout(1)))).break_even_acceptance is None


def test_figures_that_do_not_exist_are_none() -> None:
    """K = 1: only the time to the first token is known, and the law, which is of the scenario."""
    trace = run(machine(Layout(4), prefill=1.0), 1)
    trace.header = replace(trace.header, mean_acceptance=0.8)
    document = summarize(trace).to_document()
    assert document["closed_form_speedup"] == pytest.approx(2.5)
    for key in (
        "tokens_per_s",
        "time_per_token_s",
        "speedup",
        "tokens_per_cycle",
        "equivalent_accept_length",
        "cycle_s",
    ):
        assert document[key] is None
    assert document["time_to_first_token_s"]["mean"] == pytest.approx(4.0)
    assert document["waterfall"] == document["workers"] == ()


def test_plain_decoding_is_the_pipeline_of_one_stage() -> None:
    """n = 1 has a speedup of one, no acceptance, and one worker that is always busy."""
    report = summarize(run(machine(Layout(1), forward=2, verify=1), 30))
    assert report.speedup is not None and report.speedup.mean == pytest.approx(1.0)
    assert report.measured_acceptance is None and report.num_cycles == 29
    assert report.workers[0].useful_fraction == pytest.approx(1.0)


def test_percentiles_see_the_rejections() -> None:
    """n = 4, a cycle a second: a token takes 1 s, or 4 s after a rejection."""
    report = summarize(play(machine(Layout(4)), "A" * 30 + "R" * 5 + "A" * 30))
    assert report.time_per_token_s is not None
    assert (report.time_per_token_s.p50, report.time_per_token_s.p99) == pytest.approx((1.0, 4.0))
    assert report.time_per_token_s.mean == pytest.approx((65 + 3 * 6) / 65)


def test_names_of_steps_and_causes_are_those_promised() -> None:
    """In the promised order."""
    report = summarize(run(machine(Layout(3), Place([0, 1, 1, 2]), forward=1, draft=0.5, verify=0.2), 20))
    assert tuple(step.step for step in report.waterfall) == STEPS
    assert all(tuple(worker.idle_by_cause) == CAUSES for worker in report.workers)
    assert any(worker.idle_by_cause["shared_device"] > 0 for worker in report.workers)


def test_a_report_does_not_depend_on_the_pieces_in_which_the_trace_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """One sequence at a time, or all at once; some of them end with their first token."""
    m = machine(Layout(3), Place([0, 1, 1, 2]), forward=1, draft=0.5, verify=0.2, hop=0.1, commit=0.05, prefill=1)
    trace = empty_trace(m)
    for number, length in enumerate((20, 1, 7, 30)):
        Engine(m, trace).decode(Request(number, length, toss(Bernoulli(0.7), 0, number, length + 4)))
    whole = summarize(trace).to_document()
    monkeypatch.setattr("spdsim.analysis.digest._PIECE_SPANS", 1)
    assert_close(summarize(trace).to_document(), whole)


def assert_close(got: object, wanted: object) -> None:
    """Compare documents; sums in another order may differ in their last digits."""
    match wanted:
        case dict():
            assert isinstance(got, dict) and got.keys() == wanted.keys()
            for key in wanted:
                assert_close(got[key], wanted[key])
        case tuple() | list():
            assert isinstance(got, (tuple, list)) and len(got) == len(wanted)
            for one, other in zip(got, wanted, strict=True):
                assert_close(one, other)
        case float():
            assert got == pytest.approx(wanted, rel=1e-9, abs=1e-12)
        case _:
            assert got == wanted


def test_a_trace_without_a_first_token_is_refused() -> None:
    """Nothing to report is an error, not a report of nothing."""
    m = machine(Layout(2))
    with pytest.raises(TraceError, match="no span"):
        summarize(empty_trace(m))
    headless = empty_trace(m)
    headless.begin_sequence()
    headless.record(headless.site_id(Site(1, "forward")), 0, 0, 0.0, 1.0)
    with pytest.raises(TraceError, match="first token is missing"):
        summarize(headless)
