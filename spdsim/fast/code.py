"""From the graphs of all cycles to instructions on arrays: which clocks matter, and where each value is kept.

Cells are arrays of one entry a sequence: first the registers that matter, then those for values in between, then
constants, which have no dimension. An instruction writes one cell.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from spdsim.draws import Draws
from spdsim.fast.graph import Drawn, Latest, Register, Scalar, Sum
from spdsim.fast.lower import Cycle

Instruction = tuple[Callable[..., Any] | None, int, int, int]
"""Operation, cells of its operands, cell of its result; without an operation the first is the number of a stream of
draws, of which the entries of this cycle are taken."""


@dataclass(frozen=True, slots=True)
class Code:
    """One shape of cycle.

    moving: numbers of the constants that depend on the position. reads, writes: the registers' cells. committed: the
    cell that holds when the driver's bookkeeping ended, if it did any.
    """

    instructions: tuple[Instruction, ...]
    moving: tuple[int, ...]
    reads: frozenset[int]
    writes: frozenset[int]
    committed: int


@dataclass(frozen=True, slots=True)
class Program:
    """The codes of all shapes of cycle, and the cells that they share.

    registers: those that have a cell, in order; those that most cycles touch come first. num_cells: registers and
    values in between. constants: by number, what the cells after them hold. draws: the streams by number.
    """

    codes: tuple[Code, ...]
    registers: tuple[int, ...]
    num_cells: int
    constants: tuple[Scalar, ...]
    draws: tuple[Draws, ...]


def assemble(cycles: Sequence[Cycle], wanted: Iterable[int]) -> Program:
    """Return the code of every cycle; the registers `wanted` are asked for at the end."""
    found = _registers(cycles, set(wanted))
    uses = Counter(register for cycle in cycles for register in _touched(cycle, found))
    registers = tuple(sorted(found, key=lambda register: (-uses[register], register)))
    cells = {register: cell for cell, register in enumerate(registers)}
    parts = [_Assembler(cycle, cells) for cycle in cycles]
    num_cells = max(part.num_cells for part in parts)
    constants, streams = dict[Scalar, int](), dict[Draws, int]()
    codes = tuple(part.code(num_cells, constants, streams) for part in parts)
    return Program(codes, registers, num_cells, tuple(constants), tuple(streams))


def _registers(cycles: Sequence[Cycle], wanted: set[int]) -> set[int]:
    """The registers on which those wanted, and what is committed, depend."""
    while True:
        found = set(wanted)
        for cycle in cycles:
            read = (cycle.graph.nodes[node] for node in _needed(cycle, found))
            found |= {node.number for node in read if isinstance(node, Register)}
        if found == wanted:
            return found
        wanted = found


def _touched(cycle: Cycle, registers: set[int]) -> set[int]:
    """The registers that the cycle reads or writes."""
    read = {
        node.number
        for node in map(cycle.graph.nodes.__getitem__, _needed(cycle, registers))
        if isinstance(node, Register)
    }
    return read | set(_results(cycle, registers))


def _results(cycle: Cycle, registers: Iterable[int]) -> dict[int, int]:
    """By register, the node that it is to hold; without those that keep what they hold."""
    held = {register: cycle.after[register] for register in registers if register in cycle.after}
    return {register: node for register, node in held.items() if cycle.graph.nodes[node] != Register(register)}


def _needed(cycle: Cycle, registers: Iterable[int]) -> set[int]:
    """The nodes to be worked out so that the registers and what is committed are known."""
    todo = list(_results(cycle, registers).values())
    if cycle.committed is not None:
        todo.append(cycle.committed)
    found: set[int] = set()
    while todo:
        node = todo.pop()
        if node not in found:
            found.add(node)
            todo += cycle.graph.operands(node)
    return found


def _copy(cell: int, to: int) -> Instruction:
    return np.maximum, cell, cell, to


class _Assembler:
    """Gives every node of a cycle a cell.

    A register's result is worked out in the register's own cell if nobody asks any more for what it held; else it is
    copied there at the end. What a register held and somebody wants at the end is copied away at the beginning.
    """

    def __init__(self, cycle: Cycle, cells: Mapping[int, int]) -> None:
        self._nodes, self._operands = cycle.graph.nodes, cycle.graph.operands
        self._committed = cycle.committed
        self._results = {cells[register]: node for register, node in _results(cycle, cells).items()}
        self._cell_of = {
            node: cells[held.number]
            for node in _needed(cycle, cells)
            if isinstance(held := self._nodes[node], Register)
        }
        self._reads = frozenset(self._cell_of.values())
        self._order = [n for n in sorted(_needed(cycle, cells)) if not isinstance(self._nodes[n], (Register, Scalar))]
        self.num_cells = self._num_registers = len(cells)
        self._free: list[int] = []
        self._saved = self._saved_registers()
        self._place()

    def code(self, num_cells: int, constants: dict[Scalar, int], streams: dict[Draws, int]) -> Code:
        """Return the instructions; the numbers of constants and streams are looked up, or added.

        num_cells: the cells before those of the constants.
        """
        moving: list[int] = []

        def cell(node: int) -> int:
            scalar = self._nodes[node]
            if not isinstance(scalar, Scalar):
                return self._cell_of[node]
            number = constants.setdefault(scalar, len(constants))
            if scalar.slope_s and number not in moving:
                moving.append(number)
            return num_cells + number

        def instruction(node: int) -> Instruction:
            match self._nodes[node]:
                case Drawn(draws):
                    return None, streams.setdefault(draws, len(streams)), 0, self._cell_of[node]
                case Sum(left, right):
                    return np.add, cell(left), cell(right), self._cell_of[node]
                case Latest(left, right):
                    return np.maximum, cell(left), cell(right), self._cell_of[node]
                case other:
                    raise AssertionError(f"{other} is not worked out")

        final = {node: self._saved.get(node, self._cell_of.get(node, -1)) for node in self._wanted_at_end()}
        saves = [_copy(self._cell_of[node], to) for node, to in self._saved.items()]
        copies = [_copy(final[node], to) for to, node in self._results.items() if final[node] != to]
        instructions = (*saves, *map(instruction, self._order), *copies)
        return Code(
            instructions, tuple(moving), self._reads, frozenset(self._results),
            -1 if self._committed is None else final[self._committed],
        )  # fmt: skip

    def _wanted_at_end(self) -> set[int]:
        return {*self._results.values(), *(() if self._committed is None else (self._committed,))}

    def _saved_registers(self) -> dict[int, int]:
        """The cells to which what registers held is copied, by node."""
        return {node: self._new_cell() for node in self._wanted_at_end() if isinstance(self._nodes[node], Register)}

    def _place(self) -> None:
        """Choose a cell for every node that is worked out, and use cells again that nobody asks for any more."""
        last_use = {operand: node for node in self._order for operand in self._operands(node)}
        homes = self._homes(last_use)
        wanted = self._wanted_at_end()
        for node in self._order:
            for operand in set(self._operands(node)):
                is_between = self._cell_of.get(operand, -1) >= self._num_registers
                if is_between and last_use[operand] == node and operand not in wanted:
                    self._free.append(self._cell_of[operand])
            self._cell_of[node] = homes[node] if node in homes else self._new_cell()

    def _homes(self, last_use: Mapping[int, int]) -> dict[int, int]:
        """The registers' cells in which results are worked out, by node."""
        reader = {cell: last_use.get(node, -1) for node, cell in self._cell_of.items()}
        homes: dict[int, int] = {}
        for cell, node in self._results.items():
            if node not in self._cell_of and node not in homes and reader.get(cell, -1) <= node:
                homes[node] = cell
        return homes

    def _new_cell(self) -> int:
        if self._free:
            return self._free.pop()
        self.num_cells += 1
        return self.num_cells - 1
