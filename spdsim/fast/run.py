"""Runs the code of machines that are alike for many sequences at a time, all of them at the same token.

Everybody performs the cycle that brings a token; those whose draft was rejected perform, as a smaller group, the
cycles that fill their pipeline again, and are then where the others are. Random numbers and verdicts have addresses,
so how sequences are put together changes no result.
"""

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

import numpy as np

from spdsim.draws import BLOCK_CYCLES
from spdsim.engine import Request
from spdsim.fast.code import Code
from spdsim.fast.constants import Constants, Part
from spdsim.fast.decoded import Decoded, empty
from spdsim.fast.lower import is_link
from spdsim.fast.noise import Noise, TooWideError
from spdsim.fast.plan import Plan, plan_of
from spdsim.fast.verdicts import Verdicts
from spdsim.machine import Machine

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]
    Floats = NDArray[np.float64]

CHUNK = 2048
"""Sequences that are decoded at a time: enough for NumPy, few enough for the processor's caches."""

_MAX_DRAWS_BYTES = 256 * 2**20


@dataclass(frozen=True, slots=True)
class Task:
    """Sequences of one machine: its plan, and when each request begins (shape (len(requests),); None: all at 0)."""

    plan: Plan
    requests: Sequence[Request]
    start_s: "Floats | None" = None


def decode(machine: Machine, requests: Sequence[Request], seed: int, start_s: "Floats | None" = None) -> Decoded:
    """Decode every request from its entry of `start_s` (0 unless given), as `Engine.decode` would.

    Times are the engine's to the last bit. `machine` must be one that `unsupported` has nothing against. Raises
    DeadlockError as the engine does.
    """
    return decode_each([Task(plan_of(machine, seed), requests, start_s)])[0]


def decode_each(tasks: Sequence[Task]) -> list[Decoded]:
    """Decode the requests of every task, those of plans that are alike together; the times are those of each alone."""
    found: dict[int, Decoded] = {}
    alike: dict[Hashable, list[int]] = {}
    for number, task in enumerate(tasks):
        alike.setdefault(task.plan.likeness, []).append(number)
    for numbers in alike.values():
        found.update(zip(numbers, _decode_alike([tasks[number] for number in numbers]), strict=True))
    return [found[number] for number in range(len(tasks))]


def _decode_alike(tasks: Sequence[Task]) -> Iterator[Decoded]:
    """Decode the tasks, whose plans are alike, and yield what each gave."""
    sizes = [len(task.requests) for task in tasks]
    work = _Work(
        [task.plan for task in tasks], np.repeat(np.arange(len(tasks)), sizes),
        [request for task in tasks for request in task.requests],
    )  # fmt: skip
    start_s = [np.zeros(len(task.requests)) if task.start_s is None else task.start_s for task in tasks]
    num_tokens = np.array([request.num_tokens for request in work.requests], np.int64)
    done = empty(num_tokens, np.concatenate(start_s, dtype=np.float64))
    for first in range(0, len(work.requests), CHUNK):
        _decode(work, slice(first, min(first + CHUNK, len(work.requests))), done)
    end = 0
    for size in sizes:
        here, end = slice(end, end + size), end + size
        of_task = Decoded(*(getattr(done, field.name)[here] for field in fields(Decoded)))
        yield replace(of_task, token_end_s=of_task.token_end_s[:, : of_task.num_tokens.max(initial=0)])


@dataclass(frozen=True, slots=True)
class _Work:
    """Requests, and of which of the plans, which are alike, each is: machines, shape (len(requests),)."""

    plans: Sequence[Plan]
    machines: "Ints"
    requests: Sequence[Request]

    def part(self, here: slice) -> "_Work":
        """Return some of the requests, with the plans of no others."""
        used, machines = np.unique(self.machines[here], return_inverse=True)
        return _Work([self.plans[number] for number in used.tolist()], machines, self.requests[here])


def _decode(work: _Work, here: slice, done: Decoded) -> None:
    """Decode some of the requests and write their entries of `done`."""
    try:
        decoded = _Chunk(work.part(here), done.prompt_at_s[here]).run()
    except TooWideError:
        half = (here.start + here.stop) // 2
        _decode(work, slice(here.start, half), done)
        _decode(work, slice(half, here.stop), done)
        return
    for field in fields(Decoded):
        to, found = getattr(done, field.name)[here], getattr(decoded, field.name)
        to[..., : found.shape[-1]] = found


class _Group:
    """Sequences that perform the same cycles together, as arrays with one entry each.

    sequence: which of the chunk's each is. registers: shape (R, size); cells: those, and all others of the code. cycle:
    the next cycle of each. at: where its draws stand. constants: the last of the cells.
    """

    __slots__ = ("at", "cells", "constants", "cycle", "registers", "sequence")

    def __init__(
        self, sequence: "Ints", registers: "Floats", cycle: "Ints", at: "Ints", between: "Floats", constants: Part
    ) -> None:
        self.sequence, self.registers, self.cycle, self.at = sequence, registers, cycle, at
        self.constants = constants
        self.cells = [*registers, *between, *constants.cells]


class _Chunk:
    """Sequences that are decoded at a time, and what is noted of them on the way."""

    def __init__(self, work: _Work, start_s: "Floats") -> None:
        requests, programs = work.requests, [plan.program for plan in work.plans]
        self._plan = plan = work.plans[0]
        self._num_tokens = np.array([request.num_tokens for request in requests], np.int64)
        self._lengths = frozenset(self._num_tokens.tolist())
        self._verdicts = Verdicts([request.own_coins for request in requests], self._num_tokens)
        numbers = np.array([request.number for request in requests], np.int64)
        self._noise = Noise([program.draws for program in programs], work.machines, numbers, _MAX_DRAWS_BYTES)
        self._constants = Constants([program.constants for program in programs], work.machines)
        program, size = plan.program, len(requests)
        self._between = np.empty((program.num_cells - len(program.registers), size))
        self._capacity = len(plan.fill) + 1
        self._done = empty(self._num_tokens, start_s)
        self._token_end_s = np.full((max(self._lengths), size), np.nan)

    def run(self) -> Decoded:
        """Decode all sequences. Raises TooWideError where their draws do not fit the memory."""
        plan, group, oldest = self._plan, self._begin(), 0
        self._perform(group, plan.prefill, -1, self._noise.prefill)
        group = self._commit(group, plan.prefill, 0)
        if len(group.sequence):
            self._fill(group, plan.fill, oldest)
        while len(group.sequence):
            self._cycle(group, plan.full, oldest, self._capacity)
            oldest += 1
            group = self._commit(group, plan.full, oldest)
            rejected = (~self._verdicts.of(oldest, group.sequence)).nonzero()[0]
            if plan.drafts and len(rejected):
                self._done.num_rejections[group.sequence[rejected]] += 1
                self._refill(group, rejected, oldest)
        return replace(self._done, token_end_s=self._token_end_s.T)

    def _begin(self) -> _Group:
        start_s, registers = self._done.prompt_at_s, self._plan.program.registers
        size = len(start_s)
        values = np.array([np.zeros(size) if is_link(register) else start_s for register in registers])
        return self._group(np.arange(size), values, np.zeros(size, np.int64), np.arange(size))

    def _group(self, sequence: "Ints", registers: "Floats", cycle: "Ints", at: "Ints") -> _Group:
        between = self._between[:, : len(sequence)]
        return _Group(sequence, registers, cycle, at, between, self._constants.of(sequence))

    def _part(self, group: _Group, members: "Ints", num_registers: int | None = None) -> _Group:
        """Copy some members of a group, with all registers or the first of them."""
        registers = np.empty((len(group.registers), len(members)))
        group.registers[:num_registers].take(members, 1, registers[:num_registers], "clip")
        return self._group(group.sequence[members], registers, group.cycle[members], group.at[members])

    def _fill(self, group: _Group, codes: Sequence[Code], oldest: int) -> None:
        for depth, code in enumerate(codes, start=1):
            self._cycle(group, code, oldest, depth)

    def _refill(self, group: _Group, rejected: "Ints", oldest: int) -> None:
        """Let those of a group whose draft was rejected catch up with the others."""
        used = self._plan.num_refilled
        few = self._part(group, rejected, used)
        self._fill(few, self._plan.refill, oldest)
        group.registers[:used, rejected] = few.registers[:used]
        group.cycle[rejected], group.at[rejected] = few.cycle, few.at

    def _cycle(self, group: _Group, code: Code, oldest: int, fill_depth: int) -> None:
        """Perform one decode cycle."""
        if self._noise.pools:
            # A power of two: a division would take as long as all the rest.
            entering = (group.cycle & (BLOCK_CYCLES - 1) == 0).nonzero()[0]
            if len(entering):
                group.at[entering] = self._noise.at(group.sequence[entering], group.cycle[entering])
        self._perform(group, code, oldest, self._noise.pools)
        group.cycle += 1
        group.at += len(self._noise.pools)
        if self._plan.drafts:
            self._verdicts.draft(oldest + fill_depth, fill_depth, group.sequence)

    def _perform(self, group: _Group, code: Code, oldest: int, pools: "Sequence[Floats]") -> None:
        cells, at = group.cells, group.at
        group.constants.move(code.moving, oldest)
        for operation, left, right, result in code.instructions:
            if operation is None:
                # Without a mode NumPy would check the entries first, into a buffer.
                pools[left].take(at, None, cells[result], "clip")
            else:
                operation(cells[left], cells[right], out=cells[result])

    def _commit(self, group: _Group, code: Code, position: int) -> _Group:
        """Note the token at `position`; return the group without those that it ends."""
        sequence = group.sequence
        self._token_end_s[position, sequence] = group.cells[code.committed]
        if position + 1 not in self._lengths:
            return group
        is_last = self._num_tokens[sequence] == position + 1
        self._end(group, np.flatnonzero(is_last), position)
        return self._part(group, np.flatnonzero(~is_last))

    def _end(self, group: _Group, members: "Ints", position: int) -> None:
        done, sequence = self._done, group.sequence[members]
        done.begin_s[sequence] = self._token_end_s[0, sequence]
        # y_1 is not drafted, and nothing is decoded where it is the last token, too.
        done.end_s[sequence] = group.registers[self._plan.driver, members] if position else done.begin_s[sequence]
        done.done_s[sequence] = group.registers[list(self._plan.clocks)][:, members].max(axis=0)
        done.num_cycles[sequence] = group.cycle[members]
        rejected = ~self._verdicts.of(position, sequence) if self._plan.drafts and position else False
        done.num_rejected[sequence] = done.num_rejections[sequence] + rejected
        self._noise.forget(sequence)
