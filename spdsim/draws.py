"""Random durations by address: the draw of a cycle is the same whoever asks for it, and in whatever order."""

from zlib import crc32

import numpy as np

from spdsim.distributions import Constant, Distribution, draw

_BLOCK = 1024
_EVERYBODY = 2**31 - 1
"""In place of a worker's index: beyond every worker."""


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


class SharedDraws:
    """Draws that several workers share in a part of the cycles, and have each of their own in the others.

    What holds up a machine holds up all of its workers at a time. In the cycles that are shared, the same in all
    workers, each takes the same quantile of its own distribution.
    """

    __slots__ = ("_choice", "_chosen", "_common", "_fraction", "_key", "_own")

    def __init__(self, distribution: Distribution, key: tuple[int, int, str, int], fraction: float) -> None:
        seed, _, what, detail = key
        self._fraction = fraction
        self._own, self._common = Draws(distribution, key), Draws(distribution, (seed, _EVERYBODY, what, detail))
        self._key = (seed, _EVERYBODY, crc32(b"shared " + what.encode()), detail)
        self.restart(0)

    def restart(self, sequence: int) -> None:
        """Begin a sequence."""
        self._own.restart(sequence)
        self._common.restart(sequence)
        self._choice = np.random.Generator(np.random.PCG64(np.random.SeedSequence((*self._key, sequence))))
        self._chosen: list[bool] = []

    def at(self, cycle: int) -> float:
        """Return the seconds drawn for `cycle`."""
        while cycle + 1 >= len(self._chosen):
            self._chosen.extend((self._choice.random(_BLOCK) < self._fraction).tolist())
        return (self._common if self._chosen[cycle + 1] else self._own).at(cycle)
