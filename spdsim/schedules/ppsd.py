"""Pipeline-parallel self-speculative decoding: an early exit behind the first stage drafts (arXiv:2509.19368).

SPD without a draft rank: what the first stage has just computed for the newest token goes through a head there, which
gives the next token. So the draft is in series with the stage's step, and a cycle is at least as long as both. Cycles
are counted as in SPD.

Workers: i is stage i. The last one verifies and tells all others; the first commits.
What is simplified: drafts are greedy chains of one token a cycle, as in the paper, but how the exit's layers are shared
with the model is not seen here: its time is that of a task of its own.

Standard library only. Knows nothing of time. Positions are those of `spdsim.schedules.spd`.
"""

from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from spdsim.schedules import spd
from spdsim.schedules.ops import Compute, Op, Recv, Send, Verdict
from spdsim.schedules.parties import StagesAlone, at_least, check_worker
from spdsim.schedules.schedule import Coins
from spdsim.schedules.spd import PROMPT


@dataclass(frozen=True, slots=True)
class Layout(StagesAlone):
    """`num_stages` stages, at least 2. Raises ScheduleError for fewer."""

    num_stages: int
    verification_lag: int = 0
    tells_verdicts: bool = True

    def __post_init__(self) -> None:
        at_least(2, num_stages=self.num_stages)

    @property
    def capacity(self) -> int:
        """Tokens in flight when the pipeline is full."""
        return self.num_stages


class State(NamedTuple):
    """What every worker knows at the start of a cycle: the tokens in flight, as in SPD, and who the workers are."""

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


def program(state: State, worker: int) -> tuple[Op, ...]:
    """Return what `worker` does in this cycle, in order. Raises ScheduleError if there is no such worker."""
    check_worker(state.layout.num_workers, worker)
    return tuple(_prefill(state, worker) if state.cycle < 0 else _stage(state, worker))


def _prefill(state: State, worker: int) -> Iterator[Op]:
    last = state.layout.num_workers - 1
    if worker:
        yield Recv("hidden", PROMPT, worker - 1)
    yield Compute("prefill", PROMPT)
    if worker < last:
        yield Send("hidden", PROMPT, worker + 1)
    yield from _verdict(state, worker)


def _stage(state: State, worker: int) -> Iterator[Op]:
    last, in_flight = state.layout.num_workers - 1, state.pipeline.in_flight
    if state.rejected:
        yield Compute("rollback", state.oldest)
    if worker < len(in_flight):
        yield Compute("forward", in_flight[worker])
        if worker < last:
            yield Send("hidden", in_flight[worker], worker + 1)
    if worker == 0:
        yield Compute("draft", state.newest + 1)
        # Who verifies compares with it later.
        yield Send("draft", state.newest + 1, last)
    yield from _verdict(state, worker)
    if 0 < worker <= len(in_flight):
        yield Recv("hidden", in_flight[worker - 1], worker - 1)
    if worker == last:
        yield Recv("draft", state.newest + 1, 0)


def _verdict(state: State, worker: int) -> Iterator[Op]:
    """Verification, where this cycle brings a verdict; the first stage, which starts what follows, is told first."""
    if not state.is_full:
        return
    last, position = state.layout.num_workers - 1, state.oldest + 1
    if worker == last:
        yield Compute("verify", position)
        yield from (Send("verdict", position, to) for to in range(last))
    else:
        yield Recv("verdict", position, last)
    if worker == 0:
        yield Compute("commit", position)


__all__ = ["Judge", "Layout", "State", "advance", "judge", "program", "start"]
