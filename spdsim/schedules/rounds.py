"""Draft, then verify: a drafter proposes some tokens, the target looks at all of them at once, and so on in rounds.

One schedule for the methods that differ only in what drafts: a small model or a head that drafts token by token
(arXiv:2211.17192, arXiv:2302.01318, EAGLE), or a head that drafts all of them in one pass (Medusa, MTP, P-EAGLE,
DFlash). The target may be cut into stages, which then work one after another.

Workers: 0 drafts and commits, i + 1 is stage i; where they sit on one device they take turns. A round is a cycle of two
steps: drafts and verification, then the commits that its outcome, the number of drafts accepted, asks for.

Standard library only. Knows nothing of time. Positions are those of `spdsim.schedules.spd`.
"""

from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

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

    draft_tokens: drafts in a round, at least 1. one_pass: all of them come from one draft op, instead of one each.
    reads_features: the drafter reads hidden states of the target. num_stages: of the target.
    Raises ScheduleError when a value is out of its range.
    """

    draft_tokens: int
    one_pass: bool = False
    reads_features: bool = False
    num_stages: int = 1
    verification_lag: int = 0
    tells_verdicts: bool = False

    def __post_init__(self) -> None:
        at_least(1, draft_tokens=self.draft_tokens, num_stages=self.num_stages)

    @property
    def capacity(self) -> int:
        """Positions that a round looks at: its drafts and the token after them."""
        return self.draft_tokens + 1


class State(NamedTuple):
    """What every worker knows at the start of a step.

    oldest: the last token committed, from which a round drafts; PROMPT in the prefill.
    num_accepted: None while a round drafts and verifies; then how many of its drafts the target accepted.
    rejected: the round before ended with a rejection, so the stages begin with a rollback.
    """

    layout: Layout
    max_tokens: int
    oldest: int = PROMPT
    cycle: int = -1
    num_accepted: int | None = None
    rejected: bool = False

    @property
    def committed(self) -> int:
        """Tokens committed so far, y_1 included."""
        return self.oldest + 1

    @property
    def is_done(self) -> bool:
        """All tokens asked for are committed."""
        return self.committed >= self.max_tokens

    @property
    def fill_depth(self) -> int:
        """0 in the prefill, then 1: a round does not fill."""
        return int(self.cycle >= 0)

    @property
    def num_new(self) -> int:
        """Tokens that this step commits: accepted drafts and the target's own token after them, as far as asked for."""
        return 0 if self.num_accepted is None else min(self.num_accepted + 1, self.max_tokens - self.committed)

    @property
    def shape(self) -> Hashable:
        """What the programs depend on, beside an offset of all positions."""
        return self.cycle < 0, self.num_accepted, self.num_new, self.rejected


def start(layout: Layout, max_tokens: int) -> State:
    """Return the state before the prefill. Raises ScheduleError if max_tokens < 1."""
    at_least(1, max_tokens=max_tokens)
    return State(layout, max_tokens)


def advance(state: State, outcome: int | None) -> State:
    """Return the state of the next step; `outcome`: how many drafts were accepted, where the step verifies some.

    Raises ScheduleError after the end, or where outcome and step do not match.
    """
    check_going_on(state.is_done, state.cycle)
    verifies = state.cycle >= 0 and state.num_accepted is None
    check_outcome(state.cycle, outcome, verifies=verifies)
    if state.cycle < 0:
        return state._replace(oldest=0, cycle=0)
    if outcome is not None:
        check_accepted(outcome, state.layout.draft_tokens)
        return state._replace(num_accepted=outcome)
    return state._replace(
        oldest=state.oldest + state.num_new, cycle=state.cycle + 1, num_accepted=None,
        rejected=state.num_accepted != state.layout.draft_tokens,
    )  # fmt: skip


def program(state: State, worker: int) -> tuple[Op, ...]:
    """Return what `worker` does in this step, in order. Raises ScheduleError if there is no such worker."""
    check_worker(state.layout.num_workers, worker)
    if state.num_accepted is not None:
        of_own = None if state.num_accepted == state.layout.draft_tokens else False
        made = commits(state.oldest, state.num_new, state.num_accepted, of_own=of_own)
        return tuple(made) if worker == 0 else ()
    return tuple(_drafter(state) if worker == 0 else _stage(state, worker))


class Judge:
    """The outcomes of one sequence: how many drafts of each round coins accept, up to the first that they do not."""

    def __init__(self, coins: Coins) -> None:
        self._coins = coins
        self.accepted: list[bool] = []

    def outcome(self, state: State) -> int | None:
        """Return how many drafts are accepted in the step that leaves `state`; None where none is verified."""
        if state.cycle < 0 or state.num_accepted is not None:
            return None
        return num_leading(self._coins, state.oldest, state.layout.draft_tokens)


def judge(_: State, coins: Coins) -> Judge:
    """Return the outcomes of a sequence."""
    return Judge(coins)


def _drafter(state: State) -> Iterator[Op]:
    layout, oldest, last = state.layout, state.oldest, state.layout.num_stages
    if state.cycle >= 0:
        passes = 1 if layout.one_pass else layout.draft_tokens
        yield from (Compute("draft", oldest + at) for at in range(1, passes + 1))
        yield Send("draft", oldest + 1, 1)
    yield Recv("verdict", oldest + 1, last)
    if state.cycle < 0:
        yield Compute("commit", 0)
    if layout.reads_features:
        yield Recv("features", oldest, last)
    if state.cycle < 0:
        yield Compute("prefill", PROMPT)


def _stage(state: State, worker: int) -> Iterator[Op]:
    yield from stage_of_round(state, worker)
    if state.layout.reads_features and worker == state.layout.num_stages:
        yield Send("features", state.oldest, 0)


__all__ = ["Judge", "Layout", "State", "advance", "judge", "program", "start"]
