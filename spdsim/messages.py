"""Which receipt in a trace belongs to which send.

Every message sent in a cycle is received in that cycle, so two workers, a payload and a cycle name it.
Standard library only.
"""

from collections import defaultdict, deque
from collections.abc import Iterator

from spdsim.trace import Trace


def pairs(trace: Trace) -> Iterator[tuple[int, int]]:
    """Yield (index of the send's span, index of the receipt's span) of every message that was received.

    Sends are matched first to first where several share sequence, cycle, workers and payload. What was
    sent and never received, or the reverse (a trace cut short), is left out.
    """
    for sequence in range(trace.num_sequences):
        first, last = trace.sequence_bounds(sequence)
        yield from _pairs_between(trace, first, last)


def _pairs_between(trace: Trace, first: int, last: int) -> Iterator[tuple[int, int]]:
    # Whatever order the spans of different workers stand in, a receipt may come before its send.
    waiting: dict[tuple[int, int | None, int | None, str], deque[int]] = defaultdict(deque)
    receipts = []
    for i in range(first, last):
        site = trace.sites[trace.site[i]]
        way, _, payload = site.op.partition(" ")
        if way == "send":
            waiting[trace.cycle[i], site.worker, site.peer, payload].append(i)
        elif way == "recv":
            receipts.append((i, (trace.cycle[i], site.peer, site.worker, payload)))
    for i, key in receipts:
        if waiting[key]:
            yield waiting[key].popleft(), i
