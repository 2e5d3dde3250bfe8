"""Messages there and back, again and again: between two processes of a launch, or within one process.

Whoever begins fills a slot with a copy, as a worker does with what it has computed; whoever answers does the same.
"""

import time
from collections.abc import Sequence
from datetime import timedelta

import torch
from torch import distributed
from torch.distributed import ProcessGroup

from executor.events import RankReport, Sink
from executor.plan import Job, Plan
from executor.probing.ranks import Gather, Samples, agreed, report_of
from executor.probing.timers import host_seconds, timer_of
from executor.progress import Progress
from executor.rank import device_of
from executor.transport.distributed import DistributedTransport
from executor.transport.local import LocalTransport, Streams
from executor.transport.meeting import PATIENCE_S
from executor.transport.message import Channel, Field, Inbox, Outbox
from executor.transport.nccl import NcclInbox, NcclOutbox

SIZES_BYTES = (2 << 10, 16 << 10, 128 << 10, 1 << 20)
_SLOTS = 2
_WARM_UPS = 5
_LEAST_ROUNDS, _MOST_ROUNDS = 10, 100
_HOPS = 8
"""Ways there and back within a process before the host looks at the clock."""
_ENDS = ("one_way", "post")


def key_of(source: int, to: int, size_bytes: int, end: str) -> str:
    """Return the name of the samples that worker `source` has of a game. end: one_way, or post, its host's seconds."""
    return f"{source} {to} {size_bytes} {end}"


def play(
    pairs: tuple[tuple[int, int], ...], seconds: float, plan: Plan, jobs: Sequence[Job], worker: int,
    transport: DistributedTransport, progress: Progress, sink: Sink | None,
) -> RankReport:  # fmt: skip
    """Be one worker of a launch that plays every pair, of (who begins, who answers), in turn, `seconds` in all."""
    device = device_of(plan, worker)
    groups = _Groups(worker, device) if plan.backend == "nccl" else None
    transport.meet()
    end_s = time.perf_counter() + seconds
    samples: dict[str, tuple[float, ...]] = {}
    with torch.inference_mode():
        for number, pair in enumerate(pairs):
            pair_s = agreed(transport.gather, f"pair {pair}", worker, lambda: end_s - time.perf_counter())
            if pair_s <= 0.0 and number > 0:
                break
            if groups is not None:
                groups.connect(*pair)
            for size_bytes in SIZES_BYTES:
                each_s = max(0.0, pair_s) / (len(pairs) - number) / len(SIZES_BYTES)
                side = _Side(pair, size_bytes, worker, device, transport, groups)
                found = side.play(transport.gather, each_s)
                samples |= {key_of(*pair, size_bytes, end): found[end] for end in found}
    return report_of(worker, transport, samples)


class _Groups:
    """A group of NCCL for each direction: each has a stream of its own, so that a receipt holds up no sending."""

    def __init__(self, worker: int, device: torch.device) -> None:
        self._worker, self._device = worker, device
        self._of: dict[tuple[int, int], ProcessGroup] = {}

    def connect(self, first: int, second: int) -> None:
        """Connect both directions of a pair; all workers call it at once."""
        byte = torch.zeros(1, dtype=torch.uint8, device=self._device)
        for source, to in ((first, second), (second, first)):
            if (source, to) in self._of:
                continue
            members = sorted((source, to))
            group = distributed.new_group(members, timedelta(seconds=PATIENCE_S), "nccl")
            self._of[source, to] = group
            # A pair connects at its first operation, for which each waits: one direction after the other.
            if self._worker == source:
                group.send([byte], members.index(to), 0).wait()
            elif self._worker == to:
                group.recv([byte], members.index(source), 0).wait()
            torch.cuda.synchronize(self._device)

    def outbox(self, channel: Channel) -> Outbox:
        """Return the sending end."""
        return NcclOutbox(self._of[channel.source, channel.to], channel, _SLOTS, self._device)

    def inbox(self, channel: Channel) -> Inbox:
        """Return the receiving end."""
        return NcclInbox(self._of[channel.source, channel.to], channel, _SLOTS, self._device)


class _Side:
    """One worker's side of a game: one of the two, or of those who look on."""

    def __init__(
        self, pair: tuple[int, int], size_bytes: int, worker: int, device: torch.device,
        transport: DistributedTransport, groups: _Groups | None,
    ) -> None:  # fmt: skip
        self._name, self._device = f"{pair} {size_bytes}", device
        self._has_part, self._begins, self._first = worker in pair, worker == pair[0], pair[0]
        if not self._has_part:
            return
        other = pair[1] if self._begins else pair[0]
        goes, comes = _channel(worker, other, size_bytes), _channel(other, worker, size_bytes)
        if groups is None:
            self._out, self._in = transport.outbox(goes, _SLOTS), transport.inbox(comes, _SLOTS)
        else:
            self._out, self._in = groups.outbox(goes), groups.inbox(comes)
        self._payload = torch.ones(size_bytes, dtype=torch.uint8, device=device)
        self._timer, self._post_s = timer_of(device), 0.0

    def play(self, gather: Gather, seconds: float) -> Samples:
        """Play for about `seconds`; return what who begins has seen."""
        gather(f"warm up {self._name}", "")
        warm = self._play(_WARM_UPS)
        rounds = ""
        if self._begins:
            one_s = 2.0 * min(warm["one_way"])
            rounds = str(min(_MOST_ROUNDS, max(_LEAST_ROUNDS, int(seconds / one_s))))
        said = gather(f"rounds {self._name}", rounds)
        return self._play(int(said[self._first]))

    def _play(self, rounds: int) -> Samples:
        if not self._has_part:
            return {}
        if self._begins:
            seen = [self._there_and_back() for _ in range(rounds)]
            return dict(zip(_ENDS, zip(*seen, strict=True), strict=True))
        self._in.post()
        for number in range(rounds):
            self._in.take()
            if number + 1 < rounds:
                self._in.post()
            self._send()
        _wait_for(self._device)
        return {}

    def _there_and_back(self) -> tuple[float, float]:
        """Seconds of one way, and of posting."""
        self._in.post()
        both_s = self._timer(self._exchange)
        return both_s / 2.0, self._post_s

    def _exchange(self) -> None:
        self._post_s = host_seconds(self._send)
        self._in.take()

    def _send(self) -> None:
        self._out.slot()[0].copy_(self._payload)
        self._out.send()


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


class Home:
    """Messages there and back between two devices of one process, or to another place on one device."""

    def __init__(self, size_bytes: int, source: torch.device, to: torch.device, streams: Streams) -> None:
        transport = LocalTransport((source, to))
        self._there = transport.outbox(_channel(0, 1, size_bytes), _SLOTS)
        self._back = transport.outbox(_channel(1, 0, size_bytes), _SLOTS)
        self._payload = torch.ones(size_bytes, dtype=torch.uint8, device=source)
        self._source, self._to, self._streams = source, to, streams

    def play(self, seconds: float) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Return samples of the seconds of one way, and of those after which the host goes on."""
        self._there_and_back(_WARM_UPS)
        end_s, seen = time.perf_counter() + seconds, list[tuple[float, float]]()
        while len(seen) < _MOST_ROUNDS and (len(seen) < _LEAST_ROUNDS or time.perf_counter() < end_s):
            seen.append(self._there_and_back(_HOPS))
        return tuple(way for way, _ in seen), tuple(post for _, post in seen)

    def _there_and_back(self, hops: int) -> tuple[float, float]:
        payload = self._payload
        start_s = time.perf_counter()
        for _ in range(hops):
            with self._streams.of_device(self._source):
                self._there.slot()[0].copy_(payload)
                self._there.send()
            with self._streams.of_device(self._to):
                self._back.slot()[0].copy_(self._there.take()[0])
                self._back.send()
            with self._streams.of_device(self._source):
                payload = self._back.take()[0]
        posted_s = time.perf_counter()
        for device in (self._source, self._to):
            _wait_for(device)
        ways = 2 * hops
        return (time.perf_counter() - start_s) / ways, (posted_s - start_s) / ways


def _channel(source: int, to: int, size_bytes: int) -> Channel:
    return Channel("hidden", source, to, (Field("bytes", torch.uint8, (size_bytes,)),))
