"""Plain decoding over a pipeline: one token passes the stages in turn, and the next begins when it is known.

Workers: i is stage i. The last one turns the hidden state into a token and sends it to the first, which commits it.
Standard library only. Knows nothing of time. Positions are those of `spdsim.schedules.spd`.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from spdsim.schedules.one_token import State, advance, judge, start
from spdsim.schedules.ops import Compute, Op, Recv, Send
from spdsim.schedules.parties import StagesAlone, at_least, check_worker


@dataclass(frozen=True, slots=True)
class Layout(StagesAlone):
    """`num_stages` stages, at least 2. Raises ScheduleError for fewer: one stage needs no messages (SPD with n = 1)."""

    num_stages: int
    verification_lag: int = 0
    capacity: int = 1
    tells_verdicts: bool = False

    def __post_init__(self) -> None:
        at_least(2, num_stages=self.num_stages)


def program(state: State, worker: int) -> tuple[Op, ...]:
    """Return what `worker` does for one token, in order. Raises ScheduleError if there is no such worker."""
    check_worker(state.layout.num_workers, worker)
    return tuple(_stage(state, worker))


def _stage(state: State, worker: int) -> Iterator[Op]:
    last = state.layout.num_workers - 1
    if worker:
        yield Recv("hidden", state.oldest, worker - 1)
    yield Compute("prefill" if state.oldest < 0 else "forward", state.oldest)
    if worker < last:
        yield Send("hidden", state.oldest, worker + 1)
    else:
        yield Compute("verify", state.oldest + 1)
        yield Send("verdict", state.oldest + 1, 0)
    if worker == 0:
        yield Recv("verdict", state.oldest + 1, last)
        yield Compute("commit", state.oldest + 1)


__all__ = ["Layout", "advance", "judge", "program", "start"]
