"""One fixed-layout message for each edge: named tensors in one buffer of bytes, and the boxes that messages pass by.

Knows nothing of how bytes travel nor of what they mean.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Protocol

import torch
from torch import Tensor

from spdsim.schedules.ops import Payload

_ALIGNMENT_BYTES = 16
"""Every tensor of a message begins at a multiple of it, so that its bytes can be read as any dtype."""

Views = tuple[Tensor, ...]
"""The tensors of one message, in the order of its fields."""


@dataclass(frozen=True, slots=True)
class Field:
    """One tensor of a message."""

    name: str
    dtype: torch.dtype
    shape: tuple[int, ...]

    @property
    def num_bytes(self) -> int:
        """Bytes of the tensor."""
        return prod(self.shape) * self.dtype.itemsize


@dataclass(frozen=True, slots=True)
class Channel:
    """All messages of one payload from one worker to another; each has the same fields.

    is_host: the receiver's host reads it (verdicts, drafts), so that it lies in the host's memory where ranks are
    apart. is_prefill: the channel of cycle -1, which carries a whole prompt and serves one message.
    """

    payload: Payload
    source: int
    to: int
    fields: tuple[Field, ...]
    is_host: bool = False
    is_prefill: bool = False

    @property
    def payload_bytes(self) -> int:
        """Bytes of a message's tensors."""
        return sum(field.num_bytes for field in self.fields)

    @property
    def num_bytes(self) -> int:
        """Bytes of a message, with what alignment adds."""
        return sum(_padded(field.num_bytes) for field in self.fields)


class Outbox(Protocol):
    """Where a worker puts the messages of a channel."""

    def slot(self) -> Views:
        """Return the tensors of the next message, to be filled; waits until an earlier message has left them."""

    def send(self) -> None:
        """Post the message that was filled; does not wait for the receipt."""


class Inbox(Protocol):
    """Where a worker takes the messages of a channel from, in the order in which they were sent."""

    def post(self) -> None:
        """Make ready to receive one message; where ranks are apart, before it is needed."""

    def is_here(self) -> bool:
        """Whether `take` would not wait for a worker of this same process; always True where ranks are apart."""

    def take(self) -> Views:
        """Return the oldest message; its tensors hold until `num_slots - 1` further messages have been posted.

        Raises LostRankError if it does not come within the timeout, or its sender is gone.
        """


class Transport(Protocol):
    """All channels of one worker."""

    def outbox(self, channel: Channel, num_slots: int) -> Outbox:
        """Return the sending end of a channel of this worker."""

    def inbox(self, channel: Channel, num_slots: int) -> Inbox:
        """Return the receiving end of a channel of this worker."""

    def meet(self) -> None:
        """Wait until every worker has loaded; only from then on has a message to come within the timeout.

        Raises LaunchError if one does not.
        """


def message_slots(channel: Channel, num_slots: int, device: torch.device) -> tuple[Tensor, list[Views]]:
    """Return a buffer of shape (num_slots, num_bytes), uint8, and the tensors of the message in each of its rows."""
    buffer = torch.zeros((num_slots, channel.num_bytes), dtype=torch.uint8, device=device)
    return buffer, [views_of(channel.fields, row) for row in buffer]


def views_of(fields: Sequence[Field], row: Tensor) -> Views:
    """Return the bytes of one message (uint8) as its tensors, which share its memory."""
    views, start = [], 0
    for field in fields:
        views.append(row[start : start + field.num_bytes].view(field.dtype).view(field.shape))
        start += _padded(field.num_bytes)
    return tuple(views)


def _padded(num_bytes: int) -> int:
    return -(-num_bytes // _ALIGNMENT_BYTES) * _ALIGNMENT_BYTES
