"""The state machine of the schedules that draft a token a cycle, as SPD does, with workers of their own.

A token is in flight for `num_stages` cycles, and then comes the verdict on the one after it; a rejection flushes all
younger ones, so that the number of cycles is SPD's. Who does what in a cycle is for the schedule to say.
Standard library only. Knows nothing of time. Positions are those of `spdsim.schedules.spd`.
"""

from collections.abc import Hashable
from typing import NamedTuple

from spdsim.schedules import spd
from spdsim.schedules.ops import Verdict
from spdsim.schedules.schedule import Coins, Layout
from spdsim.schedules.spd import PROMPT


class State(NamedTuple):
    """What every worker knows at the start of a cycle: the tokens in flight, and who the workers are."""

    layout: Layout
    pipeline: spd.PipelineState

    @property
    def cycle(self) -> int:
        """-1 is the prefill."""
        return self.pipeline.cycle

    @property
    def oldest(self) -> int:
        """The oldest position in flight; PROMPT during the prefill."""
        return self.pipeline.oldest

    @property
    def newest(self) -> int:
        """The youngest position in flight; PROMPT during the prefill."""
        return self.pipeline.in_flight[0] if self.pipeline.in_flight else PROMPT

    @property
    def is_done(self) -> bool:
        """All tokens asked for are verified."""
        return self.pipeline.is_done

    @property
    def is_full(self) -> bool:
        """This cycle brings a verdict."""
        return self.pipeline.is_full

    @property
    def rejected(self) -> bool:
        """The last verdict was a rejection, so this cycle begins with a rollback."""
        return self.pipeline.rejected

    @property
    def fill_depth(self) -> int:
        """Tokens in flight."""
        return self.pipeline.fill_depth

    @property
    def shape(self) -> Hashable:
        """What the programs depend on, beside an offset of all positions."""
        return self.pipeline.shape


def start(layout: Layout, max_tokens: int) -> State:
    """Return the state before the prefill. Raises ScheduleError if max_tokens < 1."""
    return State(layout, spd.start(spd.Layout(layout.num_stages), max_tokens))


def advance(state: State, outcome: Verdict | None) -> State:
    """Return the state of the next cycle. Raises ScheduleError where outcome and cycle do not match, or at the end."""
    return state._replace(pipeline=spd.advance(state.pipeline, outcome))


class Judge:
    """The verdicts of one sequence: coins in place of a target and a draft module."""

    def __init__(self, first: State, coins: Coins) -> None:
        self._judge = spd.Judge(first.pipeline, coins)
        self.accepted = self._judge.accepted

    def outcome(self, state: State) -> Verdict | None:
        """Toss the coin of the token that is drafted in this cycle, and return the verdict that the cycle brings."""
        return self._judge.outcome(state.pipeline)


def judge(state: State, coins: Coins) -> Judge:
    """Return the verdicts of the sequence that begins with `state`."""
    return Judge(state, coins)
