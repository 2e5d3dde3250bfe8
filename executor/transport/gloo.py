"""Messages between hosts' memories by the point-to-point operations of gloo. A channel's messages have its tag.

gloo reads and writes in a thread of its own, which tells a sender of every receive that was posted, and a receiver of
every message that will come: three writes and two changes of thread for each message, at best. A receive posted early
saves the wait for the first.
"""

import os
import sys
from collections.abc import Sequence
from datetime import timedelta
from typing import get_args

import torch
from torch import distributed
from torch.distributed import ProcessGroup, Work

from executor.errors import LaunchError
from executor.transport.edges import Edge
from executor.transport.meeting import PATIENCE_S, Meeting, gone, late, one_line
from executor.transport.message import Channel, Views, message_slots
from spdsim.schedules.ops import Payload

_PAYLOADS = get_args(Payload)


class Gloo:
    """The process group of all workers of a run."""

    def __init__(self, meeting: Meeting, hosts: Sequence[str], edges: Sequence[Edge]) -> None:
        """Connect every pair of workers. Raises LaunchError if one does not come, or cannot be reached."""
        if len(set(hosts)) == 1 and sys.platform == "linux":
            os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
        self._worker, self._name_of = meeting.worker, meeting.name_of
        self._timeout_s = PATIENCE_S
        self._outboxes: list[GlooOutbox] = []
        try:
            distributed.init_process_group(
                "gloo", store=meeting.store, rank=meeting.worker, world_size=len(hosts),
                timeout=timedelta(seconds=PATIENCE_S),
            )  # fmt: skip
            group = distributed.group.WORLD
            assert group is not None
            self.group: ProcessGroup = group
            self._warm_up(edges)
        except RuntimeError as error:
            name = meeting.name_of(meeting.worker)
            raise LaunchError(f"{name} cannot reach the other ranks: {one_line(error)}") from error

    def set_timeout(self, timeout_s: float) -> None:
        """Let no operation wait longer than `timeout_s`."""
        self._timeout_s = timeout_s

    def outbox(self, channel: Channel, num_slots: int) -> "GlooOutbox":
        """Return the sending end of a channel."""
        self._outboxes.append(GlooOutbox(self, channel, num_slots))
        return self._outboxes[-1]

    def inbox(self, channel: Channel, num_slots: int) -> "GlooInbox":
        """Return the receiving end of a channel."""
        return GlooInbox(self, channel, num_slots)

    def close(self) -> None:
        """Leave the other ranks: gloo forgets a message that is on its way when nobody holds it any more.

        Raises LostRankError if a receiver does not take its last message, or is gone.
        """
        for outbox in self._outboxes:
            outbox.flush()
        distributed.destroy_process_group()

    def wait(self, work: Work, what: str, peer: int) -> None:
        """Wait for an operation. Raises LostRankError if the peer does not do its part in time, or is gone."""
        try:
            work.wait(timedelta(seconds=self._timeout_s))
        except RuntimeError as error:
            raise self.lost(error, what, peer) from None

    def lost(self, error: RuntimeError, what: str, peer: int) -> Exception:
        """Return the error for an operation that failed."""
        is_late = "timed out" in str(error).lower()
        return late(what, self._name_of(peer), self._timeout_s) if is_late else gone(what, self._name_of(peer))

    def _warm_up(self, edges: Sequence[Edge]) -> None:
        """Send a byte along every edge: the first operation of a pair is slow."""
        byte = torch.zeros(1, dtype=torch.uint8)
        works = [
            self.group.recv([torch.empty_like(byte)], edge.source, 0) if edge.to == self._worker
            else self.group.send([byte], edge.to, 0)
            for edge in edges if self._worker in (edge.source, edge.to)
        ]  # fmt: skip
        for work in works:
            work.wait()


class GlooOutbox:
    """The sending end of a channel. gloo reads a slot until the message has left it."""

    def __init__(self, gloo: Gloo, channel: Channel, num_slots: int) -> None:
        buffer, self._views = message_slots(channel, num_slots, torch.device("cpu"))
        self._rows = [[row] for row in buffer]
        self._gloo, self._channel, self._send = gloo, channel, gloo.group.send
        self._tag = tag_of(channel)
        self._works: list[Work | None] = [None] * num_slots
        self._next = 0

    def slot(self) -> Views:
        """Return the tensors of the next message, to be filled; waits until an earlier message has left them."""
        if self._works[self._next] is not None:
            self._wait(self._next)
        return self._views[self._next]

    def send(self) -> None:
        """Post the message. Raises LostRankError if the receiver is gone."""
        try:
            self._works[self._next] = self._send(self._rows[self._next], self._channel.to, self._tag)
        except RuntimeError as error:
            raise self._gloo.lost(error, f"receipt of the {self._channel.payload}", self._channel.to) from None
        self._next = (self._next + 1) % len(self._rows)

    def flush(self) -> None:
        """Wait until every message has left its slot."""
        for slot in range(len(self._rows)):
            self._wait(slot)

    def _wait(self, slot: int) -> None:
        work = self._works[slot]
        if work is not None:
            self._gloo.wait(work, f"receipt of the {self._channel.payload}", self._channel.to)
            self._works[slot] = None


class GlooInbox:
    """The receiving end of a channel."""

    def __init__(self, gloo: Gloo, channel: Channel, num_slots: int) -> None:
        buffer, self._views = message_slots(channel, num_slots, torch.device("cpu"))
        self._rows = [[row] for row in buffer]
        self._gloo, self._channel, self._receive = gloo, channel, gloo.group.recv
        self._tag = tag_of(channel)
        self._works: list[Work | None] = [None] * num_slots
        self._posted = self._taken = 0

    def post(self) -> None:
        """Receive one message, into the next slot. Raises LostRankError if its sender is gone."""
        slot = self._posted % len(self._rows)
        try:
            self._works[slot] = self._receive(self._rows[slot], self._channel.source, self._tag)
        except RuntimeError as error:
            raise self._gloo.lost(error, self._channel.payload, self._channel.source) from None
        self._posted += 1

    def is_here(self) -> bool:
        """Whether `take` would not wait for a worker of this process."""
        return True

    def take(self) -> Views:
        """Return the oldest message. Raises LostRankError if it does not come in time, or its sender is gone."""
        slot = self._taken % len(self._rows)
        work = self._works[slot]
        assert work is not None, "a message is received into the slot that was posted for it"
        self._gloo.wait(work, self._channel.payload, self._channel.source)
        self._works[slot] = None
        self._taken += 1
        return self._views[slot]


def tag_of(channel: Channel) -> int:
    """Return what tells the messages of a channel from others of the same pair of workers; 0 is for warming up."""
    return 1 + 2 * _PAYLOADS.index(channel.payload) + channel.is_prefill
