"""The edges of a schedule: who sends what to whom, found by playing it.

Knows nothing of messages. Standard library and `spdsim.schedules` only.
"""

from typing import NamedTuple

from spdsim.schedules import spd
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
    found: set[Edge] = set()
    # The prefill, every depth of filling and a full cycle; plain decoding sends what the prefill does.
    state = spd.start(layout, max_tokens=3)
    for _ in range(layout.capacity + 1):
        for worker in range(layout.num_workers):
            found.update(Edge(op.payload, worker, op.to) for op in spd.program(state, worker) if isinstance(op, Send))
        state = spd.advance(state, Verdict(True) if state.is_full else None)
    return tuple(sorted(found))
