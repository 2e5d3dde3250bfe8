"""Which receipt in a trace belongs to which posting.

Every message sent in a cycle is received in that cycle, so two workers, a payload and a cycle name it.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from spdsim.trace import Trace

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]


def postings(trace: Trace) -> "Ints":
    """Return for every span the index of the posting whose message it receives; -1 if none is in the trace."""
    site, cycle = np.frombuffer(trace.site, np.uint16), np.frombuffer(trace.cycle, np.int32).astype(np.int64)
    sequence = np.repeat(np.arange(trace.num_sequences), np.diff([*trace.sequence_starts, len(trace)]))
    send_edge, receipt_edge, num_edges = _edges(trace)
    sends, receipts = np.flatnonzero(send_edge[site] >= 0), np.flatnonzero(receipt_edge[site] >= 0)
    posting = np.full(len(site), -1)
    if not len(sends) or not len(receipts):
        return posting
    num_cycles = int(cycle.max()) + 2

    def key(spans: "Ints", edge: "Ints") -> "Ints":
        return np.asarray((sequence[spans] * num_edges + edge[site[spans]]) * num_cycles + cycle[spans] + 1)

    send_key, receipt_key = key(sends, send_edge), key(receipts, receipt_edge)
    order = np.argsort(send_key, kind="stable")
    found = np.minimum(np.searchsorted(send_key, receipt_key, sorter=order), len(order) - 1)
    is_matched = send_key[order[found]] == receipt_key
    posting[receipts[is_matched]] = sends[order[found]][is_matched]
    return posting


def pairs(trace: Trace) -> Iterator[tuple[int, int]]:
    """Yield (index of the posting's span, index of the receipt's span) of every message that was received."""
    posting = postings(trace)
    receipts = np.flatnonzero(posting >= 0)
    yield from zip(posting[receipts].tolist(), receipts.tolist(), strict=True)


def _edges(trace: Trace) -> tuple["Ints", "Ints", int]:
    """Number the edges (payload, source, destination); return each site's as a posting, as a receipt, and how many."""
    edges: dict[tuple[str, int, int], int] = {}
    sends, receipts = np.full(len(trace.sites), -1), np.full(len(trace.sites), -1)
    for number, site in enumerate(trace.sites):
        if site.peer is None:
            continue
        way, _, payload = site.op.partition(" ")
        if way == "send":
            sends[number] = edges.setdefault((payload, site.worker, site.peer), len(edges))
        elif way == "recv":
            receipts[number] = edges.setdefault((payload, site.peer, site.worker), len(edges))
    return sends, receipts, len(edges)
