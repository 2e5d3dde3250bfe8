"""A pipeline that several sequences share: which token enters stage 0 next, and what a verdict leaves of the others.

Every cycle each stage runs what is in its slot: tokens of different sequences, at most `entries` of them, which run
together as rows of the same matrix products. Then all slots move on by one stage, and those sequences enter whose next
token is least of a guess:

    first the one with the fewest tokens in flight, all of them still to be verified; then the one that waits longest.

So a token that is known for certain (nothing of its sequence is in flight) goes before any draft; as long as there are
fewer such tokens than places, drafts take the places that would stay empty; and with as many sequences as places
nothing is drafted at all. A rejected draft is dropped with all that is younger, its sequence's corrected token is
certain, and enters before any draft of another sequence. With one sequence this is SPD (arXiv:2605.30852) as it stands
in `spdsim.schedules.spd`; the policy for several is this project's.

Who drafts does so a cycle ahead, before the verdicts of that cycle are known: for those that enter if every verdict is
an acceptance. A draft that a rejection elsewhere keeps out is forgotten.

A token's number tells the sequences apart: sequence j has the numbers from j x stride on. Standard library only.
Knows nothing of time, nor of who drafts and verifies.
"""

from collections.abc import Hashable, Iterable, Iterator
from functools import lru_cache
from typing import NamedTuple, Protocol

from spdsim.errors import ScheduleError
from spdsim.schedules import schedule
from spdsim.schedules.ops import Compute, Op, Recv, Send
from spdsim.schedules.parties import at_least, check_going_on
from spdsim.schedules.schedule import Coins
from spdsim.schedules.spd import PROMPT


class Layout(schedule.Layout, Protocol):
    """Who shares the pipeline. entries: sequences that may enter in a cycle. drafts: whether anything is drafted."""

    @property
    def sequences(self) -> int: ...
    @property
    def entries(self) -> int: ...
    @property
    def drafts(self) -> bool: ...


class Token(NamedTuple):
    """A position of one of the sequences, which are counted from 0."""

    sequence: int
    position: int


Slot = tuple[Token, ...]


class State(NamedTuple):
    """What every worker knows at the start of a cycle.

    slots: what each stage runs now, stage 0 first. committed: tokens verified of each sequence, y_1 included.
    entered: the cycle in which each sequence entered last. rejected: the sequences to which the last verdicts were
    rejections. cycle: -1 is the prefill.
    """

    layout: Layout
    max_tokens: int
    slots: tuple[Slot, ...]
    committed: tuple[int, ...]
    entered: tuple[int, ...]
    rejected: tuple[int, ...] = ()
    cycle: int = -1

    @property
    def is_done(self) -> bool:
        """All tokens asked for are verified, of every sequence."""
        return all(number >= self.max_tokens for number in self.committed)

    @property
    def oldest(self) -> int:
        """0: ops have numbers of tokens, which are not counted from anywhere."""
        return 0

    @property
    def shape(self) -> Hashable:
        """None: no two cycles are taken to be alike."""
        return None

    @property
    def fill_depth(self) -> int:
        """Stages with something to do; 0 in the prefill."""
        return sum(1 for slot in self.slots if slot)

    @property
    def stride(self) -> int:
        """Numbers that each sequence has: its positions, and those in flight beyond its end."""
        return stride(self.max_tokens, self.layout.num_stages)

    @property
    def leaving(self) -> Slot:
        """The tokens that leave the last stage in this cycle: each brings a verdict on the position after it."""
        return self.slots[-1]

    def number(self, token: Token) -> int:
        """Return a token's number; that of a prompt is PROMPT."""
        return PROMPT if token.position == PROMPT else token.sequence * self.stride + token.position

    def in_flight(self, sequence: int) -> int:
        """Return how many tokens of a sequence are in the pipeline."""
        return sum(token.sequence == sequence for slot in self.slots for token in slot)


def stride(max_tokens: int, num_stages: int) -> int:
    """Return the numbers that each sequence has, where sequences of `max_tokens` are in flight together."""
    return max_tokens + num_stages + 1


def start(layout: Layout, max_tokens: int) -> State:
    """Return the state before the prefill. Raises ScheduleError if max_tokens < 1."""
    at_least(1, max_tokens=max_tokens)
    nothing = (0,) * layout.sequences
    return State(layout, max_tokens, ((),) * layout.num_stages, nothing, (-1,) * layout.sequences)


@lru_cache(maxsize=4)
def drafted(state: State) -> Slot:
    """Return the tokens that are drafted in this cycle: of those that enter next if all verdicts are acceptances."""
    if state.cycle < 0 or not state.layout.drafts:
        return ()
    leaving = {token.sequence for token in state.leaving}
    committed = [number + (at in leaving) for at, number in enumerate(state.committed)]
    depth = [state.in_flight(at) - (at in leaving) for at in range(state.layout.sequences)]
    live = [at for at, number in enumerate(committed) if number < state.max_tokens]
    # A sequence that ends now is drafted for where nobody else wants the place, as SPD with one sequence does.
    ending = [at for at in leaving if committed[at] == state.max_tokens]
    chosen = (_first(state, live, depth) + _first(state, ending, depth))[: state.layout.entries]
    # The next position after those in flight; what is in flight begins with the last one that is verified.
    return tuple(Token(at, committed[at] - 1 + depth[at]) for at in chosen if depth[at])


def advance(state: State, outcome: frozenset[int] | None) -> State:
    """Return the state of the next cycle. outcome: the sequences whose verdict is a rejection, where there are any.

    Raises ScheduleError after the end, or for a rejection of what was no draft.
    """
    check_going_on(state.is_done, state.cycle, "cycle")
    rejected = outcome or frozenset()
    if wrong := rejected - {token.sequence for token in guessed(state)}:
        raise ScheduleError(f"cycle {state.cycle}: no draft of sequence {min(wrong)} is verified")
    if state.cycle < 0:
        committed = (1,) * state.layout.sequences
    else:
        leaving = {token.sequence for token in state.leaving}
        committed = tuple(number + (at in leaving) for at, number in enumerate(state.committed))
    ended = {at for at, number in enumerate(committed) if number >= state.max_tokens}
    gone = rejected | ended
    moved = tuple(tuple(token for token in slot if token.sequence not in gone) for slot in state.slots[:-1])
    depth = [sum(token.sequence == at for slot in moved for token in slot) for at in range(state.layout.sequences)]
    ready = {token.sequence for token in drafted(state)} | {at for at, number in enumerate(depth) if not number}
    chosen = _first(state, sorted(ready - ended), depth)
    entering = tuple(Token(at, committed[at] - 1 + depth[at]) for at in chosen)
    now = state.cycle + 1
    entered = tuple(now if at in chosen else before for at, before in enumerate(state.entered))
    return state._replace(
        slots=(entering, *moved), committed=committed, entered=entered, rejected=tuple(sorted(rejected - ended)),
        cycle=now,
    )  # fmt: skip


def guessed(state: State) -> Slot:
    """Return the tokens that are verified in this cycle and were drafted: they are in flight themselves."""
    in_flight = {token for slot in state.slots for token in slot}
    next_ones = (Token(sequence, position + 1) for sequence, position in state.leaving)
    return tuple(token for token in next_ones if token in in_flight)


def _first(state: State, sequences: Iterable[int], depth: list[int]) -> list[int]:
    """The sequences that enter, of those that could: see the policy above."""
    return sorted(sequences, key=lambda at: (depth[at], state.entered[at], at))[: state.layout.entries]


class Judge:
    """The outcomes of the sequences in flight together. `accepted` goes by the numbers of tokens."""

    def __init__(self, first: State, coins: tuple[Coins, ...]) -> None:
        self._coins = coins
        self.accepted = [True] * (first.stride * len(coins))

    def outcome(self, state: State) -> frozenset[int]:
        """Toss the coins of what is drafted in this cycle, and return the sequences whose verdict is a rejection."""
        for token in drafted(state):
            coins, number = self._coins[token.sequence], state.number(token)
            self.accepted[number] = coins.accepts(token.position, state.in_flight(token.sequence))
        guesses = set(guessed(state))
        rejected = []
        for sequence, position in state.leaving if state.cycle >= 0 else ():
            token = Token(sequence, position + 1)
            if token not in guesses:
                # The target's own token; a draft of it that was kept out says nothing.
                self.accepted[state.number(token)] = True
            elif not self.accepted[state.number(token)]:
                rejected.append(sequence)
        return frozenset(rejected)


def judge(first: State, coins: tuple[Coins, ...]) -> Judge:
    """Return the outcomes of the sequences that begin with `first`: coins of each."""
    return Judge(first, coins)


def ops_for(state: State, op: Op, tokens: Slot) -> Iterator[Op]:
    """Yield an op of a schedule for one sequence as it is for these tokens; nothing for none, a commit for each."""
    if not tokens:
        return
    number = state.number(tokens[0])
    match op:
        case Compute("commit"):
            yield from (Compute("commit", state.number(token), batch=(token.position,)) for token in tokens)
        case Compute(task):
            yield Compute(task, number, batch=tuple(token.position for token in tokens))
        case Send(payload, _, to):
            yield Send(payload, number, to, len(tokens))
        case Recv(payload, _, source):
            yield Recv(payload, number, source, len(tokens))


def prompts(state: State) -> Slot:
    """Return all prompts, which are prefilled together."""
    return tuple(Token(sequence, PROMPT) for sequence in range(state.layout.sequences))


def after(tokens: Slot) -> Slot:
    """Return the token after each."""
    return tuple(Token(sequence, position + 1) for sequence, position in tokens)
