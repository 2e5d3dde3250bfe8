"""The tokens that worker 0 has verified, in memory that its parent reads: nothing is sent, nothing lost with a rank.

Standard library only.
"""

import ctypes
from collections.abc import Iterator, Sequence

from executor.events import TokenVerified
from executor.plan import Job

Cells = ctypes.Array[ctypes.c_longlong]


class TokenLog:
    """Tokens in the order in which they were verified; one process writes, one reads. A cell that is 0 is unwritten."""

    def __init__(self, cells: Cells) -> None:
        self._cells = memoryview(cells).cast("B").cast("q")
        self._next = 0

    def write(self, event: TokenVerified) -> None:
        """Append a token."""
        # One store of one cell, so that a reader sees all of it or nothing.
        self._cells[self._next] = 1 + (event.job << 33 | event.token << 1 | event.accepted)
        self._next += 1

    def end(self) -> int:
        """Return the number of the first cell, from where reading stands, that is unwritten yet."""
        end = self._next
        while end < len(self._cells) and self._cells[end]:
            end += 1
        return end

    def read(self, end: int, last_job: int | None = None) -> Iterator[TokenVerified]:
        """Yield what was written before cell `end` and not read yet, of jobs up to `last_job`."""
        while self._next < end:
            value = self._cells[self._next] - 1
            job, token, accepted = value >> 33, value >> 1 & 0xFFFFFFFF, bool(value & 1)
            if last_job is not None and job > last_job:
                return
            self._next += 1
            yield TokenVerified(job, token, accepted)


def num_cells(jobs: Sequence[Job]) -> int:
    """Return how many tokens the jobs can give, at the most."""
    return sum(job.max_new_tokens for job in jobs)
