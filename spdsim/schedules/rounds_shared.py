"""Draft, then verify, with several sequences in flight: a round drafts for all of them and verifies all drafts at once.

Every worker does what it does with one sequence (`spdsim.schedules.rounds`), for all sequences that have not ended.
A round lasts as long for all of them, but brings each as many tokens as its own drafts are worth.
A token's number tells the sequences apart: sequence j has the numbers from j x stride on. Standard library only.
Knows nothing of time.
"""

from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

from spdsim.errors import ScheduleError
from spdsim.schedules import rounds
from spdsim.schedules.ops import Compute, Op, Recv, Send
from spdsim.schedules.parties import at_least, check_going_on, check_outcome, num_leading
from spdsim.schedules.schedule import Coins
from spdsim.schedules.spd import PROMPT


@dataclass(frozen=True, slots=True)
class Layout:
    """`of_one`: the options of rounds. sequences: in flight. Raises ScheduleError for fewer than one."""

    of_one: rounds.Layout
    sequences: int

    def __post_init__(self) -> None:
        at_least(1, sequences=self.sequences)

    @property
    def num_stages(self) -> int:
        """Stages of the target."""
        return self.of_one.num_stages

    @property
    def num_workers(self) -> int:
        """The drafter and the stages."""
        return self.of_one.num_workers

    @property
    def verification_lag(self) -> int:
        """0."""
        return 0

    @property
    def capacity(self) -> int:
        """Positions of a sequence that a round looks at."""
        return self.of_one.capacity

    @property
    def tells_verdicts(self) -> bool:
        """Commits say for themselves what their token was."""
        return False

    def role(self, worker: int) -> str:
        """Return what `worker` is."""
        return self.of_one.role(worker)


class State(NamedTuple):
    """What every worker knows at the start of a step.

    committed: tokens of each sequence. num_accepted: None while a round drafts and verifies; then how many drafts of
    each sequence the target accepted. rejected: the sequences whose last round ended with a rejection; their caches are
    rolled back.
    """

    layout: Layout
    max_tokens: int
    committed: tuple[int, ...]
    cycle: int = -1
    num_accepted: tuple[int, ...] | None = None
    rejected: tuple[int, ...] = ()

    @property
    def is_done(self) -> bool:
        """All tokens asked for are committed, of every sequence."""
        return all(number >= self.max_tokens for number in self.committed)

    @property
    def oldest(self) -> int:
        """0: ops have numbers of tokens, which are not counted from anywhere."""
        return 0

    @property
    def fill_depth(self) -> int:
        """0 in the prefill, then 1: a round does not fill."""
        return int(self.cycle >= 0)

    @property
    def shape(self) -> Hashable:
        """None: no two steps are taken to be alike."""
        return None

    @property
    def stride(self) -> int:
        """Numbers that each sequence has."""
        return stride(self.max_tokens, self.layout.of_one.draft_tokens)

    @property
    def live(self) -> tuple[int, ...]:
        """The sequences that have not ended."""
        return tuple(at for at, number in enumerate(self.committed) if number < self.max_tokens)

    def num_new(self, sequence: int) -> int:
        """Return the tokens that this step commits of a sequence."""
        if self.num_accepted is None:
            return 0
        return min(self.num_accepted[sequence] + 1, self.max_tokens - self.committed[sequence])


def stride(max_tokens: int, draft_tokens: int) -> int:
    """Return the numbers that each sequence has, where sequences of `max_tokens` are in flight together."""
    return max_tokens + draft_tokens + 1


def start(layout: Layout, max_tokens: int) -> State:
    """Return the state before the prefill. Raises ScheduleError if max_tokens < 1."""
    at_least(1, max_tokens=max_tokens)
    return State(layout, max_tokens, (0,) * layout.sequences)


def advance(state: State, outcome: tuple[int, ...] | None) -> State:
    """Return the state of the next step; `outcome`: how many drafts of each sequence were accepted, where some were
    verified (0 for a sequence that has ended).

    Raises ScheduleError after the end, or where outcome and step do not match.
    """
    check_going_on(state.is_done, state.cycle)
    verifies = state.cycle >= 0 and state.num_accepted is None
    check_outcome(state.cycle, outcome, verifies=verifies, need="the numbers of drafts accepted")
    if state.cycle < 0:
        return state._replace(committed=(1,) * state.layout.sequences, cycle=0)
    if outcome is not None:
        most = state.layout.of_one.draft_tokens
        if len(outcome) != state.layout.sequences or not all(0 <= number <= most for number in outcome):
            raise ScheduleError(f"{outcome} drafts accepted: must be 0 to {most} of each sequence")
        return state._replace(num_accepted=outcome)
    committed = tuple(number + state.num_new(at) for at, number in enumerate(state.committed))
    assert state.num_accepted is not None
    most, live = state.layout.of_one.draft_tokens, range(len(committed))
    rejected = (at for at in live if committed[at] < state.max_tokens and state.num_accepted[at] < most)
    return State(state.layout, state.max_tokens, committed, state.cycle + 1, None, tuple(rejected))


def program(state: State, worker: int) -> tuple[Op, ...]:
    """Return what `worker` does in this step, in order. Raises ScheduleError if there is no such worker."""
    of_one = state.layout.of_one
    if state.num_accepted is not None:
        return tuple(_commits(state)) if worker == 0 else ()
    found: list[Op] = []
    for op in _of_one(of_one, state.cycle < 0, bool(state.rejected), worker):
        found += _for_all(state, op)
    return tuple(found)


@cache
def _of_one(layout: rounds.Layout, is_prefill: bool, is_rejected: bool, worker: int) -> tuple[Op, ...]:
    first = rounds.start(layout, 2)
    return rounds.program(first if is_prefill else first._replace(oldest=0, cycle=0, rejected=is_rejected), worker)


def _for_all(state: State, op: Op) -> Iterator[Op]:
    """An op of the first round of one sequence as it is in this round of all that have not ended."""
    live = state.live
    # In the prefill the prompt is the last token, at position -1.
    oldest = {at: PROMPT if state.cycle < 0 else state.committed[at] - 1 for at in live}
    first = live[0]
    by = 0 if state.cycle < 0 else first * state.stride + oldest[first]
    match op:
        case Compute("commit"):
            yield from (Compute("commit", at * state.stride, batch=(0,)) for at in live)
        case Compute("rollback"):
            back = state.rejected
            yield Compute("rollback", back[0] * state.stride + oldest[back[0]], batch=tuple(oldest[at] for at in back))
        case Compute(task, position):
            begin = PROMPT if state.cycle < 0 else 0
            yield Compute(task, position + by, batch=tuple(oldest[at] + position - begin for at in live))
        case Send(payload, position, to):
            yield Send(payload, position + by, to, len(live))
        case Recv(payload, position, source):
            yield Recv(payload, position + by, source, len(live))


def _commits(state: State) -> Iterator[Op]:
    """Of each sequence what a round of one sequence commits."""
    assert state.num_accepted is not None
    most = state.layout.of_one.draft_tokens
    for sequence in state.live:
        for at in range(1, state.num_new(sequence) + 1):
            is_draft = at <= state.num_accepted[sequence]
            accepted = True if is_draft else None if state.num_accepted[sequence] == most else False
            position = state.committed[sequence] - 1 + at
            yield Compute("commit", sequence * state.stride + position, accepted, batch=(position,))


class Judge:
    """The outcomes of the sequences: how many drafts of each the coins accept, up to the first that they do not."""

    def __init__(self, coins: tuple[Coins, ...]) -> None:
        self._coins = coins
        self.accepted: list[bool] = []

    def outcome(self, state: State) -> tuple[int, ...] | None:
        """Return how many drafts of each sequence are accepted; None where none is verified."""
        if state.cycle < 0 or state.num_accepted is not None:
            return None
        return tuple(self._accepted(state, at) if at in state.live else 0 for at in range(len(self._coins)))

    def _accepted(self, state: State, sequence: int) -> int:
        return num_leading(self._coins[sequence], state.committed[sequence] - 1, state.layout.of_one.draft_tokens)


def judge(_: State, coins: tuple[Coins, ...]) -> Judge:
    """Return the outcomes of the sequences: coins of each."""
    return Judge(coins)


__all__ = ["Judge", "Layout", "State", "advance", "judge", "program", "start"]
