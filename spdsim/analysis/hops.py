"""The hops of the hidden states from stage to stage: what the plain pipeline waits for, too."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from spdsim.analysis.causality import Causality

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Hops:
    """Sums over the hidden states that each worker received from the stage before it, all by worker.

    A receipt tells the crossing only if it waited: `waited` such receipts crossed in `waited_s` together. Where
    none did, the shortest of all, `shortest_s`, is the best bound there is. hosts_s: posting and handling them.
    """

    count: "Floats"
    waited: "Floats"
    waited_s: "Floats"
    shortest_s: "Floats"
    hosts_s: "Floats"

    @classmethod
    def sum(cls, parts: "Iterable[Hops]") -> "Hops":
        """Return what several traces of the same workers tell together."""
        all_parts = list(parts)
        return cls(
            np.sum([part.count for part in all_parts], axis=0),
            np.sum([part.waited for part in all_parts], axis=0),
            np.sum([part.waited_s for part in all_parts], axis=0),
            np.min([part.shortest_s for part in all_parts], axis=0),
            np.sum([part.hosts_s for part in all_parts], axis=0),
        )

    @property
    def total_s(self) -> float:
        """Seconds that a token spends between the stages: the mean of each hop, added up."""
        used = self.count > 0
        crossing_s = np.where(self.waited > 0, self.waited_s / np.maximum(self.waited, 1.0), self.shortest_s)
        return float((crossing_s + self.hosts_s / np.maximum(self.count, 1.0))[used].sum())


def hops(graph: Causality, num_workers: int) -> Hops:
    """Return the hops of the decode cycles, by each of `num_workers` workers."""
    receipts = _from_stage_to_stage(graph)
    posting, worker = graph.posting[receipts], graph.worker[receipts]
    crossing_s = graph.end_s[receipts] - graph.end_s[posting]
    waited = graph.is_wait[receipts]
    shortest_s = np.full(num_workers, np.inf)
    np.minimum.at(shortest_s, worker, crossing_s)

    def by_worker(which: "NDArray[np.bool_] | slice", values: "Floats") -> "Floats":
        return np.asarray(np.bincount(worker[which], weights=values[which], minlength=num_workers), np.float64)

    ones, everything = np.ones(len(receipts)), slice(None)
    return Hops(
        by_worker(everything, ones), by_worker(waited, ones), by_worker(waited, crossing_s), shortest_s,
        by_worker(everything, graph.end_s[posting] - graph.start_s[posting]) + _handled_s(graph, num_workers),
    )  # fmt: skip


def _handled_s(graph: Causality, num_workers: int) -> "Floats":
    """Seconds in which each stage's host handled hidden states."""
    handled = np.flatnonzero(graph.of_op("handle hidden") & (graph.cycle >= 0))
    handled = handled[np.isin(graph.worker[handled], np.unique(graph.worker[graph.of_op("forward")]))]
    seconds = graph.end_s[handled] - graph.start_s[handled]
    return np.asarray(np.bincount(graph.worker[handled], weights=seconds, minlength=num_workers), np.float64)


def _from_stage_to_stage(graph: Causality) -> "Ints":
    """The receipts of hidden states by the next stage: the LM head's copies are no hops of the pipeline."""
    receipts = np.flatnonzero(graph.of_op("recv hidden") & (graph.posting >= 0) & (graph.cycle >= 0))
    sender, receiver = graph.worker[graph.posting[receipts]], graph.worker[receipts]
    stages = np.unique(graph.worker[graph.of_op("forward")])
    is_hop = (receiver - sender == 1) & np.isin(sender, stages) & np.isin(receiver, stages)
    return np.asarray(receipts[is_hop])
