"""DSI: the bound of its paper, reached, and a slow simulation of threads that knows nothing of cycles."""

import heapq
from itertools import product

import pytest

from spdsim import theory
from spdsim.schedules import dsi
from spdsim.schedules.grid import Script
from tests.rivals import decode_s, machine, num_cycles, scripts

DRAFT_S = 1.0


def by_threads(letters: str, target_s: float, replicas: int) -> float:
    """Return the seconds of DSI with threads that start, are killed and end whenever they do.

    The drafter runs on; as soon as a token is there a pass begins that gives the verdict on the next one; a rejection
    kills every pass of a token that is younger, and the drafter, which begins again from the corrected token.
    """
    now_s, newest, verified, epoch = 0.0, 0, 0, 0
    events = [(DRAFT_S, 1, "drafted", 1, 0), (target_s, 0, "verdict", 1, 0)]
    running = {1}
    while verified < len(letters):
        now_s, _, kind, position, born = heapq.heappop(events)
        if kind == "verdict" and (position not in running or born != epoch):
            continue
        if kind == "drafted":
            if born != epoch:
                continue
            newest = position
        else:
            running.discard(position)
            verified = position
            if letters[position - 1] == "A" and newest >= position:
                continue
            # The target's token is there: all that was built on the draft is killed.
            newest, epoch = position, epoch + 1
            running.clear()
        running.add(newest + 1)
        assert len(running) <= replicas
        heapq.heappush(events, (now_s + target_s, 0, "verdict", newest + 1, epoch))
        heapq.heappush(events, (now_s + DRAFT_S, 1, "drafted", newest + 1, epoch))
    return now_s


@pytest.mark.parametrize("replicas", [2, 3, 5])
def test_cycles_are_those_of_a_pipeline_of_replicas_for_every_verdict_string(replicas: int) -> None:
    """A rejected draft costs a whole pass, which is as many cycles as there are replicas; an accepted one costs one."""
    for length in range(8):
        for script in scripts(length):
            verdicts = [script.accepts(position, 1) for position in range(1, length + 1)]
            cycles = theory.cycles(length + 1, verdicts[:-1].count(False), replicas)
            assert num_cycles(dsi, dsi.Layout(replicas), script) == cycles


@pytest.mark.parametrize("replicas", [2, 3, 4])
def test_time_is_that_of_free_threads_for_every_verdict_string(replicas: int) -> None:
    """Exactly, where a pass takes as many drafts as there are replicas."""
    one = machine(dsi, dsi.Layout(replicas), forward=DRAFT_S, draft=DRAFT_S)
    for length in range(1, 7):
        for letters in map("".join, product("AR", repeat=length)):
            assert decode_s(one, Script(letters)) == by_threads(letters, replicas * DRAFT_S, replicas), letters


@pytest.mark.parametrize("acceptance", [0.0, 0.3, 0.9, 1.0])
@pytest.mark.parametrize("replicas", [2, 4])
def test_the_expected_time_is_the_bound_of_the_paper(acceptance: float, replicas: int) -> None:
    """E[time] <= t_d p (N - 1) + t_t ((1 - p)(N - 1) + 1) (arXiv:2405.14105), N tokens after the first here."""
    layout, num_decoded = dsi.Layout(replicas), 6
    target_s = replicas * DRAFT_S
    expected_s = 0.0
    for letters in map("".join, product("AR", repeat=num_decoded)):
        accepted = letters.count("A")
        chance = acceptance**accepted * (1.0 - acceptance) ** (num_decoded - accepted)
        expected_s += chance * num_cycles(dsi, layout, Script(letters)) * DRAFT_S
    p, others = acceptance, num_decoded - 1
    assert expected_s == pytest.approx(DRAFT_S * p * others + target_s * ((1.0 - p) * others + 1.0))


@pytest.mark.parametrize("target_s", [1.5, 2.5, 2.9])
def test_a_pass_of_no_whole_number_of_drafts_is_slower_than_threads_by_less_than_a_draft_a_rejection(
    target_s: float,
) -> None:
    """The drafter finishes what it has begun, so a pass counts as the next whole number of drafts at most."""
    replicas = 3 if target_s > 2.0 else 2
    one = machine(dsi, dsi.Layout(replicas), forward=target_s / replicas, draft=DRAFT_S)
    for letters in map("".join, product("AR", repeat=6)):
        free_s = by_threads(letters, target_s, replicas)
        lost_s = decode_s(one, Script(letters)) - free_s
        assert -1e-9 <= lost_s < (letters.count("R") + 1) * (replicas * DRAFT_S - target_s) + 1e-9


def test_with_fewer_replicas_than_drafts_in_a_pass_the_drafter_waits_for_them() -> None:
    """Two replicas give two tokens a pass at most, however fast the drafter is."""
    one = machine(dsi, dsi.Layout(2), forward=1.0, draft=0.125)
    for script in scripts(5):
        assert decode_s(one, script) == num_cycles(dsi, dsi.Layout(2), script) * 1.0
