"""Messages between hosts' memories over stream sockets, one for each edge.

Who sends a message writes it, who takes it reads it: a system call each, and no thread in between.
Knows nothing of schedules nor of what messages mean.
"""

import socket
from collections.abc import Sequence
from itertools import cycle

import torch

from executor.transport.lines import Key, Line, connect
from executor.transport.meeting import PATIENCE_S, Meeting
from executor.transport.message import Channel, Views, message_slots

_DONT_WAIT = socket.MSG_DONTWAIT
_WAIT_FOR_ALL = socket.MSG_WAITALL


class Sockets:
    """The connections of one worker, one for each edge."""

    def __init__(self, meeting: Meeting, hosts: Sequence[str], keys: Sequence[Key]) -> None:
        """Connect every edge of this worker. All workers do so at once, with the same keys.

        Raises LaunchError if a worker does not come, or cannot be reached.
        """
        self.lines = connect(meeting, hosts, [key for key in keys if meeting.worker in key[1:]])
        self.set_timeout(PATIENCE_S)

    def set_timeout(self, timeout_s: float) -> None:
        """Let no operation wait longer than `timeout_s`."""
        for line in self.lines.values():
            line.set_timeout(timeout_s)

    def close(self) -> None:
        """Leave the other ranks. Raises LostRankError if a receiver does not take its last message, or is gone."""
        for line in self.lines.values():
            line.flush()
            line.socket.close()

    def outbox(self, channel: Channel, num_slots: int) -> "SocketOutbox":
        """Return the sending end of a channel; whatever `num_slots`, one is enough."""
        return SocketOutbox(self.lines[channel.payload, channel.source, channel.to], channel)

    def inbox(self, channel: Channel, num_slots: int) -> "SocketInbox":
        """Return the receiving end of a channel."""
        return SocketInbox(self.lines[channel.payload, channel.source, channel.to], channel, num_slots)


class SocketOutbox:
    """The sending end of a channel. The system takes a copy of a message, so that one slot serves them all."""

    def __init__(self, line: Line, channel: Channel) -> None:
        buffer, views = message_slots(channel, 1, torch.device("cpu"))
        self._bytes = buffer[0].numpy().data
        self._views, self._size = views[0], channel.num_bytes
        self._line, self._send = line, line.socket.send

    def slot(self) -> Views:
        """Return the tensors of the next message, to be filled. Raises LostRankError as `send` does."""
        if self._line.rest is not None:
            self._line.flush()
        return self._views

    def send(self) -> None:
        """Post the message. Raises LostRankError if the receiver is gone, or does not take an earlier message."""
        if self._line.rest is not None:
            self._line.flush()
        try:
            sent = self._send(self._bytes, _DONT_WAIT)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            raise self._line.lost(error) from None
        if sent != self._size:
            self._line.send_later(self._bytes[sent:])


class SocketInbox:
    """The receiving end of a channel. What has come waits in the system's buffer until it is taken."""

    def __init__(self, line: Line, channel: Channel, num_slots: int) -> None:
        buffer, views = message_slots(channel, num_slots, torch.device("cpu"))
        self._slot = cycle([(row.numpy().data, fields) for row, fields in zip(buffer, views, strict=True)])
        self._size = channel.num_bytes
        self._line, self._receive = line, line.socket.recv_into

    def post(self) -> None:
        """Nothing needs to be made ready."""

    def is_here(self) -> bool:
        """Whether `take` would not wait for a worker of this process."""
        return True

    def take(self) -> Views:
        """Return the oldest message. Raises LostRankError if it does not come in time, or its sender is gone."""
        room, views = next(self._slot)
        try:
            got = self._receive(room, self._size, _WAIT_FOR_ALL)
            while got != self._size:
                more = self._receive(room[got:])
                if more == 0:
                    raise self._line.lost()
                got += more
        except OSError as error:
            raise self._line.lost(error) from None
        return views
