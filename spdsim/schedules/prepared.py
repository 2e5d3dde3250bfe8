"""Speculation on the outcome of a speculation (SSD, "Saguaro", arXiv:2603.03251).

Rounds of draft-then-verify, but while the target verifies, the drafter prepares the next drafts for the outcomes that
are likely: how many drafts will be accepted, and which token comes after them. If the outcome was prepared for (a hit),
the next round's drafts are there when the verdict comes; if not (a miss), a backup drafts first, as in the first round.

What is exact: with T the target's step, T_p = draft_tokens drafts and T_b the backup's, a round takes max(T, T_p) after
a hit and T_b + max(T, T_p) after a miss. The paper has T_b + T for the latter, which is the same for T_p <= T.
What is simplified: whether a round is a hit is a coin of its own with one probability, independent of the verdicts; the
branches that are prepared share one batch, so that they take as many passes as one branch; the drafter is not stopped
when the verdict comes early. Drafts of the backup are accepted as those of the drafter are.
A trace cannot tell which branch a prepared draft belongs to: it stands at the positions after a round in which all is
accepted, and so counts as wasted after any rejection, even a hit.

Workers: 0 drafts and commits, i + 1 is stage i of the target; stages work one after another. A round is a cycle of two
steps: drafts and verification, then the commits. Standard library only. Knows nothing of time.
Positions are those of `spdsim.schedules.spd`.
"""

from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from spdsim.errors import ScheduleError
from spdsim.schedules.ops import Compute, Op, Recv, Send
from spdsim.schedules.parties import (
    DrafterAndStages,
    at_least,
    check_accepted,
    check_going_on,
    check_outcome,
    check_worker,
    commits,
    num_leading,
    stage_of_round,
)
from spdsim.schedules.schedule import Coins
from spdsim.schedules.spd import PROMPT


@dataclass(frozen=True, slots=True)
class Layout(DrafterAndStages):
    """The options of the schedule.

    draft_tokens: drafts of a round that was prepared for, at least 1. hit_rate: probability that one is.
    backup_tokens: drafts of a round that was not, perhaps 0; free_backup: they take no pass of the drafter (a table of
    n-grams, say). num_stages: of the target. Raises ScheduleError when a value is out of its range.
    """

    draft_tokens: int
    hit_rate: float
    backup_tokens: int
    free_backup: bool = False
    num_stages: int = 1
    verification_lag: int = 0
    tells_verdicts: bool = False

    def __post_init__(self) -> None:
        at_least(1, draft_tokens=self.draft_tokens, num_stages=self.num_stages)
        at_least(0, backup_tokens=self.backup_tokens)
        if not 0.0 <= self.hit_rate <= 1.0:
            raise ScheduleError(f"hit_rate is {self.hit_rate}: must be 0 to 1")

    @property
    def capacity(self) -> int:
        """Positions that a round looks at, at most: its drafts and the token after them."""
        return max(self.draft_tokens, self.backup_tokens) + 1


class Outcome(NamedTuple):
    """What becomes of a round: how many of its drafts are accepted, and whether the next drafts are there already."""

    num_accepted: int
    is_hit: bool

    def __str__(self) -> str:
        return f"{self.num_accepted} accepted, {'hit' if self.is_hit else 'miss'}"


class State(NamedTuple):
    """What every worker knows at the start of a step.

    oldest: the last token committed, from which a round drafts; PROMPT in the prefill. is_ready: the round's drafts
    were prepared in the one before. outcome: None while a round drafts and verifies. rejected: the round before ended
    with a rejection, so the stages begin with a rollback.
    """

    layout: Layout
    max_tokens: int
    oldest: int = PROMPT
    cycle: int = -1
    is_ready: bool = False
    outcome: Outcome | None = None
    rejected: bool = False

    @property
    def is_done(self) -> bool:
        """All tokens asked for are committed."""
        return self.oldest + 1 >= self.max_tokens

    @property
    def num_drafts(self) -> int:
        """Drafts that this round verifies."""
        return self.layout.draft_tokens if self.is_ready else self.layout.backup_tokens

    @property
    def fill_depth(self) -> int:
        """0 in the prefill, then 1: a round does not fill."""
        return int(self.cycle >= 0)

    @property
    def num_new(self) -> int:
        """Tokens that this step commits: accepted drafts and the target's own token after them, as far as asked for."""
        return 0 if self.outcome is None else min(self.outcome.num_accepted + 1, self.max_tokens - self.oldest - 1)

    @property
    def shape(self) -> Hashable:
        """What the programs depend on, beside an offset of all positions."""
        num_accepted = None if self.outcome is None else self.outcome.num_accepted
        return self.cycle < 0, self.is_ready, num_accepted, self.num_new, self.rejected


def start(layout: Layout, max_tokens: int) -> State:
    """Return the state before the prefill. Raises ScheduleError if max_tokens < 1."""
    at_least(1, max_tokens=max_tokens)
    return State(layout, max_tokens)


def advance(state: State, outcome: Outcome | None) -> State:
    """Return the state of the next step. Raises ScheduleError after the end, or where outcome and step do not match."""
    check_going_on(state.is_done, state.cycle)
    verifies = state.cycle >= 0 and state.outcome is None
    check_outcome(state.cycle, outcome, verifies=verifies, need="an outcome")
    if state.cycle < 0:
        return state._replace(oldest=0, cycle=0)
    if outcome is not None:
        check_accepted(outcome.num_accepted, state.num_drafts)
        return state._replace(outcome=outcome)
    assert state.outcome is not None
    return state._replace(
        oldest=state.oldest + state.num_new, cycle=state.cycle + 1, is_ready=state.outcome.is_hit, outcome=None,
        rejected=state.outcome.num_accepted < state.num_drafts,
    )  # fmt: skip


def program(state: State, worker: int) -> tuple[Op, ...]:
    """Return what `worker` does in this step, in order. Raises ScheduleError if there is no such worker."""
    check_worker(state.layout.num_workers, worker)
    if state.outcome is not None:
        num_accepted = state.outcome.num_accepted
        of_own = None if num_accepted == state.num_drafts else False
        return tuple(commits(state.oldest, state.num_new, num_accepted, of_own=of_own)) if worker == 0 else ()
    return tuple(_drafter(state) if worker == 0 else stage_of_round(state, worker))


class Judge:
    """The outcomes of one sequence: coins for its drafts, and one more for each round."""

    def __init__(self, coins: Coins) -> None:
        self._coins = coins
        self.accepted: list[bool] = []

    def outcome(self, state: State) -> Outcome | None:
        """Return what becomes of the step that leaves `state`; None where nothing is verified."""
        if state.cycle < 0 or state.outcome is not None:
            return None
        num_accepted = num_leading(self._coins, state.oldest, state.num_drafts)
        return Outcome(num_accepted, self._coins.event("hit", state.oldest) < state.layout.hit_rate)


def judge(_: State, coins: Coins) -> Judge:
    """Return the outcomes of a sequence."""
    return Judge(coins)


def _drafter(state: State) -> Iterator[Op]:
    layout, oldest, last = state.layout, state.oldest, state.layout.num_stages
    if state.cycle >= 0:
        if not state.is_ready and not layout.free_backup:
            yield from (Compute("draft", oldest + at) for at in range(1, layout.backup_tokens + 1))
        yield Send("draft", oldest + 1, 1)
        # After all drafts of this round and the target's own token.
        first = oldest + state.num_drafts + 2
        yield from (Compute("draft", first + at) for at in range(layout.draft_tokens))
    yield Recv("verdict", oldest + 1, last)
    if state.cycle < 0:
        yield Compute("commit", 0)
        yield Compute("prefill", PROMPT)


__all__ = ["Judge", "Layout", "Outcome", "State", "advance", "judge", "program", "start"]
