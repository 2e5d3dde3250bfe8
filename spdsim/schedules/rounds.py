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

from spdsim.errors import ScheduleError
from spdsim.schedules.ops import Compute, Op, Recv, Send
from spdsim.schedules.schedule import Coins
from spdsim.schedules.spd import PROMPT


@dataclass(frozen=True, slots=True)
class Layout:
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
        if self.draft_tokens < 1:
            raise ScheduleError(f"draft_tokens is {self.draft_tokens}: must be at least 1")
        if self.num_stages < 1:
            raise ScheduleError(f"num_stages is {self.num_stages}: must be at least 1")

    @property
    def num_workers(self) -> int:
        """The drafter and the stages."""
        return 1 + self.num_stages

    @property
    def capacity(self) -> int:
        """Positions that a round looks at: its drafts and the token after them."""
        return self.draft_tokens + 1

    def role(self, worker: int) -> str:
        """Return what `worker` is."""
        return "stage" if worker else "draft"


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
    if max_tokens < 1:
        raise ScheduleError(f"max_tokens is {max_tokens}: must be at least 1")
    return State(layout, max_tokens)


def advance(state: State, outcome: int | None) -> State:
    """Return the state of the next step; `outcome`: how many drafts were accepted, where the step verifies some.

    Raises ScheduleError after the end, or where outcome and step do not match.
    """
    if state.is_done:
        raise ScheduleError(f"cycle {state.cycle}: decoding has ended, no step follows")
    verifies = state.cycle >= 0 and state.num_accepted is None
    if verifies != (outcome is not None):
        need = "needs the number of drafts accepted" if verifies else "verifies no draft"
        raise ScheduleError(f"cycle {state.cycle} {need}")
    if state.cycle < 0:
        return state._replace(oldest=0, cycle=0)
    if outcome is not None:
        if not 0 <= outcome <= state.layout.draft_tokens:
            raise ScheduleError(f"{outcome} drafts accepted: must be 0 to {state.layout.draft_tokens}")
        return state._replace(num_accepted=outcome)
    return state._replace(
        oldest=state.oldest + state.num_new, cycle=state.cycle + 1, num_accepted=None,
        rejected=state.num_accepted != state.layout.draft_tokens,
    )  # fmt: skip


def program(state: State, worker: int) -> tuple[Op, ...]:
    """Return what `worker` does in this step, in order. Raises ScheduleError if there is no such worker."""
    if not 0 <= worker < state.layout.num_workers:
        raise ScheduleError(f"worker is {worker}: must be 0 to {state.layout.num_workers - 1}")
    if state.num_accepted is not None:
        return tuple(_commits(state)) if worker == 0 else ()
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
        tokens = state.layout.draft_tokens
        places = range(1, tokens + 1)
        return next((at - 1 for at in places if not self._coins.accepts(state.oldest + at, at)), tokens)


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
    layout, oldest = state.layout, state.oldest
    if state.rejected:
        yield Compute("rollback", oldest)
    if worker > 1:
        yield Recv("hidden", oldest, worker - 1)
    elif state.cycle >= 0:
        yield Recv("draft", oldest + 1, 0)
    yield Compute("prefill" if state.cycle < 0 else "forward", oldest)
    if worker < layout.num_stages:
        yield Send("hidden", oldest, worker + 1)
        return
    yield Compute("verify", oldest + 1)
    yield Send("verdict", oldest + 1, 0)
    if layout.reads_features:
        yield Send("features", oldest, 0)


def _commits(state: State) -> Iterator[Op]:
    """Accepted drafts; then the target's token in place of a rejected draft, or, where none was, one of its own."""
    assert state.num_accepted is not None
    for at in range(1, state.num_new + 1):
        if at <= state.num_accepted:
            yield Compute("commit", state.oldest + at, accepted=True)
        else:
            is_own = state.num_accepted == state.layout.draft_tokens
            yield Compute("commit", state.oldest + at, accepted=None if is_own else False)


__all__ = ["Judge", "Layout", "State", "advance", "judge", "program", "start"]
