"""A worker's clock: the host's, that of a device that works behind the host, or that of an emulated device.

Knows nothing of schedules. All times are seconds of `time.perf_counter`, which all processes of a node share.
"""

import time
from collections.abc import Callable
from typing import Protocol

import torch

from executor.transport.local import LocalChannel
from executor.transport.message import Inbox, Outbox
from spdsim.trace import Trace

_SPIN_S = 60e-6
_SPIN_ALONE_S = 300e-6
"""A sleep ends late, on some machines by as much as this, so that the last of it is spent looking at the clock: less
where other processes want the processor."""


class Clock(Protocol):
    """When a worker's ops begin and end."""

    def now(self) -> float:
        """Return the time at which all that the worker was asked for so far is done."""

    def work(self, duration_s: float) -> None:
        """Emulate a computation that takes `duration_s`."""

    def wait(self) -> None:
        """Let the host catch up with what it has issued, as reading a result does."""

    def sending(self, box: Outbox) -> None:
        """Note that a message is about to be sent."""

    def received(self, box: Inbox) -> None:
        """Note that a message was taken."""

    def resolve(self, spans: Trace, first: int) -> None:
        """Turn what `now` returned into seconds in all spans from `first` on."""


def sleep_until(end_s: float, spin_s: float = _SPIN_S) -> None:
    """Wait until `time.perf_counter` says `end_s`, to some microseconds."""
    clock = time.perf_counter
    while (left_s := end_s - clock()) > 0.0:
        if left_s > spin_s:
            time.sleep(left_s - spin_s)


class HostClock:
    """For work that is done when the host goes on: a CPU, or an emulated device that has a process to itself."""

    def __init__(self) -> None:
        self.now: Callable[[], float] = time.perf_counter

    def work(self, duration_s: float) -> None:
        """Sleep through an emulated computation."""
        sleep_until(time.perf_counter() + duration_s)

    def wait(self) -> None:
        """Nothing is behind the host."""

    def sending(self, box: Outbox) -> None:
        """Nothing to note."""

    def received(self, box: Inbox) -> None:
        """Nothing to note."""

    def resolve(self, spans: Trace, first: int) -> None:
        """Spans are in seconds already."""


class EmulatedClock:
    """For an emulated device of several in one process: it works behind the host, which must not sleep for one of them.

    A message carries the time at which its sender is done; who takes it is not done before.
    """

    def __init__(self) -> None:
        self._free_s = 0.0

    def now(self) -> float:
        """Return when the device is done, or the present if that is past."""
        return max(self._free_s, time.perf_counter())

    def work(self, duration_s: float) -> None:
        """Let the device be busy for a while more."""
        self._free_s = self.now() + duration_s

    def wait(self) -> None:
        """Wait for the device."""
        sleep_until(self._free_s, _SPIN_ALONE_S)

    def sending(self, box: Outbox) -> None:
        """Stamp a message with the time at which it is sent."""
        assert isinstance(box, LocalChannel)
        box.stamp(self._free_s)

    def received(self, box: Inbox) -> None:
        """Be done no earlier than the sender was."""
        assert isinstance(box, LocalChannel)
        self._free_s = max(self._free_s, box.arrival_s())

    def resolve(self, spans: Trace, first: int) -> None:
        """Spans are in seconds already."""


class CudaClock:
    """For a GPU: `now` marks a place in its stream, and seconds are worked out when all is done."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._events: list[torch.cuda.Event] = []

    def now(self) -> float:
        """Return the number of a mark in the current stream."""
        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record(torch.cuda.current_stream(self._device))
        self._events.append(event)
        return float(len(self._events) - 1)

    def work(self, duration_s: float) -> None:
        """A GPU that is there is not emulated."""
        raise AssertionError("a GPU is not emulated")

    def wait(self) -> None:
        """Reading a result waits by itself."""

    def sending(self, box: Outbox) -> None:
        """Nothing to note."""

    def received(self, box: Inbox) -> None:
        """Nothing to note."""

    def resolve(self, spans: Trace, first: int) -> None:
        """Turn marks into seconds, by the host's time of a mark made now."""
        if not self._events:
            return
        last = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        last.record(torch.cuda.current_stream(self._device))
        last.synchronize()
        end_s = time.perf_counter()
        seconds = [end_s - event.elapsed_time(last) * 1e-3 for event in self._events]
        for index in range(first, len(spans)):
            spans.start_s[index] = seconds[int(spans.start_s[index])]
            spans.end_s[index] = seconds[int(spans.end_s[index])]
        self._events.clear()
