"""PPSD: cycles as SPD has them, with the draft in series with the first stage."""

import pytest

from spdsim import theory
from spdsim.acceptance import Bernoulli
from spdsim.schedules import ppsd
from spdsim.schedules.grid import Script
from tests.rivals import decode_s, machine, num_cycles, run, scripts, states


@pytest.mark.parametrize("num_stages", [2, 3, 5])
def test_cycles_are_those_of_spd_for_every_verdict_string(num_stages: int) -> None:
    """C(K) = (K - 1) + (n - 1)(R + 1), and none for one token."""
    for length in range(8):
        for script in scripts(length):
            verdicts = [script.accepts(position, 1) for position in range(1, length + 1)]
            cycles = theory.cycles(length + 1, verdicts[:-1].count(False), num_stages)
            assert num_cycles(ppsd, ppsd.Layout(num_stages), script) == cycles


@pytest.mark.parametrize("num_stages", [2, 4])
def test_a_cycle_is_the_first_stage_and_its_head(num_stages: int) -> None:
    """Where the last stage's verification does not take longer; the last verdict needs no more drafts."""
    stage_s, head_s, verify_s = 1.0, 0.25, 0.125
    one = machine(ppsd, ppsd.Layout(num_stages), forward=stage_s, draft=head_s, verify=verify_s)
    for script in scripts(5):
        cycles = num_cycles(ppsd, ppsd.Layout(num_stages), script)
        assert decode_s(one, script) == cycles * (stage_s + head_s)


def test_a_slow_verification_sets_the_pace_of_full_cycles_instead() -> None:
    """A cycle is the longer of the two ends of the pipeline; fill cycles verify nothing."""
    layout = ppsd.Layout(3)
    one = machine(ppsd, layout, forward=1.0, draft=0.25, verify=0.5)
    for script in scripts(5):
        full = [state.is_full for state, _ in states(ppsd, layout, script) if state.cycle >= 0]
        assert decode_s(one, script) == sum(1.5 if is_full else 1.25 for is_full in full)


def test_the_long_run_speedup_is_spds_with_the_head_in_the_cycle() -> None:
    """S = n / (1 + (1 - p)(n - 1)) x t_stage / (t_stage + t_head); the report's law is the first factor."""
    n, p, head_s = 4, 0.7, 0.25
    one = machine(ppsd, ppsd.Layout(n), forward=1.0, draft=head_s)
    report = run(one, 3000, Bernoulli(p))
    assert report.time_per_token_s is not None and report.closed_form_speedup is not None
    assert report.closed_form_speedup == pytest.approx(theory.speedup(n, p), rel=0.03)
    assert n / report.time_per_token_s.mean == pytest.approx(theory.speedup(n, p) / (1.0 + head_s), rel=0.03)


@pytest.mark.parametrize("num_stages", [3, 4])
def test_a_rejected_draft_costs_what_a_token_takes_in_a_plain_pipeline(num_stages: int) -> None:
    """All stages and their hops, and the hop by which the first stage hears of the verdict.

    With two stages a hidden state and a draft cross the same link.
    """
    hop_s = 0.125
    one = machine(ppsd, ppsd.Layout(num_stages), hop_s, forward=1.0)
    assert decode_s(one, Script("RRRR")) == 4 * num_stages * (1.0 + hop_s)
