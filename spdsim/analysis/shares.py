"""How each worker spends the decode time: useful, wasted, or idle, and for what cause."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from spdsim.analysis.causality import DRAFT, FORWARD, HOST, ISSUED, LINK, SHARING, VERIFY, Causality, wait_causes
from spdsim.analysis.decoding import Decoding
from spdsim.analysis.fate import ABANDONED, USEFUL, WASTED
from spdsim.analysis.report import CAUSES, WorkerShares
from spdsim.trace import WorkerInfo

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Bools = NDArray[np.bool_]

_CAUSE_OF_CATEGORY = {
    FORWARD: "slower_stage", DRAFT: "draft", VERIFY: "verdict", LINK: "link", HOST: "host", SHARING: "shared_device",
    **dict.fromkeys(ISSUED, "host"),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Ledger:
    """Seconds by what they went into, and for each by worker, shape (W,)."""

    num_workers: int
    spent_s: "dict[str, Floats]"

    @classmethod
    def sum(cls, parts: "Iterable[Ledger]") -> "Ledger":
        """Return what several traces of the same workers tell together."""
        total: Ledger | None = None
        for part in parts:
            total = total or cls(part.num_workers, {})
            for name, seconds in part.spent_s.items():
                total.spent_s[name] = total.spent_s.get(name, 0.0) + seconds
        assert total is not None
        return total

    def add(self, name: str, worker: "NDArray[np.int64]", seconds: "Floats") -> None:
        """Charge `seconds` of the workers `worker`, one each, to `name`."""
        spent = self.spent_s.setdefault(name, np.zeros(self.num_workers))
        spent += np.bincount(worker, weights=seconds, minlength=self.num_workers)


def worker_shares(ledger: Ledger, workers: Sequence[WorkerInfo], total_s: float) -> tuple[WorkerShares, ...]:
    """Return every worker's shares of the decode time `total_s`; nothing when there is none."""
    if total_s <= 0.0:
        return ()

    def fraction(name: str, worker: int) -> float:
        return float(ledger.spent_s[name][worker]) / total_s if name in ledger.spent_s else 0.0

    shares = []
    for info in workers:
        by_cause = {cause: fraction(cause, info.index) for cause in CAUSES}
        useful, wasted = fraction("useful", info.index), fraction("wasted", info.index)
        idle = sum(by_cause.values())
        shares.append(WorkerShares(info.index, info.role, info.device, useful, wasted, idle, by_cause))
    return tuple(shares)


def spent_by_worker(graph: Causality, fate: "NDArray[np.uint8]", decodings: list[Decoding], num_workers: int) -> Ledger:
    """Return the seconds of the decode windows by worker, useful, wasted, and idle by cause.

    Bookkeeping, messages, and issuing longer than the device works are the host's: the device is idle meanwhile.
    """
    begin_s = np.array([decoding.begin_s for decoding in decodings])
    end_s = np.array([decoding.end_s for decoding in decodings])
    low = np.clip(graph.start_s, begin_s[graph.sequence], end_s[graph.sequence])
    high = np.clip(graph.end_s, begin_s[graph.sequence], end_s[graph.sequence])
    ledger = Ledger(num_workers, {})
    is_host = np.isin(graph.category, (HOST, *ISSUED)) & (graph.is_compute | ~graph.is_wait)
    is_work = graph.is_compute & ~is_host
    for name, value in (("useful", USEFUL), ("wasted", WASTED), ("abandoned_tail", ABANDONED)):
        which = is_work & (fate == value)
        ledger.add(name, graph.worker[which], (high - low)[which])
    ledger.add("host", graph.worker[is_host], (high - low)[is_host])
    _add_waits(ledger, graph, low, high, _driver(graph))
    _add_gaps(ledger, graph, low, begin_s, end_s)
    return ledger


def _driver(graph: Causality) -> int:
    return int(graph.worker[np.flatnonzero(graph.of_op("commit"))[0]])


def _add_waits(ledger: Ledger, graph: Causality, low: "Floats", high: "Floats", driver: int) -> None:
    waits = np.flatnonzero(graph.is_wait & (high > low))
    is_fill = _has_no_token(graph, waits, driver)
    fill = waits[is_fill]
    ledger.add("pipeline_fill", graph.worker[fill], (high - low)[fill])
    caused = waits[~is_fill]
    seconds = wait_causes(graph, caused, low[caused], high[caused])
    for category, cause in _CAUSE_OF_CATEGORY.items():
        ledger.add(cause, graph.worker[caused], seconds[:, category])


def _has_no_token(graph: Causality, waits: "NDArray[np.int64]", driver: int) -> "Bools":
    """Whether the worker, not the driver, neither runs nor verifies a token in the cycle of the wait."""
    num_workers, num_cycles = int(graph.worker.max()) + 1, int(graph.cycle.max()) + 2

    def key(spans: "NDArray[np.int64]") -> "NDArray[np.int64]":
        worker_of_sequence = graph.sequence[spans] * num_workers + graph.worker[spans]
        return np.asarray(worker_of_sequence * num_cycles + graph.cycle[spans] + 1)

    runs = np.zeros(key(np.array([len(graph.worker) - 1]))[0] + num_workers * num_cycles + 1, np.bool_)
    runs[key(np.flatnonzero(graph.of_op("forward") | graph.of_op("verify")))] = True
    return np.asarray((graph.cycle[waits] >= 0) & (graph.worker[waits] != driver) & ~runs[key(waits)])


def _add_gaps(ledger: Ledger, graph: Causality, low: "Floats", begin_s: "Floats", end_s: "Floats") -> None:
    """Charge the time that no span covers: before a span to its `gap`, after the last to the tail."""
    before = graph.previous
    since = np.where(before >= 0, graph.end_s[np.maximum(before, 0)], begin_s[graph.sequence])
    since = np.clip(since, begin_s[graph.sequence], end_s[graph.sequence])
    gap_s = np.maximum(low - since, 0.0)
    for category, cause in ((SHARING, "shared_device"), (HOST, "host")):
        which = (graph.gap == category) & (gap_s > 0.0)
        ledger.add(cause, graph.worker[which], gap_s[which])
    is_last = np.ones(len(before), np.bool_)
    is_last[before[before >= 0]] = False
    last = np.flatnonzero(is_last)
    ended = np.clip(graph.end_s[last], begin_s[graph.sequence[last]], end_s[graph.sequence[last]])
    ledger.add("abandoned_tail", graph.worker[last], end_s[graph.sequence[last]] - ended)
