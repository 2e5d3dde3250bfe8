"""Asynchronous two-party drafting: rounds counted by hand, free running tick by tick, and its closed forms."""

from itertools import product

import pytest

from spdsim.acceptance import Bernoulli
from spdsim.schedules import asynchronous
from spdsim.schedules.asynchronous import Layout
from spdsim.schedules.grid import Script
from tests.rivals import decode_s, machine, num_cycles, run, scripts
from tests.test_rounds import tokens_of_a_round

WINDOWS = [1, 2, 3, 5]


def rounds_of(letters: str, window: int, *, pre_verify: bool) -> int:
    """Count rounds by hand: verdict i after a rejection comes in round 1 + ceil((i - 1) / L), or 1 + ceil(i / L).

    The first of the two where the first draft of a window is verified in its own round.
    """
    runs = letters.replace("R", "R ").split()
    return sum(1 + -(-(len(run) - pre_verify) // window) for run in runs)


def free_running_ticks(letters: str, window: int) -> int:
    """Return the drafts' times that it takes two parties that never wait; a pass takes `window` of them.

    At each tick a draft is done. The target begins a pass as soon as it is free, over all that is drafted then, and
    the pass gives a verdict on each of those and on the token after them.
    """
    tick, committed, drafted, begun, reaches = 0, 0, 0, 0, 1
    while committed < len(letters):
        tick += 1
        drafted += 1
        if tick - begun < window:
            continue
        looked_at = letters[committed:reaches]
        rejected_at = looked_at.find("R")
        if rejected_at >= 0:
            committed = drafted = committed + rejected_at + 1
        else:
            committed += len(looked_at)
        begun, reaches = tick, drafted + 1
    return tick


def token_s(acceptance: float, window: int, draft_s: float, target_s: float, *, pre_verify: bool = True) -> float:
    """Mean seconds of a token in a long run: the rounds of a run of drafts that a rejection ends, over its tokens.

    P(a run has more than j drafts accepted) = p^j; in a run of a accepted drafts the rejection is verdict a + 1, so
    with pre-verification the rounds are 1 + E[ceil(a / L)] = 1 + p / (1 - p^L), and without it, after a round in which
    the target has nothing to do, E[floor(a / L) + 1] = 1 / (1 - p^L).
    """
    p, round_s = acceptance, max(target_s, window * draft_s)
    if p == 1.0:
        return round_s / window
    if pre_verify:
        return (1.0 - p) * round_s * (1.0 + p / (1.0 - p**window))
    return (1.0 - p) * (window * draft_s + round_s / (1.0 - p**window))


@pytest.mark.parametrize("pre_verify", [True, False])
@pytest.mark.parametrize("window", WINDOWS)
def test_rounds_are_those_counted_by_hand_for_every_verdict_string(window: int, pre_verify: bool) -> None:
    """A rejection costs the rest of a window; without pre-verification also the round that makes the next one."""
    for length in range(9):
        for letters in map("".join, product("AR", repeat=length)):
            layout = Layout(window, pre_verify)
            assert num_cycles(asynchronous, layout, Script(letters)) == rounds_of(
                letters, window, pre_verify=pre_verify
            )


@pytest.mark.parametrize("window", WINDOWS)
def test_free_running_is_pre_verification_with_a_window_of_as_many_drafts_as_a_pass_takes(window: int) -> None:
    """Tick by tick: where the ratio is whole, two parties that never wait do what rounds do, in the same time."""
    one = machine(asynchronous, Layout(window), draft=1.0, forward=float(window))
    for length in range(1, 7):
        for letters in map("".join, product("AR", repeat=length)):
            assert decode_s(one, Script(letters)) == free_running_ticks(letters, window), letters


@pytest.mark.parametrize("pre_verify", [True, False])
@pytest.mark.parametrize(("draft_s", "target_s"), [(0.25, 1.0), (0.25, 0.5), (0.125, 2.0)])
def test_a_round_is_the_longer_of_window_and_pass(pre_verify: bool, draft_s: float, target_s: float) -> None:
    """Only a round in which nothing can be verified yet is as long as its drafts."""
    window = 3
    # The LM head's part of a pass needs no draft, so it runs beside the window, too.
    head_s = 0.0625
    one = machine(asynchronous, Layout(window, pre_verify), draft=draft_s, forward=target_s - head_s, verify=head_s)
    for script in scripts(6):
        letters = "".join("A" if script.accepts(position, 1) else "R" for position in range(1, script.num_tokens))
        rounds, runs = rounds_of(letters, window, pre_verify=pre_verify), letters.replace("R", "R ").split()
        idle = 0 if pre_verify else len(runs)
        time_s = (rounds - idle) * max(target_s, window * draft_s) + idle * window * draft_s
        assert decode_s(one, script) == time_s


@pytest.mark.parametrize("pre_verify", [True, False])
@pytest.mark.parametrize("acceptance", [0.0, 0.6, 0.9, 1.0])
def test_the_long_run_is_the_closed_form(acceptance: float, pre_verify: bool) -> None:
    """By renewal at each rejection, with the run's own acceptance."""
    one = machine(asynchronous, Layout(4, pre_verify), draft=0.25, forward=1.5)
    report = run(one, 3000, Bernoulli(acceptance))
    assert report.measured_acceptance == pytest.approx(acceptance, abs=0.03)
    assert report.time_per_token_s is not None and report.measured_acceptance is not None
    law_s = token_s(report.measured_acceptance, 4, 0.25, 1.5, pre_verify=pre_verify)
    assert report.time_per_token_s.mean == pytest.approx(law_s, rel=0.01)


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("draft_s", [0.125, 0.25, 0.5])
def test_the_speedup_is_never_more_than_target_time_over_draft_time(window: int, draft_s: float) -> None:
    """With all accepted a token takes max(t_draft, T / window): no window makes the target faster than the drafts."""
    one = machine(asynchronous, Layout(window), draft=draft_s, forward=1.0)
    report = run(one, 40 * window + 1, Bernoulli(1.0))
    assert report.time_per_token_s is not None
    assert report.time_per_token_s.mean == pytest.approx(max(draft_s, 1.0 / window), rel=0.03)
    assert report.time_per_token_s.mean >= draft_s


def test_a_window_that_fills_a_pass_is_never_slower_than_the_same_drafts_one_after_the_other() -> None:
    """On average, with pre-verification, L t_draft = T and any acceptance, against tau / (L t_draft + T)."""
    for window in range(1, 30):
        for percent in range(101):
            sequential_s = 2.0 / tokens_of_a_round(percent / 100, window)
            assert token_s(percent / 100, window, 1.0 / window, 1.0) <= sequential_s + 1e-12


def test_a_drafter_that_is_much_faster_than_its_window_needs_can_be_better_off_waiting() -> None:
    """No law without that condition: a pass that verifies one draft ahead is a whole pass for one token."""
    assert token_s(0.9, 4, 0.01, 1.0) > (1.0 + 4 * 0.01) / tokens_of_a_round(0.9, 4)


def test_pre_verification_is_never_slower_where_the_window_fills_a_pass() -> None:
    """It uses a round in which the target has nothing else to do."""
    for window in WINDOWS:
        for letters in map("".join, product("AR", repeat=9)):
            assert rounds_of(letters, window, pre_verify=True) <= rounds_of(letters, window, pre_verify=False)


def test_stages_of_a_target_work_one_after_another_beside_the_drafter() -> None:
    """A pass is all stages and the hops between them; the drafter hears of it a hop later."""
    hop_s = 0.125
    one = machine(asynchronous, Layout(2, num_stages=3), hop_s, draft=0.25, forward=1.0, verify=0.0625)
    for script in scripts(5):
        cycles = num_cycles(asynchronous, Layout(2, num_stages=3), script)
        # Every round: three stages, two hops, verification, and the hop of the verdict to the first stage.
        assert decode_s(one, script) == cycles * (3 * 1.0 + 2 * hop_s + 0.0625 + hop_s)


def test_drafts_are_tossed_with_how_far_they_are_ahead_of_what_is_committed() -> None:
    """A draft of a window made over another, unverified one is a deeper draft."""

    class Depths(Script):
        def accepts(self, position: int, fill_depth: int) -> bool:
            asked.append((position, fill_depth))
            return super().accepts(position, fill_depth)

    asked: list[tuple[int, int]] = []
    num_cycles(asynchronous, Layout(2, pre_verify=False), Depths("AARAA"))
    assert asked == [(1, 1), (2, 2), (3, 3), (4, 4), (5, 3), (6, 4), (4, 1), (5, 2), (6, 3), (7, 4)]
