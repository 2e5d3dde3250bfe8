"""Random durations by address: the draw of a cycle is the same whoever asks for it, and in whatever order."""

from zlib import crc32

import numpy as np

from spdsim.distributions import Constant, Distribution, draw

_BLOCK = 1024


def constant_s(distribution: Distribution) -> float:
    """Return the seconds of a constant; 0 for a distribution that has to be drawn."""
    return distribution.value_s if isinstance(distribution, Constant) else 0.0


class Draws:
    """The draws of one random duration, by cycle, anew for each sequence.

    `at(cycle)` depends on the key, the sequence and the cycle only (-1, the prefill, is the first).
    """

    __slots__ = ("_distribution", "_generator", "_key", "_values")

    def __init__(self, distribution: Distribution, key: tuple[int, int, str, int]) -> None:
        seed, worker, what, detail = key
        self._distribution = distribution
        self._key = (seed, worker, crc32(what.encode()), detail)
        self.restart(0)

    @classmethod
    def of(cls, distribution: Distribution, key: tuple[int, int, str, int]) -> "Draws | None":
        """Return the draws of `distribution`, or None if it is constant and needs none."""
        return None if isinstance(distribution, Constant) else cls(distribution, key)

    def restart(self, sequence: int) -> None:
        """Begin a sequence."""
        self._generator = np.random.Generator(np.random.PCG64(np.random.SeedSequence((*self._key, sequence))))
        self._values: list[float] = []

    def at(self, cycle: int) -> float:
        """Return the seconds drawn for `cycle`."""
        while cycle + 1 >= len(self._values):
            self._values.extend(draw(self._distribution, self._generator, _BLOCK).tolist())
        return self._values[cycle + 1]
