"""Messages within one process: the sender fills a slot on the receiver's device, and the receiver reads it there.

Nothing is copied twice and nobody waits: on a GPU the order of messages is an order of streams, and the host, which
issues the work of all workers in turn, runs ahead.
"""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

import torch

from executor.errors import LostRankError
from executor.transport.message import Channel, Views, message_slots


class LocalChannel:
    """Both ends of a channel: a ring of slots, how many messages were sent, and how many were taken.

    stamps: of each slot, when its message is there, where devices are emulated; the workers' clocks fill it.
    """

    def __init__(self, channel: Channel, num_slots: int, device: torch.device) -> None:
        self._channel = channel
        self._views = message_slots(channel, num_slots, device)[1]
        self._num_slots = num_slots
        self._sent = self._taken = 0
        self.stamps = [0.0] * num_slots
        is_cuda = device.type == "cuda"
        self._events = [torch.cuda.Event() for _ in range(num_slots)] if is_cuda else None  # type: ignore[no-untyped-call]
        self._device = device

    def slot(self) -> Views:
        """Return the tensors of the next message."""
        if self._sent - self._taken >= self._num_slots:
            where = f"{self._channel.payload} from worker {self._channel.source} to worker {self._channel.to}"
            raise LostRankError(f"{where}: {self._num_slots} messages wait: the receiver must have taken one")
        return self._views[self._sent % self._num_slots]

    def send(self) -> None:
        """Hand the message over."""
        if self._events is not None:
            self._events[self._sent % self._num_slots].record()
        self._sent += 1

    def stamp(self, arrival_s: float) -> None:
        """Say when the next message to be sent will be there."""
        self.stamps[self._sent % self._num_slots] = arrival_s

    def post(self) -> None:
        """Nothing needs to be made ready."""

    def is_here(self) -> bool:
        """Whether a message waits."""
        return self._sent > self._taken

    def take(self) -> Views:
        """Return the oldest message; the receiver's stream waits for it, the host does not."""
        index = self._taken % self._num_slots
        if self._events is not None:
            torch.cuda.current_stream(self._device).wait_event(self._events[index])
        self._taken += 1
        return self._views[index]

    def arrival_s(self) -> float:
        """Return the stamp of the message that was taken last."""
        return self.stamps[(self._taken - 1) % self._num_slots]


@dataclass(slots=True)
class LocalTransport:
    """The channels of all workers of a process. devices: of each worker."""

    devices: tuple[torch.device, ...]
    _channels: dict[Channel, LocalChannel] = field(default_factory=dict)

    def outbox(self, channel: Channel, num_slots: int) -> LocalChannel:
        """Return the channel; both ends are the same object."""
        known = self._channels.get(channel)
        if known is None:
            # Only a verdict is read by the host at once; a draft goes from device to device.
            is_read = channel.payload == "verdict"
            device = torch.device("cpu") if is_read else self.devices[channel.to]
            known = self._channels[channel] = LocalChannel(channel, num_slots, device)
        return known

    def inbox(self, channel: Channel, num_slots: int) -> LocalChannel:
        """Return the channel."""
        return self.outbox(channel, num_slots)

    def meet(self) -> None:
        """Workers of one process are loaded one after another, before any of them runs."""


@dataclass(slots=True)
class Streams:
    """The CUDA streams of a process that drives several devices.

    A copy between devices waits for the current streams of both. So a device's compute stream is current only while
    its own workers issue work; else an idle one is, and a message does not wait for what the receiver is computing.
    """

    compute: dict[torch.device, torch.cuda.Stream]
    idle: dict[torch.device, torch.cuda.Stream]

    @classmethod
    def of(cls, devices: tuple[torch.device, ...]) -> "Streams":
        """Make the streams of all CUDA devices among `devices`."""
        known = {device for device in devices if device.type == "cuda"}
        compute, idle = ({device: torch.cuda.Stream(device) for device in known} for _ in range(2))  # type: ignore[no-untyped-call]
        streams = cls(compute, idle)
        for stream in streams.idle.values():
            torch.cuda.set_stream(stream)
        return streams

    def of_device(self, device: torch.device) -> AbstractContextManager[object]:
        """Return a context in which work goes to the compute stream of `device`."""
        stream = self.compute.get(device)
        return nullcontext() if stream is None else torch.cuda.stream(stream)
