"""Distributed speculative inference: the drafter never stops, and replicas of the target verify in parallel
(arXiv:2405.14105).

Each replica is a whole target. Whenever as many drafts as the lookahead are made, the next replica in turn begins a
pass over them, which gives the verdicts on all but the first of them (the pass before has that) and on the draft after
them; meanwhile drafter and other replicas go on. A rejection stops everything that builds on the rejected draft, and a
pass over the corrected token begins at once.

A cycle is `lookahead` drafts. A pass takes as many cycles as there are replicas, so it is cut into as many equal
slices, one forward op each: a replica that runs something flushed stops at the end of a slice. "Stage" i is replica i,
and a verdict comes of as many forward ops as there are stages, as in a pipeline.

What is exact: with a lookahead of 1 and T_target = k T_draft for k replicas, the time is the paper's bound,
t_d p (N - 1) + t_t ((1 - p)(N - 1) + 1), in expectation and with "p (N - 1)" the number accepted in every single run.
What is simplified: a pass begins and ends with a cycle, so where T_target is no whole number of cycles it counts as the
next one, and with fewer replicas than T_target / (lookahead x T_draft) the drafter waits for them. Every replica hears
of every draft, for its cache lacks the tokens that others ran; that its pass runs those too is left to its duration.
In every cycle some pass ends, and all wait for its verification: so the LM head's time belongs into the slices, and
only what comes after a pass into the verify op.

Workers: 0 drafts and commits, i + 1 is replica i. A round is a cycle of one step, and of a second, the commits, where
something was verified; the outcome is how many drafts were accepted. Standard library only. Knows nothing of time.
Positions are those of `spdsim.schedules.spd`.
"""

from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from spdsim.schedules.ops import Compute, Op, Recv, Send
from spdsim.schedules.parties import (
    DrafterAndStages,
    JudgeAhead,
    at_least,
    check_accepted,
    check_going_on,
    check_outcome,
    check_worker,
    commits,
)
from spdsim.schedules.schedule import Coins
from spdsim.schedules.spd import PROMPT


@dataclass(frozen=True, slots=True)
class Layout(DrafterAndStages):
    """The options of the schedule.

    num_replicas: targets, at least 2 (with one it is `spdsim.schedules.asynchronous`). lookahead: drafts in a cycle, at
    least 1. Raises ScheduleError when a value is out of its range.
    """

    num_replicas: int
    lookahead: int = 1
    verification_lag: int = 0
    tells_verdicts: bool = False

    def __post_init__(self) -> None:
        at_least(2, num_replicas=self.num_replicas)
        at_least(1, lookahead=self.lookahead)

    @property
    def num_stages(self) -> int:
        """Slices of a pass: forward ops that lead to a verdict."""
        return self.num_replicas

    @property
    def capacity(self) -> int:
        """Drafts that wait for a verdict, at most: those of every replica's pass, and those that are being made."""
        return (self.num_replicas + 1) * self.lookahead


class State(NamedTuple):
    """What every worker knows at the start of a step.

    oldest: the last token committed; PROMPT in the prefill. passes: how many are under way. is_restart: the oldest of
    them is the pass over a corrected token (or the first one). turn: the replica, from 0, that runs the oldest of them.
    num_accepted: None while drafts are made and verified; then how many of the cycle's verdicts were acceptances.
    """

    layout: Layout
    max_tokens: int
    oldest: int = PROMPT
    cycle: int = -1
    passes: int = 0
    is_restart: bool = True
    turn: int = 0
    num_accepted: int | None = None

    @property
    def is_done(self) -> bool:
        """All tokens asked for are committed."""
        return self.oldest + 1 >= self.max_tokens

    @property
    def is_full(self) -> bool:
        """The oldest pass ends in this cycle."""
        return self.cycle >= 0 and self.passes == self.layout.num_replicas

    @property
    def num_verified(self) -> int:
        """Drafts on which the oldest pass gives a verdict, if all before them are accepted."""
        return 1 if self.is_restart else self.layout.lookahead

    @property
    def verifies(self) -> bool:
        """This step brings a verdict."""
        return self.is_full and self.num_accepted is None

    @property
    def newest(self) -> int:
        """The last token that is known at the start of the cycle: the last of those that the newest pass runs."""
        return self.oldest + self.num_verified + (self.passes - 1) * self.layout.lookahead - 1

    @property
    def fill_depth(self) -> int:
        """Passes under way."""
        return self.passes

    @property
    def rejected(self) -> bool:
        """The last verdict was a rejection, so this cycle begins with a rollback."""
        return self.cycle > 0 and self.is_restart and self.passes == 1

    @property
    def is_rejected(self) -> bool:
        """The cycle's pass disagrees with a draft."""
        return self.num_accepted is not None and self.num_accepted < self.num_verified

    @property
    def num_new(self) -> int:
        """Tokens that this step commits: drafts, and the target's token in place of one, as far as asked for."""
        if self.num_accepted is None:
            return 0
        return min(self.num_accepted + self.is_rejected, self.max_tokens - self.oldest - 1)

    @property
    def shape(self) -> Hashable:
        """What the programs depend on, beside an offset of all positions."""
        restart = self.is_restart, self.rejected
        return self.cycle < 0, self.passes, restart, self.turn, self.num_accepted, self.num_new


def start(layout: Layout, max_tokens: int) -> State:
    """Return the state before the prefill. Raises ScheduleError if max_tokens < 1."""
    at_least(1, max_tokens=max_tokens)
    return State(layout, max_tokens)


def advance(state: State, outcome: int | None) -> State:
    """Return the state of the next step; `outcome`: how many drafts were accepted, where the step verifies some.

    Raises ScheduleError after the end, or where outcome and step do not match.
    """
    check_going_on(state.is_done, state.cycle)
    check_outcome(state.cycle, outcome, verifies=state.verifies)
    if state.cycle < 0:
        return state._replace(oldest=0, cycle=0, passes=1)
    if outcome is not None:
        check_accepted(outcome, state.num_verified)
        return state._replace(num_accepted=outcome)
    following = state._replace(oldest=state.oldest + state.num_new, cycle=state.cycle + 1, num_accepted=None)
    if state.num_accepted is None:
        return following._replace(passes=state.passes + 1)
    if state.is_rejected:
        # The replica that has found out is free.
        return following._replace(passes=1, is_restart=True)
    return following._replace(is_restart=False, turn=(state.turn + 1) % state.layout.num_replicas)


def program(state: State, worker: int) -> tuple[Op, ...]:
    """Return what `worker` does in this step, in order. Raises ScheduleError if there is no such worker."""
    check_worker(state.layout.num_workers, worker)
    if state.num_accepted is not None:
        return tuple(commits(state.oldest, state.num_new, state.num_accepted)) if worker == 0 else ()
    if state.cycle < 0:
        return tuple(_prefill(state, worker))
    return tuple(_drafter(state) if worker == 0 else _replica(state, worker))


def judge(state: State, coins: Coins) -> JudgeAhead:
    """Return the outcomes of a sequence."""
    return JudgeAhead(coins, state.layout.lookahead)


def _prefill(state: State, worker: int) -> Iterator[Op]:
    """Every replica runs the prompt; the first one says what comes of it."""
    if worker:
        yield Compute("prefill", PROMPT)
    yield from _verdict(state, worker)
    if worker == 0:
        yield Compute("commit", 0)
        yield Compute("prefill", PROMPT)


def _drafter(state: State) -> Iterator[Op]:
    replicas, first = state.layout.num_replicas, state.newest + 1
    yield from (Compute("draft", first + at) for at in range(state.layout.lookahead))
    # The replica that begins with them in the next cycle comes first.
    yield from (Send("draft", first, _worker(state, state.passes + later)) for later in range(replicas))
    if state.is_full:
        yield from _verdict(state, 0)


def _replica(state: State, worker: int) -> Iterator[Op]:
    if state.rejected:
        yield Compute("rollback", state.oldest)
    for number in range(state.passes):
        if _worker(state, number) == worker:
            yield Compute("forward", _first_of(state, number))
    if state.is_full:
        yield from _verdict(state, worker)
    yield Recv("draft", state.newest + 1, 0)


def _verdict(state: State, worker: int) -> Iterator[Op]:
    """The replica whose pass ends verifies and tells all others, first the drafter."""
    source, position = _worker(state, 0), state.oldest + 1
    if worker == source:
        yield Compute("verify", position)
        yield from (Send("verdict", position, to) for to in range(state.layout.num_workers) if to != source)
    else:
        yield Recv("verdict", position, source)


def _worker(state: State, number: int) -> int:
    """The replica that runs a pass, counted from 0, the oldest one."""
    return 1 + (state.turn + number) % state.layout.num_replicas


def _first_of(state: State, number: int) -> int:
    """The first position that a pass runs, counted from 0, the oldest one."""
    return state.oldest + (state.num_verified + (number - 1) * state.layout.lookahead if number else 0)


__all__ = ["Layout", "State", "advance", "judge", "program", "start"]
