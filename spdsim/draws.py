"""Random durations by address: the draw of a sequence and a cycle is the same whoever asks, and in whatever order.

Numbers are drawn in blocks, each from a generator of its own for 64 sequences: one of each sequence for the prefill,
and then one of each for every 128 cycles. Whoever simulates one sequence takes its row of every block; whoever
simulates many at a time takes whole blocks.
"""

from collections.abc import Callable, Hashable, Iterator
from itertools import chain, repeat
from typing import TYPE_CHECKING, NamedTuple
from zlib import crc32

import numpy as np

from spdsim.distributions import Constant, Distribution, draw

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

BLOCK_SEQUENCES = 64
"""Sequences that one generator serves: a new one costs as much as some hundred draws."""

BLOCK_CYCLES = 128

_EVERYBODY = 2**31 - 1
"""In place of a worker's index: beyond every worker."""


class Address(NamedTuple):
    """Which random duration is drawn.

    what: the task or message. detail: the destination of a message; which of a task's distributions by fill depth
    (`Duration.number_at_depth`). occurrence: which of the equal tasks or messages of a worker in a cycle, from 0.
    """

    seed: int
    worker: int
    what: str
    detail: int = 0
    occurrence: int = 0


def constant_s(distribution: Distribution) -> float:
    """Return the seconds of a constant; 0 for a distribution that has to be drawn."""
    return distribution.value_s if isinstance(distribution, Constant) else 0.0


class Draws:
    """The draws of one random duration, by sequence and cycle; -1, the prefill, is the first cycle.

    shared_fraction: part of the cycles in which all workers share the draw. What holds up a machine holds up all of
    its workers at a time: in the cycles that are shared, the same in all workers, each takes the same quantile of its
    own distribution; in the others each has a draw of its own.
    """

    __slots__ = ("_address", "_block", "_blocks", "_distribution", "_drawn", "_fraction", "_row", "_values")

    def __init__(self, distribution: Distribution, address: Address, shared_fraction: float = 0.0) -> None:
        self._distribution, self._address, self._fraction = distribution, address, shared_fraction
        self._block = -1
        self.restart(0)

    @classmethod
    def of(cls, distribution: Distribution, address: Address, shared_fraction: float = 0.0) -> "Draws | None":
        """Return the draws of `distribution`, or None if it is constant and needs none."""
        return None if isinstance(distribution, Constant) else cls(distribution, address, shared_fraction)

    @property
    def key(self) -> Hashable:
        """What the draws depend on: those of an equal key are the same."""
        return self._distribution, self._address, self._fraction

    def restart(self, sequence: int) -> None:
        """Let `at` speak of this sequence from now on."""
        block, self._row = divmod(sequence, BLOCK_SEQUENCES)
        if block != self._block:
            self._block, self._blocks = block, self.blocks(block)
            self._drawn: list[Floats] = []
        self._values: list[float] = []
        for drawn in self._drawn:
            self._values.extend(drawn[self._row].tolist())

    def at(self, cycle: int) -> float:
        """Return the seconds drawn for `cycle`."""
        while cycle + 1 >= len(self._values):
            drawn = next(self._blocks)
            self._drawn.append(drawn)
            self._values.extend(drawn[self._row].tolist())
        return self._values[cycle + 1]

    def blocks(self, number: int) -> "Iterator[Floats]":
        """Yield the draws of sequences 64 * number and the 63 that follow, without end.

        The first array, of shape (64, 1), is for the prefill; each other, of shape (64, 128), for the next 128 cycles.
        """
        own = _blocks(self._seconds, self._address, number)
        if self._fraction == 0.0:
            return own
        everybody = self._address._replace(worker=_EVERYBODY)
        choices = _blocks(_uniform, everybody._replace(what=f"shared {everybody.what}"), number)
        together = _blocks(self._seconds, everybody, number)
        return (
            np.where(choice < self._fraction, shared, alone)
            for choice, shared, alone in zip(choices, together, own, strict=True)
        )

    def _seconds(self, generator: np.random.Generator, count: int) -> "Floats":
        return draw(self._distribution, generator, count)


def _uniform(generator: np.random.Generator, count: int) -> "Floats":
    return generator.random(count)


def _blocks(
    sample: "Callable[[np.random.Generator, int], Floats]", address: Address, number: int
) -> "Iterator[Floats]":
    seed, worker, what, detail, occurrence = address
    key = (seed, worker, crc32(what.encode()), detail, number, occurrence)
    generator = np.random.Generator(np.random.SFC64(np.random.SeedSequence(key)))
    for count in chain((1,), repeat(BLOCK_CYCLES)):
        yield sample(generator, BLOCK_SEQUENCES * count).reshape(BLOCK_SEQUENCES, count)
