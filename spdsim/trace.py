"""The one record that simulator and executor both write: spans, in columns.

A span holds only what a worker can see: a computation (from the moment the device is granted), the posting
of a message, the wait for a receipt. Every figure is computed from spans afterwards (`spdsim.analysis.report`).

Standard library only. Files are read and written by `spdsim.tracefile`.
"""

from array import array
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Literal

Source = Literal["simulator", "executor", "emulated"]

ONE_DEVICE = "plain decoding on one device"
PLAIN_PIPELINE = "plain pipeline on these devices"

PIPELINED = frozenset({"spd", "spd_colocated", "spd_sharded", "spd_tensor_parallel", "plain", "ppsd", "specpipe"})
"""Methods with a token in every stage: the law of the pipeline holds for them, and their waterfall begins at n."""


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """A worker as the trace's header names it: its index, role ("draft", "stage", "head") and device."""

    index: int
    role: str
    device: str


def worker_labels(roles: Iterable[str]) -> list[str]:
    """Return what people call the workers with these roles: "draft", "stage 0", "stage 1", "head"."""
    stages = count()
    return [f"stage {next(stages)}" if role == "stage" else role for role in roles]


@dataclass(frozen=True, slots=True)
class TraceHeader:
    """What holds for all spans of a trace.

    source: who wrote it. method: how tokens are decoded ("spd"). clock: what `start_s` counts from.
    baseline: what the headline speedup is over, `ONE_DEVICE` or, where the model does not fit one,
        `PLAIN_PIPELINE`. mean_acceptance: what was assumed of the drafts in the long run, if anything was.
    plain_token_s: mean time of a token in plain decoding on one device, where it is known apart; else it is what the
        stages and the LM head compute, added up.
    scenario: what was run, as a scenario file would say it. machine: what it was run on, names of what there was by
        key.
    concurrency: sequences that are in flight together, each run of them being one sequence of the trace, in which
        positions are the numbers of tokens (`spdsim.schedules.slots`); None: one at a time. Such a trace stays in
        memory and is read by `spdsim.analysis.concurrent` only.
    """

    source: Source
    method: str
    num_stages: int
    verification_lag: int
    workers: tuple[WorkerInfo, ...]
    scenario_sha256: str = ""
    clock: str = "seconds since the start of the replication"
    baseline: str = ONE_DEVICE
    mean_acceptance: float | None = None
    plain_token_s: float | None = None
    scenario: Mapping[str, Any] | None = None
    machine: Mapping[str, str] | None = None
    concurrency: int | None = None

    @property
    def devices_per_stage(self) -> int:
        """Devices of each stage, as the scenario says; `WorkerInfo.device` then names all of them."""
        partition = (self.scenario or {}).get("partition")
        size = partition.get("tensor_parallel") if isinstance(partition, Mapping) else None
        return size if isinstance(size, int) else 1


@dataclass(frozen=True, slots=True)
class Site:
    """What a worker does again and again: the part of a span that all its repetitions share."""

    worker: int
    op: str
    peer: int | None = None
    bytes: int | None = None
    accepted: bool | None = None


@dataclass(frozen=True, slots=True)
class Span:
    """One op of one worker. `sequence` counts the sequences of a trace from 0; cycle -1 is the prefill."""

    worker: int
    cycle: int
    op: str
    position: int
    start_s: float
    end_s: float
    peer: int | None = None
    bytes: int | None = None
    accepted: bool | None = None
    sequence: int = 0


@dataclass(slots=True)
class Trace:
    """Spans in columns, 26 bytes a span; each worker's spans stand in the order in which it ran them.

    Span i is `sites[site[i]]` at `cycle[i]`, `position[i]`, from `start_s[i]` to `end_s[i]`.
    Sequence j owns the spans from `sequence_starts[j]` to the next start (or the end).
    """

    header: TraceHeader
    sites: list[Site] = field(default_factory=list)
    site: "array[int]" = field(default_factory=lambda: array("H"))
    cycle: "array[int]" = field(default_factory=lambda: array("i"))
    position: "array[int]" = field(default_factory=lambda: array("i"))
    start_s: "array[float]" = field(default_factory=lambda: array("d"))
    end_s: "array[float]" = field(default_factory=lambda: array("d"))
    sequence_starts: list[int] = field(default_factory=list)
    _site_ids: dict[Site, int] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return len(self.site)

    @property
    def num_sequences(self) -> int:
        return len(self.sequence_starts)

    @property
    def num_bytes(self) -> int:
        """Bytes that the columns hold in use."""
        columns = (self.site, self.cycle, self.position, self.start_s, self.end_s)
        return sum(column.itemsize * len(column) for column in columns)

    def begin_sequence(self) -> None:
        """Let the spans recorded from now on belong to a new sequence."""
        self.sequence_starts.append(len(self.site))

    def site_id(self, site: Site) -> int:
        """Return the number under which `site` is recorded, giving it one if it is new."""
        number = self._site_ids.get(site)
        if number is None:
            number = self._site_ids[site] = len(self.sites)
            self.sites.append(site)
        return number

    def record(self, site: int, cycle: int, position: int, start_s: float, end_s: float) -> None:
        """Append one span of the current sequence; `site` is a number from `site_id`."""
        self.site.append(site)
        self.cycle.append(cycle)
        self.position.append(position)
        self.start_s.append(start_s)
        self.end_s.append(end_s)

    def sequence_bounds(self, sequence: int) -> tuple[int, int]:
        """Return the index of the first span of `sequence` and the one after its last."""
        first = self.sequence_starts[sequence]
        is_last = sequence + 1 == len(self.sequence_starts)
        return first, len(self.site) if is_last else self.sequence_starts[sequence + 1]

    def spans(self, sequence: int | None = None) -> Iterator[Span]:
        """Yield the spans of one sequence, or of all, in the order in which they were recorded."""
        for number in range(self.num_sequences) if sequence is None else (sequence,):
            for i in range(*self.sequence_bounds(number)):
                site = self.sites[self.site[i]]
                yield Span(
                    site.worker, self.cycle[i], site.op, self.position[i], self.start_s[i], self.end_s[i],
                    site.peer, site.bytes, site.accepted, number,
                )  # fmt: skip

    def select(self, first_sequence: int, last_sequence: int) -> "Trace":
        """Return the sequences from `first_sequence` up to and without `last_sequence` as a trace of its own."""
        start = self.sequence_bounds(first_sequence)[0]
        stop = self.sequence_bounds(last_sequence - 1)[1]
        return Trace(
            self.header, self.sites,
            self.site[start:stop], self.cycle[start:stop], self.position[start:stop],
            self.start_s[start:stop], self.end_s[start:stop],
            [s - start for s in self.sequence_starts[first_sequence:last_sequence]], self._site_ids,
        )  # fmt: skip
