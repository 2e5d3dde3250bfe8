"""Messages between GPUs' memories by the point-to-point operations of NCCL.

NCCL ignores tags and runs the operations of a group in their order on one stream, so that every edge has a group of
its own, of two ranks. Nothing here makes a host wait: what waits is the receiver's stream.
"""

from collections.abc import Sequence
from datetime import timedelta

import torch
from torch import distributed
from torch.distributed import ProcessGroup, Work

from executor.errors import LaunchError
from executor.transport.edges import Edge
from executor.transport.meeting import PATIENCE_S, Meeting, one_line
from executor.transport.message import Channel, Views, message_slots


class Nccl:
    """The process groups of the edges between GPUs.

    Receives that are posted early occupy streams until their messages come. With fewer hardware queues than streams
    they would stop the streams behind them: see `CUDA_DEVICE_MAX_CONNECTIONS`, which the launcher sets.
    """

    def __init__(self, meeting: Meeting, edges: Sequence[Edge], device: torch.device) -> None:
        """Connect every edge. All workers call it at once, with the same edges in the same order.

        Raises LaunchError if a worker does not come, or NCCL fails.
        """
        self._worker, self._device = meeting.worker, device
        timeout = timedelta(seconds=PATIENCE_S)
        try:
            distributed.init_process_group(
                "nccl", store=meeting.store, rank=meeting.worker, world_size=meeting.layout.num_workers, timeout=timeout
            )
            self._groups: dict[Edge, ProcessGroup] = {
                edge: distributed.new_group([edge.source, edge.to], timeout, "nccl") for edge in edges
            }
            self._warm_up()
        except RuntimeError as error:
            raise LaunchError(f"{meeting.name_of(meeting.worker)}: NCCL cannot start: {one_line(error)}") from error

    def outbox(self, channel: Channel, num_slots: int) -> "NcclOutbox":
        """Return the sending end of a channel."""
        return NcclOutbox(self._group(_edge_of(channel)), channel, num_slots, self._device)

    def inbox(self, channel: Channel, num_slots: int) -> "NcclInbox":
        """Return the receiving end of a channel."""
        return NcclInbox(self._group(_edge_of(channel)), channel, num_slots, self._device)

    def close(self) -> None:
        """Leave the other ranks, which do so too."""
        torch.cuda.synchronize(self._device)
        distributed.destroy_process_group()

    def _group(self, edge: Edge) -> ProcessGroup:
        return self._groups[edge]

    def _warm_up(self) -> None:
        """Send a byte along every edge, in the order of all: a pair connects at its first operation, and both wait."""
        byte = torch.zeros(1, dtype=torch.uint8, device=self._device)
        for edge, group in self._groups.items():
            if edge.source == self._worker:
                group.send([byte], _rank_in(edge, edge.to), 0).wait()
            elif edge.to == self._worker:
                group.recv([byte], _rank_in(edge, edge.source), 0).wait()
        torch.cuda.synchronize(self._device)


class NcclOutbox:
    """The sending end of a channel: the sender's stream waits until an earlier message has left a slot."""

    def __init__(self, group: ProcessGroup, channel: Channel, num_slots: int, device: torch.device) -> None:
        buffer, self._views = message_slots(channel, num_slots, device)
        self._rows = [[row] for row in buffer]
        self._send, self._peer = group.send, _rank_in(_edge_of(channel), channel.to)
        self._works: list[Work | None] = [None] * num_slots
        self._next = 0

    def slot(self) -> Views:
        """Return the tensors of the next message, to be filled by the current stream."""
        work = self._works[self._next]
        if work is not None:
            work.wait()
        return self._views[self._next]

    def send(self) -> None:
        """Post the message: it is sent when the current stream has filled it."""
        self._works[self._next] = self._send(self._rows[self._next], self._peer, 0)
        self._next = (self._next + 1) % len(self._rows)


class NcclInbox:
    """The receiving end of a channel. The receives of an edge must be posted in the order of its sends."""

    def __init__(self, group: ProcessGroup, channel: Channel, num_slots: int, device: torch.device) -> None:
        buffer, self._views = message_slots(channel, num_slots, device)
        self._rows = [[row] for row in buffer]
        self._receive, self._peer = group.recv, _rank_in(_edge_of(channel), channel.source)
        self._works: list[Work | None] = [None] * num_slots
        self._posted = self._taken = 0

    def post(self) -> None:
        """Receive one message into the next slot, once the current stream has done what it was asked for so far."""
        slot = self._posted % len(self._rows)
        self._works[slot] = self._receive(self._rows[slot], self._peer, 0)
        self._posted += 1

    def is_here(self) -> bool:
        """Whether `take` would not wait for a worker of this process."""
        return True

    def take(self) -> Views:
        """Return the oldest message; the current stream waits for it, the host does not."""
        slot = self._taken % len(self._rows)
        work = self._works[slot]
        assert work is not None, "a message is received into the slot that was posted for it"
        work.wait()
        self._taken += 1
        return self._views[slot]


def _edge_of(channel: Channel) -> Edge:
    return Edge(channel.payload, channel.source, channel.to)


def _rank_in(edge: Edge, worker: int) -> int:
    """The rank of a worker in the group of an edge, whose members stand in their order."""
    return sorted((edge.source, edge.to)).index(worker)
