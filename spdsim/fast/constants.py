"""The constants of machines that differ in nothing else: one number where all agree, else one for each sequence."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from spdsim.fast.graph import Scalar

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]
    Floats = NDArray[np.float64]


class Constants:
    """The constants of a chunk of sequences, by number."""

    def __init__(self, scalars: Sequence[Sequence[Scalar]], machines: "Ints") -> None:
        """scalars: of each machine, their offsets the same in all. machines: which one each sequence has."""
        by_number = list(zip(*scalars, strict=True))
        self.common = [values[0] if len(set(values)) == 1 else None for values in by_number]
        self.offsets = [values[0].offset for values in by_number]
        own = [number for number, scalar in enumerate(self.common) if scalar is None]
        self.rows = {number: row for row, number in enumerate(own)}
        base_s = [[scalar.base_s for scalar in by_number[number]] for number in own]
        slope_s = [[scalar.slope_s for scalar in by_number[number]] for number in own]
        by_machine = np.array([base_s, slope_s], np.float64).reshape(2, len(own), len(scalars))
        self._is_moving = [values[0].slope_s != 0.0 for values in by_number]
        self._own = by_machine.take(machines, 2)
        self._cells = [None if scalar is None else np.array(scalar.base_s) for scalar in self.common]
        # Worked out anew in each cycle, so that all who take turns have them in the same memory.
        self._moving = np.empty(self._own.shape[1:])

    def of(self, sequences: "Ints") -> "Part":
        """Return the constants of some sequences of the chunk."""
        size = len(sequences)
        own = self._own.take(sequences, 2) if self.rows else self._own
        cells = [
            cell if cell is not None
            else self._moving[self.rows[number], :size] if self._is_moving[number]
            else own[0, self.rows[number]]
            for number, cell in enumerate(self._cells)
        ]  # fmt: skip
        return Part(self, own, cells)


class Part:
    """The constants of sequences that are decoded together: `cells`, each with one entry or one for each sequence."""

    __slots__ = ("_all", "_own", "cells")

    def __init__(self, constants: Constants, own: "Floats", cells: "list[Floats]") -> None:
        self._all, self._own, self.cells = constants, own, cells

    def move(self, numbers: Iterable[int], oldest: int) -> None:
        """Work out those constants that depend on the position, of which `oldest` is the oldest in flight."""
        for number in numbers:
            scalar, cell = self._all.common[number], self.cells[number]
            position = oldest + self._all.offsets[number]
            if scalar is not None:
                cell[()] = scalar.base_s + scalar.slope_s * position
            else:
                base_s, slope_s = self._own[:, self._all.rows[number]]
                np.multiply(slope_s, position, out=cell)
                np.add(base_s, cell, out=cell)
