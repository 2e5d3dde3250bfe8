"""Plain decoding over a pipeline that several sequences share: while one passes a stage, others pass the others.

Workers: i is stage i. The last one turns hidden states into tokens and sends them to the first, which commits them.
With no more groups of sequences than stages, no stage ever has two at once. Standard library only. Knows nothing of
time.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from spdsim.errors import ScheduleError
from spdsim.schedules.ops import Compute, Op, Recv, Send
from spdsim.schedules.parties import StagesAlone, at_least, check_worker
from spdsim.schedules.slots import Slot, State, advance, after, judge, ops_for, prompts, start
from spdsim.schedules.spd import PROMPT


@dataclass(frozen=True, slots=True)
class Layout(StagesAlone):
    """`num_stages` stages, at least 2. sequences: in flight; entries: those that pass a stage together.

    Raises ScheduleError when a value is out of its range.
    """

    num_stages: int
    sequences: int
    entries: int = 1
    verification_lag: int = 0
    capacity: int = 1
    tells_verdicts: bool = False
    drafts: bool = False

    def __post_init__(self) -> None:
        at_least(2, num_stages=self.num_stages)
        at_least(1, sequences=self.sequences)
        if not 1 <= self.entries <= self.sequences:
            raise ScheduleError(f"entries is {self.entries}: must be 1 to the {self.sequences} sequences")


def program(state: State, worker: int) -> tuple[Op, ...]:
    """Return what `worker` does in this cycle, in order. Raises ScheduleError if there is no such worker."""
    check_worker(state.layout.num_workers, worker)
    found: list[Op] = []
    for op, tokens in _prefill(state, worker) if state.cycle < 0 else _cycle(state, worker):
        found += ops_for(state, op, tokens)
    return tuple(found)


def _prefill(state: State, worker: int) -> Iterator[tuple[Op, Slot]]:
    """All prompts, which pass the stages one after another."""
    every, last = prompts(state), state.layout.num_workers - 1
    if worker:
        yield Recv("hidden", PROMPT, worker - 1), every
    yield Compute("prefill", PROMPT), every
    yield from _passed_on(worker, last, every)
    yield from _verdicts(worker, last, every)


def _cycle(state: State, worker: int) -> Iterator[tuple[Op, Slot]]:
    """The forward of what is in the slot, and the receipt of what is in it next."""
    last = state.layout.num_workers - 1
    yield Compute("forward", 0), state.slots[worker]
    yield from _passed_on(worker, last, state.slots[worker])
    if worker:
        yield Recv("hidden", 0, worker - 1), state.slots[worker - 1]
    yield from _verdicts(worker, last, state.leaving)


def _passed_on(worker: int, last: int, tokens: Slot) -> Iterator[tuple[Op, Slot]]:
    if worker < last:
        yield Send("hidden", 0, worker + 1), tokens
    else:
        yield Compute("verify", 0), after(tokens)
        yield Send("verdict", 0, 0), after(tokens)


def _verdicts(worker: int, last: int, leaving: Slot) -> Iterator[tuple[Op, Slot]]:
    if worker == 0:
        yield Recv("verdict", 0, last), after(leaving)
        yield Compute("commit", 0), after(leaving)


__all__ = ["Layout", "advance", "judge", "program", "start"]
