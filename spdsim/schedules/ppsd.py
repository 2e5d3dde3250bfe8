"""Pipeline-parallel self-speculative decoding: an early exit behind the first stage drafts (arXiv:2509.19368).

SPD without a draft rank: what the first stage has just computed for the newest token goes through a head there, which
gives the next token. So the draft is in series with the stage's step, and a cycle is at least as long as both. Cycles
are counted as in SPD.

Workers: i is stage i. The last one verifies and tells all others; the first commits.
What is simplified: drafts are greedy chains of one token a cycle, as in the paper, but how the exit's layers are shared
with the model is not seen here: its time is that of a task of its own.

Standard library only. Knows nothing of time. Positions are those of `spdsim.schedules.spd`.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from spdsim.errors import ScheduleError
from spdsim.schedules.chain import Judge, State, advance, judge, start
from spdsim.schedules.ops import Compute, Op, Recv, Send
from spdsim.schedules.spd import PROMPT


@dataclass(frozen=True, slots=True)
class Layout:
    """`num_stages` stages, at least 2. Raises ScheduleError for fewer."""

    num_stages: int
    verification_lag: int = 0
    tells_verdicts: bool = True

    def __post_init__(self) -> None:
        if self.num_stages < 2:
            raise ScheduleError(f"num_stages is {self.num_stages}: must be at least 2")

    @property
    def num_workers(self) -> int:
        """One for each stage."""
        return self.num_stages

    @property
    def capacity(self) -> int:
        """Tokens in flight when the pipeline is full."""
        return self.num_stages

    def role(self, worker: int) -> str:
        """Return what `worker` is."""
        del worker
        return "stage"


def program(state: State, worker: int) -> tuple[Op, ...]:
    """Return what `worker` does in this cycle, in order. Raises ScheduleError if there is no such worker."""
    if not 0 <= worker < state.layout.num_workers:
        raise ScheduleError(f"worker is {worker}: must be 0 to {state.layout.num_workers - 1}")
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
