"""DSI: the bound of its paper, reached, and a slow simulation of threads that knows nothing of cycles."""

import heapq
from itertools import product

import pytest

from spdsim import theory
from spdsim.acceptance import Bernoulli
from spdsim.schedules import asynchronous, dsi
from spdsim.schedules.dsi import Layout
from spdsim.schedules.grid import Script
from tests.rivals import decode_s, machine, num_cycles, run, scripts

DRAFT_S = 1.0
SIZES = [(2, 1), (3, 1), (5, 1), (2, 2), (2, 3), (3, 2)]


def strings(length: int) -> list[str]:
    """All that can happen to `length` drafts."""
    return ["".join(letters) for letters in product("AR", repeat=length)]


def cycles_of(letters: str, replicas: int, lookahead: int) -> int:
    """Count cycles by hand: verdict i after a rejection is that of pass ceil((i - 1) / L), which takes k cycles."""
    return sum(replicas + -(-(len(run) - 1) // lookahead) for run in letters.replace("R", "R ").split())


def by_threads(letters: str, target_s: float, replicas: int, lookahead: int = 1) -> float:
    """Return the seconds of DSI with threads that start, are killed and end whenever they do.

    The drafter runs on; a pass begins with the first token, and whenever there are as many drafts more as the
    lookahead, and gives the verdicts up to the draft after them; a rejection kills all passes of younger tokens and the
    drafter, which begins again from the corrected token, as does a pass over it.
    """
    now_s, base, newest, verified, epoch, running = 0.0, 0, 0, 0, 0, 1
    # Time, kind (a verdict comes before a draft of the same time), the last position of it, epoch.
    events = [(target_s, 0, 1, epoch), (DRAFT_S, 1, 1, epoch)]
    while verified < len(letters):
        now_s, kind, last, born = heapq.heappop(events)
        if born != epoch:
            continue
        if kind == 1:
            newest = last
            heapq.heappush(events, (now_s + DRAFT_S, 1, newest + 1, epoch))
            if (newest - base) % lookahead == 0:
                running += 1
                # A pass that ends at this very moment makes room.
                assert running <= replicas + 1
                heapq.heappush(events, (now_s + target_s, 0, newest + 1, epoch))
            continue
        running -= 1
        while verified < min(last, len(letters)) and letters[verified] == "A":
            verified += 1
        if verified < min(last, len(letters)):
            verified += 1
            base = newest = verified
            epoch, running = epoch + 1, 1
            heapq.heappush(events, (now_s + target_s, 0, base + 1, epoch))
            heapq.heappush(events, (now_s + DRAFT_S, 1, base + 1, epoch))
    return now_s


@pytest.mark.parametrize(("replicas", "lookahead"), SIZES)
def test_cycles_are_those_counted_by_hand_for_every_verdict_string(replicas: int, lookahead: int) -> None:
    """A rejection costs the cycles of a whole pass; what follows it comes a lookahead a cycle."""
    for length in range(8):
        for letters in strings(length):
            cycles = num_cycles(dsi, Layout(replicas, lookahead), Script(letters))
            assert cycles == cycles_of(letters, replicas, lookahead)
            if lookahead == 1:
                assert cycles == theory.cycles(length + 1, letters[:-1].count("R"), replicas)


@pytest.mark.parametrize(("replicas", "lookahead"), SIZES)
def test_time_is_that_of_free_threads_for_every_verdict_string(replicas: int, lookahead: int) -> None:
    """Exactly, where a pass takes as many drafts as there are replicas, times the lookahead."""
    one = machine(dsi, Layout(replicas, lookahead), forward=lookahead * DRAFT_S, draft=DRAFT_S)
    for letters in strings(6):
        threads_s = by_threads(letters, replicas * lookahead * DRAFT_S, replicas, lookahead)
        assert decode_s(one, Script(letters)) == threads_s, letters


@pytest.mark.parametrize("acceptance", [0.0, 0.3, 0.9, 1.0])
@pytest.mark.parametrize("replicas", [2, 4])
def test_the_expected_time_is_the_bound_of_the_paper(acceptance: float, replicas: int) -> None:
    """E[time] <= t_d p (N - 1) + t_t ((1 - p)(N - 1) + 1) (arXiv:2405.14105), N tokens after the first here."""
    num_decoded, target_s = 6, replicas * DRAFT_S
    expected_s = 0.0
    for letters in strings(num_decoded):
        accepted = letters.count("A")
        chance = acceptance**accepted * (1.0 - acceptance) ** (num_decoded - accepted)
        expected_s += chance * num_cycles(dsi, Layout(replicas), Script(letters)) * DRAFT_S
    p, others = acceptance, num_decoded - 1
    assert expected_s == pytest.approx(DRAFT_S * p * others + target_s * ((1.0 - p) * others + 1.0))


@pytest.mark.parametrize("target_s", [1.5, 2.5, 2.9])
def test_a_pass_of_no_whole_number_of_drafts_is_slower_than_threads_by_less_than_a_draft_a_rejection(
    target_s: float,
) -> None:
    """The drafter finishes what it has begun, so a pass counts as the next whole number of drafts at most."""
    replicas = 3 if target_s > 2.0 else 2
    one = machine(dsi, Layout(replicas), forward=target_s / replicas, draft=DRAFT_S)
    for letters in strings(6):
        lost_s = decode_s(one, Script(letters)) - by_threads(letters, target_s, replicas)
        assert -1e-9 <= lost_s < (letters.count("R") + 1) * (replicas * DRAFT_S - target_s) + 1e-9


def test_with_fewer_replicas_than_drafts_in_a_pass_the_drafter_waits_for_them() -> None:
    """Two replicas give two lookaheads of tokens a pass at most, however fast the drafter is."""
    one = machine(dsi, Layout(2, 2), forward=1.0, draft=0.125)
    for script in scripts(5):
        assert decode_s(one, script) == num_cycles(dsi, Layout(2, 2), script) * 1.0


@pytest.mark.parametrize("lookahead", [1, 3])
def test_the_long_run_is_the_closed_form(lookahead: int) -> None:
    """(1 - p) M (k + p / (1 - p^L)) a token, M = max(L t_d, t_t / k): that of one party, with k rounds for one."""
    k = 2
    one = machine(dsi, Layout(k, lookahead), forward=2.0, draft=DRAFT_S)
    report = run(one, 3000, Bernoulli(0.8))
    p = report.measured_acceptance
    assert report.time_per_token_s is not None and p is not None
    assert p == pytest.approx(0.8, abs=0.03)
    law_s = (1.0 - p) * max(lookahead * DRAFT_S, 2.0) * (k + p / (1.0 - p**lookahead))
    assert report.time_per_token_s.mean == pytest.approx(law_s, rel=0.01)


def test_replicas_make_up_for_what_a_window_gives_away() -> None:
    """One target verifies a window at a time; with k of them, and windows k times shorter, nothing comes later."""
    for letters in strings(8):
        alone = 6 * num_cycles(asynchronous, asynchronous.Layout(6), Script(letters))
        for replicas in (2, 3):
            assert 6 // replicas * num_cycles(dsi, Layout(replicas, 6 // replicas), Script(letters)) <= alone
