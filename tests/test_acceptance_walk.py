"""How many tokens were in flight when a draft was made, and drafts looked up: as the schedule itself has it."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import pytest

from executor.acceptance.walk import walk
from spdsim import theory
from spdsim.acceptance_fit import Verdicts, fill_depths
from spdsim.acceptance_fit.shares import pace
from spdsim.schedules import spd
from spdsim.schedules.ops import Verdict
from spdsim.schedules.spd import Layout

LAYOUTS = [Layout(2), Layout(2, verification_lag=1), Layout(3), Layout(4, verification_lag=2), Layout(5)]


@dataclass
class Looked:
    """Coins that are looked up by the tokens in the stages, and the depths at which they were asked for."""

    right_by_fill: Sequence[Sequence[bool]]
    fixed: None = None

    def accepts(self, position: int, fill_depth: int) -> bool:
        """Return what is known of the draft for a position; beyond the text anything."""
        drafts = self.right_by_fill[min(fill_depth, len(self.right_by_fill)) - 1]
        return position > len(drafts) or drafts[position - 1]

    def event(self, name: str, index: int) -> float:
        """No other events are asked for."""
        raise AssertionError


def decoded(layout: Layout, coins: Looked, num_tokens: int) -> tuple[list[bool], int]:
    """Run the schedule itself; return the verdicts and the cycles after the prefill."""
    state, found = spd.start(layout, num_tokens), []
    judge = spd.judge(state, coins)
    while not state.is_done:
        verdict = judge.outcome(state)
        if verdict is not None and state.cycle >= 0:
            found.append(verdict.accepted)
        state = spd.advance(state, verdict)
    return found, state.cycle


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_a_draft_was_made_with_as_many_in_flight_as_the_schedule_has(layout: Layout) -> None:
    """For every string of seven verdicts."""
    for verdicts in product((True, False), repeat=7):
        made: dict[int, int] = {}
        state = spd.start(layout, len(verdicts) + 1)
        while not state.is_done:
            if state.in_flight:
                # A flushed draft is made again, at another depth: the last one is verified.
                made[state.in_flight[0] + 1] = state.fill_depth
            position = spd.verdict_position(state)
            accepted = position == 0 or position is None or verdicts[position - 1]
            state = spd.advance(state, None if position is None else Verdict(accepted))
        expected = [made[position] for position in range(1, len(verdicts) + 1)]
        assert fill_depths(verdicts, layout.capacity) == expected


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_walking_over_known_drafts_is_running_the_schedule(layout: Layout) -> None:
    """Whatever drafts are right at which depth; cycles are those of the closed form."""
    coins = random.Random(layout.capacity)
    for length in (0, 1, 2, 3, 30):
        for _ in range(12):
            right = [[coins.random() < 0.7 for _ in range(length)] for _ in range(layout.num_stages)]
            expected, cycles = decoded(layout, Looked(right), length + 1)
            assert list(walk(right, layout.num_stages, layout.verification_lag)) == expected
            rejections = expected[:-1].count(False)
            assert cycles == theory.cycles(length + 1, rejections, layout.num_stages, layout.verification_lag)
            if length:
                verdicts = Verdicts((tuple(expected), ()), layout.num_stages, layout.verification_lag)
                assert (pace(verdicts).num_cycles, pace(verdicts).num_tokens) == (cycles, length + 1)


def test_drafts_that_are_right_only_when_full_are_seldom_so() -> None:
    """With a wrong draft after each rejection the pipeline never fills."""
    right = [[False] * 9, [True] * 9, [True] * 9]
    assert walk(right, 3) == (False,) * 9
    assert walk([[True] * 9, [False] * 9, [True] * 9], 3) == (True, False) * 4 + (True,)
