"""Speculation on the outcome of a speculation: its law, and rounds added up by hand."""

import pytest

from spdsim.acceptance import Bernoulli, Coins, toss
from spdsim.schedules import prepared, rounds
from spdsim.schedules.grid import Script
from spdsim.schedules.prepared import Layout, Outcome
from tests.rivals import decode_s, machine, num_cycles, run, scripts, states
from tests.test_rounds import tokens_of_a_round


def ready(layout: Layout, script: Script) -> list[bool]:
    """Return for each round whether it was prepared for."""
    return [state.is_ready for state, _ in states(prepared, layout, script) if state.cycle >= 0 and not state.outcome]


@pytest.mark.parametrize("draft_s", [0.25, 0.5])
@pytest.mark.parametrize(
    "layout", [Layout(3, 0.5, 2), Layout(3, 0.5, 2, free_backup=True), Layout(1, 0.5, 0), Layout(2, 0.5, 4)]
)
def test_a_round_prepares_while_the_target_verifies_and_drafts_first_after_a_miss(
    layout: Layout, draft_s: float
) -> None:
    """max(T, T_p) after a hit, T_b + max(T, T_p) after a miss, for every string of verdicts."""
    one = machine(prepared, layout, draft=draft_s, forward=1.0)
    backup_s = 0.0 if layout.free_backup else layout.backup_tokens * draft_s
    step_s = max(1.0, layout.draft_tokens * draft_s)
    for script in scripts(5):
        assert decode_s(one, script) == sum(step_s + (not hit) * backup_s for hit in ready(layout, script))


def test_the_round_after_a_hit_has_the_prepared_drafts_and_the_others_the_backups() -> None:
    """The first round, of which nobody could know, is one of the others."""
    script, layout = Script("A" * 19, "YNYYYY"), Layout(4, 0.5, 1)
    assert ready(layout, script) == [False, True, False, True, True]
    outcomes = [outcome for _, outcome in states(prepared, layout, script) if outcome is not None]
    assert [outcome.num_accepted for outcome in outcomes] == [1, 4, 1, 4, 4]


@pytest.mark.parametrize("hit_rate", [0.0, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("draft_s", [0.1, 0.4])
def test_the_long_run_speedup_is_the_closed_form(hit_rate: float, draft_s: float) -> None:
    """S = [h E_hit + (1 - h) E_miss] / [h max(1, T_p) + (1 - h)(T_b + max(1, T_p))], in target steps.

    For T_p <= 1 the last is the paper's 1 + T_b (arXiv:2603.03251).
    """
    layout = Layout(4, hit_rate, 2)
    report = run(machine(prepared, layout, draft=draft_s, forward=1.0), 3000, Bernoulli(0.7))
    acceptance = report.measured_acceptance
    assert report.speedup is not None and acceptance is not None
    assert acceptance == pytest.approx(0.7, abs=0.03)
    step, backup = max(1.0, 4 * draft_s), 2 * draft_s
    tokens = hit_rate * tokens_of_a_round(acceptance, 4) + (1.0 - hit_rate) * tokens_of_a_round(acceptance, 2)
    law = tokens / (hit_rate * step + (1.0 - hit_rate) * (backup + step))
    assert report.speedup.mean == pytest.approx(law, rel=0.02)


def test_without_a_hit_it_is_draft_then_verify_with_the_backup() -> None:
    """What is prepared in the meantime is of no use and takes no time as long as it is no longer than a pass."""
    times_s = {"draft": 0.25, "forward": 1.0}
    one, other = machine(prepared, Layout(4, 0.0, 2), **times_s), machine(rounds, rounds.Layout(2), **times_s)
    for script in scripts(6):
        never = Script("".join("A" if script.accepts(at, 1) else "R" for at in range(1, 7)), "N" * 9)
        assert decode_s(one, never) == decode_s(other, never)


def test_it_is_never_slower_than_draft_then_verify_of_the_same_drafts_where_preparing_fits_a_pass() -> None:
    """With the drafter as its own backup, a hit saves its drafts and a miss costs nothing."""
    times_s = {"draft": 0.25, "forward": 1.0}
    one, other = machine(prepared, Layout(3, 0.5, 3), **times_s), machine(rounds, rounds.Layout(3), **times_s)
    for script in scripts(6):
        assert decode_s(one, script) <= decode_s(other, script)


def test_hits_are_coins_of_their_own_with_the_rate_that_is_asked_for() -> None:
    """Keyed by seed, sequence, name and place, whatever the verdicts are; none at rate 0, always at rate 1."""
    coins = toss(Bernoulli(0.5), 3, 7, 4000)
    again = toss(Bernoulli(0.9), 3, 7, 10)
    hits = [coins.event("hit", index) for index in range(4000)]
    assert hits == [again.event("hit", index) for index in range(4000)]
    assert all(0.0 <= hit < 1.0 for hit in hits)
    assert sum(hit < 0.3 for hit in hits) / 4000 == pytest.approx(0.3, abs=0.03)
    verdicts = coins.fixed or []
    accepted = [hit for hit, verdict in zip(hits, verdicts, strict=True) if verdict]
    assert sum(hit < 0.3 for hit in accepted) / len(accepted) == pytest.approx(0.3, abs=0.04)
    others = [toss(Bernoulli(0.5), *key, 10).event("hit", 0) for key in ((3, 8), (4, 7))]
    assert len({hits[0], *others, coins.event("other", 0), Coins([True]).event("hit", 0)}) == 5


def test_an_outcome_says_what_became_of_its_round() -> None:
    """In the grid's last column."""
    assert [str(Outcome(2, is_hit)) for is_hit in (True, False)] == ["2 accepted, hit", "2 accepted, miss"]
    assert num_cycles(prepared, Layout(2, 0.5, 2), Script("")) == 0
