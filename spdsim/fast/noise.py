"""The random durations of many sequences at a time: whole blocks of draws, kept while a sequence is yet to use them."""

from collections.abc import Hashable, Iterator, Sequence
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from spdsim.draws import BLOCK_CYCLES, BLOCK_SEQUENCES, Draws

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]
    Floats = NDArray[np.float64]

_DONE = 2**62


class TooWideError(Exception):
    """Some sequences are so far behind others that the draws kept for them do not fit the memory."""


class Noise:
    """The draws of every stream for the sequences of a chunk.

    pools: by stream, the draws of all blocks in use. An entry is found by `at`, which counts up with the cycle until a
    block ends. prefill: by stream, the draws for the prefill, shape (S,).
    """

    def __init__(self, streams: Sequence[Sequence[Draws]], machines: "Ints", numbers: "Ints", max_bytes: int) -> None:
        """Begin with `numbers`, the sequences. Raise TooWideError later, when draws need more than `max_bytes`.

        streams: by machine, as many of each. machines: which of them each sequence has. Machines whose durations are
        drawn alike share their draws.
        """
        num_streams = len(streams[0])
        alike = dict[tuple[Hashable, ...], int]()
        kinds = np.array([alike.setdefault(tuple(d.key for d in each), len(alike)) for each in streams], np.int64)
        first_like = np.unique(kinds, return_index=True)[1]
        blocks = numbers // BLOCK_SEQUENCES
        num_blocks = int(blocks.max()) + 1
        self._group: Ints
        groups, self._group = np.unique(kinds[machines] * num_blocks + blocks, return_inverse=True)
        self._row = numbers % BLOCK_SEQUENCES
        self._sources: list[list[Iterator[Floats]]] = [
            [draws.blocks(group % num_blocks) for draws in streams[first_like[group // num_blocks]]]
            for group in groups.tolist()
        ]
        self._block = np.zeros(len(numbers), np.int64)
        self._slots = np.full((len(self._sources), 4), -1)
        self._free: list[int] = []
        self._num_slots = 0
        shape = (BLOCK_SEQUENCES, BLOCK_CYCLES, num_streams)
        self._max_slots = max(2, max_bytes // (8 * max(1, prod(shape))))
        # Memory that is never touched is never taken. What a sequence needs in a cycle is close together.
        self._draws = np.empty((self._max_slots, *shape))
        flat = self._draws.reshape(-1)
        self.pools: list[Floats] = [flat[stream:] for stream in range(num_streams)]
        self.prefill = self._first()

    def at(self, sequences: "Ints", cycles: "Ints") -> "Ints":
        """Return where the draws of these cycles, one of each sequence, stand in `pools`; draw what is not there yet.

        A sequence does not go back behind a block that it asked for.
        """
        group, block = self._group[sequences], cycles // BLOCK_CYCLES
        self._block[sequences] = block
        while block.max() >= self._slots.shape[1]:
            self._slots = np.pad(self._slots, ((0, 0), (0, self._slots.shape[1])), constant_values=-1)
        slots = self._slots[group, block]
        if (slots < 0).any():
            for one, number in sorted({*zip(group[slots < 0].tolist(), block[slots < 0].tolist(), strict=True)}):
                self._draw(one, number)
            slots = self._slots[group, block]
        row = slots * BLOCK_SEQUENCES + self._row[sequences]
        return (row * BLOCK_CYCLES + cycles % BLOCK_CYCLES) * len(self.pools)

    def forget(self, sequences: "Ints") -> None:
        """These sequences have ended and will ask no more."""
        self._block[sequences] = _DONE

    def _first(self) -> "list[Floats]":
        first = [[next(source)[:, 0] for source in sources] for sources in self._sources]
        return [np.array(of_stream)[self._group, self._row] for of_stream in zip(*first, strict=True)]

    def _draw(self, group: int, block: int) -> None:
        if not self._free:
            self._make_room()
        slot = self._slots[group, block] = self._free.pop()
        for stream, source in enumerate(self._sources[group]):
            self._draws[slot, :, :, stream] = next(source)

    def _make_room(self) -> None:
        """Free the blocks that all sequences of their group have left behind; if they are few, take more memory."""
        first_used = np.full(len(self._slots), _DONE)
        np.minimum.at(first_used, self._group, self._block)
        is_left = np.arange(self._slots.shape[1]) < first_used[:, np.newaxis]
        self._free += self._slots[is_left & (self._slots >= 0)].tolist()
        self._slots[is_left] = -1
        more = len(self._slots) // 8 + 1
        if len(self._free) < more:
            if self._num_slots + more > self._max_slots:
                raise TooWideError
            self._free += range(self._num_slots, self._num_slots + more)
            self._num_slots += more
