"""The edges of a schedule: who sends what to whom, found by playing it.

Knows nothing of messages. Standard library and `spdsim.schedules` only.
"""

from typing import NamedTuple

from spdsim.schedules import plain, spd
from spdsim.schedules.ops import Payload, Send, Verdict
from spdsim.schedules.spd import Layout

HOST_PAYLOADS: tuple[Payload, ...] = ("draft", "verdict")
"""What the receiver's host reads: token ids and verdicts."""


class Edge(NamedTuple):
    """All messages of one payload from one worker to another."""

    payload: Payload
    source: int
    to: int


def edges_of(layout: Layout) -> tuple[Edge, ...]:
    """Return every edge on which speculative or plain decoding sends a message, in an order that all ranks share."""
    accepted, rejected = Verdict(True), Verdict(False)
    found: set[Edge] = set()
    # To a full pipeline, one verdict of each kind there, and the cycle after it.
    verdicts = (accepted, rejected, accepted)
    for schedule in (spd, plain):
        state, left = spd.start(layout, max_tokens=len(verdicts) + 2), [*verdicts]
        while left:
            for worker in range(layout.num_workers):
                ops = schedule.program(state, worker)
                found.update(Edge(op.payload, worker, op.to) for op in ops if isinstance(op, Send))
            is_awaited = schedule.verdict_position(state) is not None
            state = schedule.advance(state, left.pop(0) if is_awaited else None)
    return tuple(sorted(found))
