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
from spdsim.schedules.schedule import Coins
from spdsim.schedules.spd import PROMPT


@dataclass(frozen=True, slots=True)
class Layout:
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
        if self.draft_tokens < 1:
            raise ScheduleError(f"draft_tokens is {self.draft_tokens}: must be at least 1")
        if self.backup_tokens < 0:
            raise ScheduleError(f"backup_tokens is {self.backup_tokens}: must be at least 0")
        if not 0.0 <= self.hit_rate <= 1.0:
            raise ScheduleError(f"hit_rate is {self.hit_rate}: must be 0 to 1")
        if self.num_stages < 1:
            raise ScheduleError(f"num_stages is {self.num_stages}: must be at least 1")

    @property
    def num_workers(self) -> int:
        """The drafter and the stages."""
        return 1 + self.num_stages

    @property
    def capacity(self) -> int:
        """Positions that a round looks at, at most: its drafts and the token after them."""
        return max(self.draft_tokens, self.backup_tokens) + 1

    def role(self, worker: int) -> str:
        """Return what `worker` is."""
        return "stage" if worker else "draft"


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
    if max_tokens < 1:
        raise ScheduleError(f"max_tokens is {max_tokens}: must be at least 1")
    return State(layout, max_tokens)


def advance(state: State, outcome: Outcome | None) -> State:
    """Return the state of the next step. Raises ScheduleError after the end, or where outcome and step do not match."""
    if state.is_done:
        raise ScheduleError(f"cycle {state.cycle}: decoding has ended, no step follows")
    verifies = state.cycle >= 0 and state.outcome is None
    if verifies != (outcome is not None):
        need = "needs an outcome" if verifies else "verifies no draft"
        raise ScheduleError(f"cycle {state.cycle} {need}")
    if state.cycle < 0:
        return state._replace(oldest=0, cycle=0)
    if outcome is not None:
        if not 0 <= outcome.num_accepted <= state.num_drafts:
            raise ScheduleError(f"{outcome.num_accepted} drafts accepted: must be 0 to {state.num_drafts}")
        return state._replace(outcome=outcome)
    assert state.outcome is not None
    return state._replace(
        oldest=state.oldest + state.num_new, cycle=state.cycle + 1, is_ready=state.outcome.is_hit, outcome=None,
        rejected=state.outcome.num_accepted < state.num_drafts,
    )  # fmt: skip


def program(state: State, worker: int) -> tuple[Op, ...]:
    """Return what `worker` does in this step, in order. Raises ScheduleError if there is no such worker."""
    if not 0 <= worker < state.layout.num_workers:
        raise ScheduleError(f"worker is {worker}: must be 0 to {state.layout.num_workers - 1}")
    if state.outcome is not None:
        return tuple(_commits(state, state.outcome)) if worker == 0 else ()
    return tuple(_drafter(state) if worker == 0 else _stage(state, worker))


class Judge:
    """The outcomes of one sequence: coins for its drafts, and one more for each round."""

    def __init__(self, coins: Coins) -> None:
        self._coins = coins
        self.accepted: list[bool] = []

    def outcome(self, state: State) -> Outcome | None:
        """Return what becomes of the step that leaves `state`; None where nothing is verified."""
        if state.cycle < 0 or state.outcome is not None:
            return None
        drafts, accepts = state.num_drafts, self._coins.accepts
        num_accepted = next((at - 1 for at in range(1, drafts + 1) if not accepts(state.oldest + at, at)), drafts)
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


def _stage(state: State, worker: int) -> Iterator[Op]:
    oldest, last = state.oldest, state.layout.num_stages
    if state.rejected:
        yield Compute("rollback", oldest)
    if worker > 1:
        yield Recv("hidden", oldest, worker - 1)
    elif state.cycle >= 0:
        yield Recv("draft", oldest + 1, 0)
    yield Compute("prefill" if state.cycle < 0 else "forward", oldest)
    if worker < last:
        yield Send("hidden", oldest, worker + 1)
    else:
        yield Compute("verify", oldest + 1)
        yield Send("verdict", oldest + 1, 0)


def _commits(state: State, outcome: Outcome) -> Iterator[Op]:
    """Accepted drafts; then the target's token in place of a rejected draft, or, where none was, one of its own."""
    for at in range(1, state.num_new + 1):
        is_own = at == outcome.num_accepted + 1
        accepted = None if is_own and outcome.num_accepted == state.num_drafts else not is_own
        yield Compute("commit", state.oldest + at, accepted=accepted)


__all__ = ["Judge", "Layout", "Outcome", "State", "advance", "judge", "program", "start"]
