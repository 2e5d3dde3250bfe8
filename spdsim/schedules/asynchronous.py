"""Two parties that do not wait for each other: while the target verifies, the drafter drafts on.

One schedule for PEARL (arXiv:2408.11850), AMUSD (arXiv:2410.17375), PipeSpec with two models (arXiv:2505.01572) and
SwiftSpec (arXiv:2506.11309), which differ in what begins when. A cycle is a round: the drafter makes a window of
drafts, and the target's pass verifies those of the round before. If all of them are accepted the new window is good;
at a rejection it is dropped, and both go on from the target's token.

pre_verify: the pass looks one token further, at the first draft of the window that is being made. So the target has
work in the round after a rejection, too, a wrong first draft costs no window, and a round brings as many tokens as the
drafter makes. This is PEARL's pair of modes; and it is free running, in which the target takes whatever is there
(AMUSD, PipeSpec, SwiftSpec), for a window of T_target / T_draft drafts. Without it, drafts are verified only once
their window is whole, and the target stands still in the round after a rejection.

What is exact: PEARL's rounds, at whose ends its two processes meet, too; and free running with constant times and
T_target = window x T_draft, where nobody waits.
What is simplified: of a free run with T_target / T_draft no whole number the next whole window is closest; a drafter
that is told of a rejection finishes its window first. Trees (SwiftSpec) are chains here. The pass says what the target
says, and who has the draft compares: so the LM head does not wait for drafts of its own round.

Workers: 0 drafts and commits, on a device of its own; i + 1 is stage i of the target, and stages work one after
another. A round is a cycle of one step, and of a second, the commits, where something was verified; the outcome is how
many drafts were accepted. Standard library only. Knows nothing of time. Positions are those of `spdsim.schedules.spd`.
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

    window: drafts in a round, at least 1. pre_verify: the pass also gives the verdict on the first draft of its own
    round. num_stages: of the target. Raises ScheduleError when a value is out of its range.
    """

    window: int
    pre_verify: bool = True
    num_stages: int = 1
    verification_lag: int = 0
    tells_verdicts: bool = False

    def __post_init__(self) -> None:
        at_least(1, window=self.window, num_stages=self.num_stages)

    @property
    def capacity(self) -> int:
        """Drafts that wait for a verdict at the end of a round, at most: a window under verification and a new one."""
        return 2 * self.window


class State(NamedTuple):
    """What every worker knows at the start of a step.

    oldest: the last token committed; PROMPT in the prefill. waiting: drafts of the round before without a verdict.
    num_accepted: None while a round drafts and verifies; then how many of its verdicts were acceptances.
    rejected: the round before ended with a rejection, so the stages begin with a rollback.
    """

    layout: Layout
    max_tokens: int
    oldest: int = PROMPT
    cycle: int = -1
    waiting: int = 0
    num_accepted: int | None = None
    rejected: bool = False

    @property
    def is_done(self) -> bool:
        """All tokens asked for are committed."""
        return self.oldest + 1 >= self.max_tokens

    @property
    def num_verified(self) -> int:
        """Drafts on which this round's pass gives a verdict, if all before them are accepted."""
        return 0 if self.cycle < 0 else self.waiting + self.layout.pre_verify

    @property
    def verifies(self) -> bool:
        """This step brings a verdict."""
        return self.num_accepted is None and self.num_verified > 0

    @property
    def newest(self) -> int:
        """The last token that is known at the start of the round: a draft, or the last one committed."""
        return self.oldest + self.waiting

    @property
    def fill_depth(self) -> int:
        """0 in the prefill, then 1 where the target stands still, and 2 where it works."""
        return int(self.cycle >= 0) + (self.num_verified > 0)

    @property
    def num_new(self) -> int:
        """Tokens that this step commits: drafts, and the target's token in place of one, as far as asked for."""
        if self.num_accepted is None:
            return 0
        return min(self.num_accepted + self.is_rejected, self.max_tokens - self.oldest - 1)

    @property
    def is_rejected(self) -> bool:
        """The round's pass disagrees with a draft."""
        return self.num_accepted is not None and self.num_accepted < self.num_verified

    @property
    def shape(self) -> Hashable:
        """What the programs depend on, beside an offset of all positions."""
        return self.cycle < 0, self.waiting, self.num_accepted, self.num_new, self.rejected


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
        return state._replace(oldest=0, cycle=0)
    if outcome is not None:
        check_accepted(outcome, state.num_verified)
        return state._replace(num_accepted=outcome)
    waiting = 0 if state.is_rejected else state.newest + state.layout.window - (state.oldest + state.num_new)
    return state._replace(
        oldest=state.oldest + state.num_new, cycle=state.cycle + 1, waiting=waiting, num_accepted=None,
        rejected=state.is_rejected,
    )  # fmt: skip


def program(state: State, worker: int) -> tuple[Op, ...]:
    """Return what `worker` does in this step, in order. Raises ScheduleError if there is no such worker."""
    check_worker(state.layout.num_workers, worker)
    if state.num_accepted is not None:
        return tuple(commits(state.oldest, state.num_new, state.num_accepted)) if worker == 0 else ()
    if state.cycle < 0:
        return tuple(_prefill(state, worker))
    return tuple(_drafter(state) if worker == 0 else _stage(state, worker))


def judge(state: State, coins: Coins) -> JudgeAhead:
    """Return the outcomes of a sequence."""
    return JudgeAhead(coins, state.layout.window)


def _prefill(state: State, worker: int) -> Iterator[Op]:
    last = state.layout.num_stages
    if worker == 0:
        yield Recv("verdict", 0, last)
        yield Compute("commit", 0)
        yield Compute("prefill", PROMPT)
        return
    if worker > 1:
        yield Recv("hidden", PROMPT, worker - 1)
    yield Compute("prefill", PROMPT)
    if worker < last:
        yield Send("hidden", PROMPT, worker + 1)
    yield from _verdict(state, worker)


def _drafter(state: State) -> Iterator[Op]:
    layout, first = state.layout, state.newest + 1
    yield from (Compute("draft", first + at) for at in range(layout.window))
    # The first stage begins with them in the next round; the last verifies them then.
    yield from (Send("draft", first, to) for to in sorted({1, layout.num_stages}))
    if state.num_verified:
        yield Recv("verdict", state.oldest + 1, layout.num_stages)


def _stage(state: State, worker: int) -> Iterator[Op]:
    last, oldest = state.layout.num_stages, state.oldest
    if state.rejected:
        yield Compute("rollback", oldest)
    if state.num_verified:
        if worker > 1:
            yield Recv("hidden", oldest, worker - 1)
        yield Compute("forward", oldest)
        if worker < last:
            yield Send("hidden", oldest, worker + 1)
        yield from _verdict(state, worker)
    if worker in (1, last):
        yield Recv("draft", state.newest + 1, 0)


def _verdict(state: State, worker: int) -> Iterator[Op]:
    """The last stage tells the drafter and the first stage what the target says; who has the draft compares."""
    last, position = state.layout.num_stages, state.oldest + 1
    if worker == last:
        yield Compute("verify", position)
        yield from (Send("verdict", position, to) for to in range(min(2, last)))
    elif worker == 1:
        yield Recv("verdict", position, last)


__all__ = ["Layout", "State", "advance", "judge", "program", "start"]
