"""The connections of every rank with worker 0 beside the run's messages: what time it is there, and what came of it.

Knows nothing of what a report holds but its spans' times.
"""

import pickle
import struct
import time
from collections.abc import Sequence
from socket import MSG_WAITALL

from executor.events import RankReport
from executor.transport.clocks import Exchange, Offset, offset_of, shift
from executor.transport.lines import Line
from executor.transport.meeting import Meeting
from executor.transport.sockets import Sockets

_TIME = struct.Struct("=d")
_SIZE = struct.Struct("=Q")
_NUM_EXCHANGES = 200
_PIECE_BYTES = 1 << 20


class Control:
    """One rank's side. All ranks call each method at the same time."""

    def __init__(self, meeting: Meeting, hosts: Sequence[str]) -> None:
        """Connect to worker 0. Raises LaunchError if a worker does not come, or cannot be reached."""
        self._worker, self._hosts = meeting.worker, hosts
        others = range(1, len(hosts))
        keys = [*(("report", worker, 0) for worker in others), *(("word", 0, worker) for worker in others)]
        self._sockets = Sockets(meeting, hosts, keys)

    def set_timeout(self, timeout_s: float) -> None:
        """Let no rank wait longer than `timeout_s` for another."""
        self._sockets.set_timeout(timeout_s)

    def close(self) -> None:
        """Leave the other ranks."""
        self._sockets.close()

    def offset(self) -> Offset | None:
        """Return what to add to this host's clock to have worker 0's; None where the clock is the same.

        Raises LostRankError if a rank is gone.
        """
        if self._worker == 0:
            for worker, host in enumerate(self._hosts):
                if host != self._hosts[0]:
                    asked, answered = self._lines(worker)
                    for _ in range(_NUM_EXCHANGES):
                        _receive(asked, 1)
                        _send(answered, _TIME.pack(time.perf_counter()))
            return None
        return offset_of(self._exchange() for _ in range(_NUM_EXCHANGES)) if self._is_elsewhere else None

    def gather(self, report: RankReport, before: Offset | None) -> list[RankReport]:
        """Return the reports of all ranks, on worker 0's clock, on worker 0; else nothing, once it has them all.

        before: what `offset` said before the run. Raises LostRankError if a rank is gone.
        """
        after = self.offset()
        if self._worker == 0:
            reports = [report, *(self._take(worker) for worker in range(1, len(self._hosts)))]
            for worker in range(1, len(self._hosts)):
                _send(self._lines(worker)[1], b"!")
            return reports
        if before is not None and after is not None:
            shift(report.spans.start_s, before, after)
            shift(report.spans.end_s, before, after)
        told, heard = self._lines(self._worker)
        packed = pickle.dumps(report)
        _send(told, _SIZE.pack(len(packed)) + packed)
        _receive(heard, 1)
        return []

    @property
    def _is_elsewhere(self) -> bool:
        return self._hosts[self._worker] != self._hosts[0]

    def _lines(self, worker: int) -> tuple[Line, Line]:
        """The connections from a worker to worker 0, and back."""
        lines = self._sockets.lines
        return lines["report", worker, 0], lines["word", 0, worker]

    def _exchange(self) -> Exchange:
        asked, answered = self._lines(self._worker)
        sent_s = time.perf_counter()
        _send(asked, b"?")
        (other_s,) = _TIME.unpack(_receive(answered, _TIME.size))
        return Exchange(sent_s, other_s, time.perf_counter())

    def _take(self, worker: int) -> RankReport:
        line = self._lines(worker)[0]
        (size,) = _SIZE.unpack(_receive(line, _SIZE.size))
        report: RankReport = pickle.loads(_receive(line, size))
        return report


def _send(line: Line, what: bytes) -> None:
    try:
        line.socket.sendall(what)
    except OSError as error:
        raise line.lost(error) from None


def _receive(line: Line, size: int) -> bytes:
    pieces, missing = list[bytes](), size
    try:
        while missing:
            piece = line.socket.recv(min(missing, _PIECE_BYTES), MSG_WAITALL)
            if not piece:
                raise line.lost()
            pieces.append(piece)
            missing -= len(piece)
    except OSError as error:
        raise line.lost(error) from None
    return b"".join(pieces)
