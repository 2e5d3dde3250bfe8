"""The state machine of the schedules that draft nothing: every cycle is a token.

Standard library only. Knows nothing of time. Positions are those of `spdsim.schedules.spd`.
"""

from typing import NamedTuple

from spdsim.schedules.parties import at_least, check_going_on
from spdsim.schedules.schedule import Coins, Layout
from spdsim.schedules.spd import PROMPT


class State(NamedTuple):
    """What every worker knows at the start of a cycle; `oldest`: the last token committed, PROMPT in the prefill."""

    layout: Layout
    max_tokens: int
    oldest: int = PROMPT

    @property
    def cycle(self) -> int:
        """-1 is the prefill; then one for each token."""
        return self.oldest

    @property
    def is_done(self) -> bool:
        """All tokens asked for are committed."""
        return self.oldest + 1 >= self.max_tokens

    @property
    def fill_depth(self) -> int:
        """0 in the prefill, then 1."""
        return int(self.oldest >= 0)

    @property
    def shape(self) -> bool:
        """What the programs depend on, beside an offset of all positions: whether this is the prefill."""
        return self.oldest < 0


def start(layout: Layout, max_tokens: int) -> State:
    """Return the state before the prefill. Raises ScheduleError if max_tokens < 1."""
    at_least(1, max_tokens=max_tokens)
    return State(layout, max_tokens)


def advance(state: State, outcome: None = None) -> State:
    """Return the state of the next cycle, with one token more. Raises ScheduleError after the end."""
    del outcome
    check_going_on(state.is_done, state.cycle, "cycle")
    return state._replace(oldest=state.oldest + 1)


class NoDrafts:
    """Nothing is drafted, so every cycle has the same outcome, none."""

    def __init__(self) -> None:
        self.accepted: list[bool] = []

    def outcome(self, state: State) -> None:
        """Return None."""


def judge(state: State, coins: Coins) -> NoDrafts:
    """Return outcomes that tell nothing."""
    del state, coins
    return NoDrafts()
