"""What the cycles of a trace are made of: how long each part takes, and how often the critical path holds it."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from spdsim.analysis.causality import Causality, causality, critical_spans
from spdsim.analysis.decoding import Decoding, decodings
from spdsim.analysis.estimates import ratio
from spdsim.comparison.report import Durations, Leg
from spdsim.trace import Site, Trace

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]
    Floats = NDArray[np.float64]
    Bools = NDArray[np.bool_]

_FEWEST_BLOCKS = 10
"""With fewer sequences, each is cut into batches of neighbouring cycles (the method of batch means)."""

_LEG_OF_WAY: dict[str, Leg] = {"send": "post", "recv": "crossing", "handle": "handling"}


class Group(NamedTuple):
    """What a comparison tells apart: a task (`what`) of a role, a leg of a payload (`what`), the gaps of a role."""

    kind: Literal["task", "gap"] | Leg
    what: str
    role: str


class Item(NamedTuple):
    """A group at one place: a worker, or the two of a message. Gaps are of all workers of their role."""

    group: Group
    place: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Sample:
    """The durations of one item: sums in seconds and counts by block.

    Blocks are sequences, or batches of cycles where there are few sequences. path_count: how often the critical path
    of a cycle holds it, on average. shortest_s: of the crossings that nobody waited for; infinite without any.
    """

    sums_s: "Floats"
    counts: "Floats"
    path_count: float
    shortest_s: float

    @property
    def is_there(self) -> bool:
        """Whether the trace has the item at all in its decode cycles."""
        return bool(self.counts.sum()) or self.shortest_s < inf

    @property
    def estimate_s(self) -> tuple[float, float] | None:
        """The mean and half its 95 % interval, infinite where one block alone has it; None where none has."""
        if not self.counts.sum():
            return None
        mean, _, high = ratio(self.sums_s, self.counts)
        return mean, inf if high is None or np.count_nonzero(self.counts) < 2 else high - mean


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of one trace: by item, and the durations by group."""

    samples: dict[Item, Sample]
    durations: dict[Group, Durations]


def parts_of(trace: Trace) -> Parts:
    """Take the cycles of `trace`, whose spans are those of whole runs, apart."""
    items = _Items(trace)
    pieces = [_piece(trace.select(number, number + 1), number, items) for number in range(trace.num_sequences)]
    item = np.concatenate([piece.item for piece in pieces])
    seconds = np.concatenate([piece.seconds for piece in pieces])
    blocks, num_blocks = _blocks(pieces)
    num_cells = num_blocks * len(items.known)
    cell = blocks * len(items.known) + item
    sums = np.bincount(cell, weights=seconds, minlength=num_cells).astype(np.float64).reshape(num_blocks, -1)
    counts = np.bincount(cell, minlength=num_cells).astype(np.float64).reshape(num_blocks, -1)
    num_cycles = max(sum(piece.num_cycles for piece in pieces), 1)
    on_path = np.sum([piece.on_path for piece in pieces], axis=0) / num_cycles
    shortest = np.min([piece.shortest_s for piece in pieces], axis=0)
    samples = {
        known: Sample(sums[:, i], counts[:, i], float(on_path[i]), float(shortest[i]))
        for i, known in enumerate(items.known)
    }
    return Parts(samples, dict(_durations(items.known, item, seconds)))


def _durations(known: list[Item], item: "Ints", seconds: "Floats") -> Iterator[tuple[Group, Durations]]:
    groups = list(dict.fromkeys(one.group for one in known))
    group = np.array([groups.index(one.group) for one in known])[item]
    for number, name in enumerate(groups):
        mine = seconds[group == number]
        if len(mine):
            p50, p95 = np.percentile(mine, (50, 95)).tolist()
            yield name, Durations(float(mine.mean()), p50, p95, len(mine))


class _Items:
    """The items of a trace, numbered: of every site, and the gaps of every worker's role."""

    def __init__(self, trace: Trace) -> None:
        self._numbers: dict[Item, int] = {}
        roles = [worker.role for worker in trace.header.workers]
        self.of_site = np.array([self._number(_item(site, roles[site.worker])) for site in trace.sites])
        self.of_gap = np.array([self._number(Item(Group("gap", "", role), ())) for role in roles])

    @property
    def known(self) -> list[Item]:
        return list(self._numbers)

    def _number(self, item: Item) -> int:
        return self._numbers.setdefault(item, len(self._numbers))


def _item(site: Site, role: str) -> Item:
    if site.peer is None:
        return Item(Group("task", site.op, role), (site.worker,))
    way, _, payload = site.op.partition(" ")
    ends = (site.worker, site.peer) if way == "send" else (site.peer, site.worker)
    return Item(Group(_LEG_OF_WAY[way], payload, ""), ends)


@dataclass(frozen=True, slots=True)
class _Piece:
    """The parts of one sequence: item, seconds and cycle of each, and by item `Sample`'s figures of the path."""

    item: "Ints"
    seconds: "Floats"
    cycle: "Ints"
    on_path: "Floats"
    shortest_s: "Floats"
    num_cycles: int


def _piece(trace: Trace, number: int, items: _Items) -> _Piece:
    graph = causality(trace)
    window = decodings(trace, graph, number)[0]
    item = items.of_site[np.frombuffer(trace.site, np.uint16)]
    seconds = graph.end_s - graph.start_s
    receipts = np.flatnonzero(graph.posting >= 0)
    seconds[receipts] = graph.end_s[receipts] - graph.end_s[graph.posting[receipts]]
    is_counted = (graph.cycle >= 0) | graph.of_op("prefill")
    is_receipt = np.zeros(len(item), np.bool_)
    is_receipt[receipts] = True
    shortest_s = np.full(len(items.known), inf)
    hidden = is_counted & is_receipt & ~graph.is_wait
    np.minimum.at(shortest_s, item[hidden], seconds[hidden])
    on_path, gap_s = _on_path(graph, window, np.where(is_counted, seconds, 0.0), item, items)
    chosen = is_counted & ~(is_receipt & ~graph.is_wait)
    num_gaps, num_cycles = gap_s.shape
    return _Piece(
        np.concatenate([item[chosen], np.repeat(np.unique(items.of_gap), num_cycles)]),
        np.concatenate([seconds[chosen], gap_s.ravel()]),
        np.concatenate([graph.cycle[chosen], np.tile(np.arange(num_cycles), num_gaps)]),
        on_path, shortest_s, num_cycles,
    )  # fmt: skip


def _on_path(
    graph: Causality, window: Decoding, seconds: "Floats", item: "Ints", items: _Items
) -> tuple["Floats", "Floats"]:
    """Return how often the critical path holds each item, and the seconds of its gaps, by role and cycle.

    A span that the path holds a part of counts by that part; one of 0 `seconds` does not count. Gaps are once in
    every cycle, of whatever length.
    """
    num_cycles, gaps = len(window.cycle_s), np.unique(items.of_gap)
    on_path, gap_s = np.zeros(len(items.known)), np.zeros((len(gaps), num_cycles))
    if not num_cycles:
        return on_path, gap_s
    span, _, held_s, is_gap = critical_spans(graph, window.last_span, window.begin_s, through_devices=True)
    counted = ~is_gap & (seconds[span] > 0.0)
    np.add.at(on_path, item[span[counted]], held_s[counted] / seconds[span[counted]])
    between = span[is_gap]
    role = np.searchsorted(gaps, items.of_gap[graph.worker[between]])
    np.add.at(gap_s, (role, np.maximum(graph.cycle[between], 0)), held_s[is_gap])
    on_path[gaps] = num_cycles
    return on_path, gap_s


def _blocks(pieces: list[_Piece]) -> tuple["Ints", int]:
    """Return the block of every part, and how many blocks there are."""
    num_batches = -(-_FEWEST_BLOCKS // len(pieces))
    batches = [
        np.clip(piece.cycle * num_batches // max(piece.num_cycles, 1), 0, num_batches - 1) + number * num_batches
        for number, piece in enumerate(pieces)
    ]
    return np.concatenate(batches), len(pieces) * num_batches
