"""Where each rank is, in memory that all ranks of a node and their parent can read: cheap to write, read after a fault.

Standard library and `spdsim.schedules` only.
"""

import ctypes
from dataclasses import dataclass
from enum import IntEnum

from spdsim.schedules.spd import Layout

_FIELDS = 4
_JOB, _CYCLE, _DOING, _PEER = range(_FIELDS)


class Doing(IntEnum):
    """What a rank is at."""

    STARTING = 0
    LOADING = 1
    WORKING = 2
    WAITING = 3
    DONE = 4


@dataclass(frozen=True, slots=True)
class Place:
    """Where one rank is. peer: the worker whose message it waits for; -1 if it does not wait."""

    job: int
    cycle: int
    doing: Doing
    peer: int


class Progress:
    """The places of all ranks. A rank writes only its own."""

    def __init__(self, num_workers: int, cells: "ctypes.Array[ctypes.c_longlong] | None" = None) -> None:
        """Use `cells`, of `num_cells(num_workers)`, which processes share, or plain memory of this process."""
        memory = memoryview(bytearray(8 * num_cells(num_workers)) if cells is None else cells)
        self._cells = memory.cast("B").cast("q")

    def place(self, worker: int) -> Place:
        """Return where `worker` is."""
        job, cycle, doing, peer = self._cells[worker * _FIELDS : (worker + 1) * _FIELDS].tolist()
        return Place(job, cycle, Doing(doing), peer)

    def begin(self, worker: int, job: int, cycle: int) -> None:
        """Say that `worker` begins a cycle of a job."""
        cells, start = self._cells, worker * _FIELDS
        cells[start + _JOB] = job
        cells[start + _CYCLE] = cycle
        cells[start + _DOING] = Doing.WORKING
        cells[start + _PEER] = -1

    def is_doing(self, worker: int, doing: Doing, peer: int = -1) -> None:
        """Say what `worker` is at, and on whom it waits."""
        cells, start = self._cells, worker * _FIELDS
        cells[start + _DOING] = doing
        cells[start + _PEER] = peer


def num_cells(num_workers: int) -> int:
    """Return how many cells of 8 bytes the places of `num_workers` take."""
    return _FIELDS * num_workers


def rank_name(layout: Layout, worker: int) -> str:
    """Return what an error calls a worker: "rank 2 (stage 1)"."""
    role = layout.role(worker)
    return f"rank {worker} ({f'stage {layout.stage_of(worker)}' if role == 'stage' else role})"
