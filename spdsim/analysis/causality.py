"""What each span waited for: the graph of causes in a trace, and two walks through it.

A span follows the one before it on its worker; a receipt that waited follows the posting of its message.
Walking backwards from the end of decoding gives the critical path; walking backwards from the end of a wait,
as far as its beginning, tells why the worker was idle. Needs nothing but spans, so it reads any trace.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from spdsim.analysis.messages import postings
from spdsim.trace import Trace

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]
    Floats = NDArray[np.float64]
    Bools = NDArray[np.bool_]

FORWARD, DRAFT, VERIFY, LINK, HOST, SHARING, ISSUED_FORWARD, ISSUED_DRAFT, ISSUED_VERIFY = range(9)
NUM_CATEGORIES = 9

ISSUED = {ISSUED_FORWARD: FORWARD, ISSUED_DRAFT: DRAFT, ISSUED_VERIFY: VERIFY}
"""Host time of tasks that take longer to issue than to do, and the tasks: it is the host's, and part of the task."""

_CATEGORY = {
    "forward": FORWARD, "draft": DRAFT, "verify": VERIFY, "combine": VERIFY, "commit": HOST, "rollback": HOST,
    "issue forward": ISSUED_FORWARD, "issue draft": ISSUED_DRAFT,
    "issue verify": ISSUED_VERIFY, "issue combine": ISSUED_VERIFY,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Causality:
    """The spans of a whole trace as arrays, one entry a span, with their causes.

    category: what the span's time is charged to; `is_wait` marks receipts that waited.
    previous: the span before on the same worker and sequence, -1 if none.
    posting: for a receipt, the span that posted its message, -1 if it is not in the trace.
    gap: what time between `previous` and this span is charged to: SHARING before a computation on a device
        that several workers use, else HOST.
    holder: the computation that held this span's device until it started, -1 if none did.
    """

    sequence: "Ints"
    worker: "Ints"
    cycle: "Ints"
    op: "NDArray[np.int8]"
    category: "NDArray[np.int8]"
    gap: "NDArray[np.int8]"
    start_s: "Floats"
    end_s: "Floats"
    previous: "Ints"
    posting: "Ints"
    holder: "Ints"
    is_wait: "Bools"
    is_compute: "Bools"
    op_names: tuple[str, ...]

    def of_op(self, name: str) -> "Bools":
        """Return which spans are of the op called `name`."""
        if name not in self.op_names:
            return np.zeros(len(self.op), np.bool_)
        return np.equal(self.op, self.op_names.index(name))


def causality(trace: Trace) -> Causality:
    """Work out the causes of every span of `trace`."""
    site = np.frombuffer(trace.site, np.uint16)
    names = sorted({s.op for s in trace.sites})
    op_of_site = np.array([names.index(s.op) for s in trace.sites], np.int8)
    worker_of_site = np.array([s.worker for s in trace.sites], np.int64)
    compute_of_site = np.array([s.peer is None for s in trace.sites])
    receipt_of_site = np.array([s.op.startswith("recv") for s in trace.sites])
    # The draft rank's own prefill, after y_1, is drafting; a stage's is not decoding at all.
    roles = {info.index: info.role for info in trace.header.workers}
    category_of_site = np.array(
        [
            _CATEGORY.get(s.op, DRAFT if s.op == "prefill" and roles.get(s.worker) == "draft" else HOST)
            for s in trace.sites
        ],
        np.int8,
    )
    sharing = _sharing_workers(trace)
    sharing_of_site = np.array([s.peer is None and _takes_device(s.op) and s.worker in sharing for s in trace.sites])
    bounds = [*trace.sequence_starts, len(trace)]
    sequence = np.repeat(np.arange(trace.num_sequences), np.diff(bounds))
    worker = worker_of_site[site]
    start_s, end_s = np.frombuffer(trace.start_s, np.float64), np.frombuffer(trace.end_s, np.float64)
    cycle = np.frombuffer(trace.cycle, np.int32).astype(np.int64)
    is_receipt = receipt_of_site[site]
    return Causality(
        sequence, worker, cycle, op_of_site[site], category_of_site[site],
        np.where(sharing_of_site, SHARING, HOST).astype(np.int8)[site], start_s, end_s,
        _previous(sequence, worker), postings(trace),
        _holders(trace, sharing_of_site[site], sequence, worker, start_s, end_s),
        is_receipt & (end_s > start_s), compute_of_site[site], tuple(names),
    )  # fmt: skip


def critical_path(
    graph: Causality, last: int, begin_s: float, *, through_devices: bool = False
) -> tuple["Ints", "Ints", "Floats"]:
    """Return (cycle, category, seconds) of every piece of the path that `critical_spans` walks."""
    span, category, seconds, _ = critical_spans(graph, last, begin_s, through_devices=through_devices)
    return graph.cycle[span], category, seconds


def critical_spans(
    graph: Causality, last: int, begin_s: float, *, through_devices: bool = False
) -> tuple["Ints", "Ints", "Floats", "Bools"]:
    """Walk back from the end of span `last` to `begin_s`.

    through_devices: where a computation waited for its device, go on at the computation that held it, rather
    than call the wait SHARING and stay on this worker; where the bandwidth is shared there is no single holder,
    and the wait is charged to the computation, which would be longer by it.
    Return (span, category, seconds, is_gap) of every piece; the seconds add up to `end_s[last] - begin_s`. A gap is
    time that no span covers, before its span.
    """
    # A memory view gives plain numbers, several times faster than an array gives its scalars.
    start_s, end_s = graph.start_s.data, graph.end_s.data
    is_wait, category, gap = graph.is_wait.data, graph.category.data, graph.gap.data
    previous, postings, holders = graph.previous.data, graph.posting.data, graph.holder.data
    pieces: list[tuple[int, int, float, bool]] = []
    here = last
    upper_s: float = end_s[last]
    while upper_s > begin_s:
        posting = postings[here]
        if is_wait[here] and posting >= 0:
            lower_s = max(begin_s, min(upper_s, end_s[posting]))
            pieces.append((here, LINK, upper_s - lower_s, False))
            here = posting
        else:
            lower_s = max(begin_s, min(upper_s, start_s[here]))
            if lower_s < upper_s:
                pieces.append((here, LINK if is_wait[here] else category[here], upper_s - lower_s, False))
            if through_devices and gap[here] == SHARING and holders[here] >= 0:
                here, upper_s = holders[here], lower_s
                continue
            before = previous[here]
            gap_from_s = begin_s if before < 0 else max(begin_s, min(lower_s, end_s[before]))
            if gap_from_s < lower_s:
                cause = category[here] if through_devices and gap[here] == SHARING else gap[here]
                pieces.append((here, cause, lower_s - gap_from_s, True))
                lower_s = gap_from_s
            here = before
        upper_s = lower_s
    spans, categories, seconds, is_gap = zip(*pieces, strict=True) if pieces else ((), (), (), ())
    return (
        np.array(spans, np.int64), np.array(categories, np.int64), np.array(seconds, np.float64),
        np.array(is_gap, np.bool_),
    )  # fmt: skip


def wait_causes(graph: Causality, waits: "Ints", low_s: "Floats", high_s: "Floats") -> "Floats":
    """Return the seconds of each wait by category, shape (len(waits), NUM_CATEGORIES).

    Wait j is the receipt `waits[j]`, looked at between `low_s[j]` and `high_s[j]`; the rows add up to
    `high_s - low_s`. All waits are walked at once, one step back at a time.
    """
    causes = np.zeros((len(waits), NUM_CATEGORIES))
    row, here, low, high = np.arange(len(waits)), waits, low_s, high_s
    gap: NDArray[np.int8] = np.full(len(waits), HOST, np.int8)
    while len(row):
        posting, waited = graph.posting[here], graph.is_wait[here]
        by_message = waited & (posting >= 0)
        end = np.clip(graph.end_s[here], low, high)
        causes[row, gap] += high - end
        reached = np.where(by_message, graph.end_s[np.maximum(posting, 0)], graph.start_s[here])
        reached = np.clip(reached, low, end)
        causes[row, np.where(waited, LINK, graph.category[here])] += end - reached
        gap = np.where(by_message, np.int8(HOST), graph.gap[here])
        here = np.where(by_message, posting, graph.previous[here])
        # Where the trace does not reach further back, the rest is the host's.
        lost = (here < 0) & (reached > low)
        causes[row[lost], HOST] += (reached - low)[lost]
        on = np.flatnonzero((here >= 0) & (reached > low))
        row, here, low, high, gap = row[on], here[on], low[on], reached[on], gap[on]
    return causes


def _takes_device(op: str) -> bool:
    return op != "commit" and not op.startswith("issue ")


def _sharing_workers(trace: Trace) -> frozenset[int]:
    """The workers whose device has other workers too."""
    devices = [info.device for info in trace.header.workers]
    return frozenset(info.index for info in trace.header.workers if devices.count(info.device) > 1)


def _holders(
    trace: Trace, is_sharing: "Bools", sequence: "Ints", worker: "Ints", start_s: "Floats", end_s: "Floats"
) -> "Ints":
    """For each computation on a shared device the one, of another worker, that ended there when it started."""
    holder = np.full(len(worker), -1)
    devices = [info.device for info in trace.header.workers]
    number = np.array([devices.index(device) for device in devices] or [0])
    spans = np.flatnonzero(is_sharing & (end_s > start_s))
    group = sequence[spans] * len(number) + number[worker[spans]]
    for one in np.unique(group):
        here = spans[group == one]
        here = here[np.argsort(end_s[here], kind="stable")]
        before = np.searchsorted(end_s[here], start_s[here], side="right") - 1
        found = here[np.maximum(before, 0)]
        is_holder = (before >= 0) & (end_s[found] == start_s[here]) & (worker[found] != worker[here])
        holder[here[is_holder]] = found[is_holder]
    return holder


def _previous(sequence: "Ints", worker: "Ints") -> "Ints":
    key = sequence * (int(worker.max(initial=0)) + 1) + worker
    order = np.argsort(key, kind="stable")
    previous = np.full(len(key), -1)
    same = key[order[1:]] == key[order[:-1]]
    previous[order[1:][same]] = order[:-1][same]
    return previous
