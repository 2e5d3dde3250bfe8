"""How far the clocks of two hosts are apart, from messages there and back; standard library only.

Of many exchanges the quickest tells most: wherever in between the other clock was read, the error is no more than half
of the time there and back (as in the Network Time Protocol, RFC 5905, section 8).
"""

from array import array
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Exchange:
    """A message there and back: this clock when it left and came back, the other's clock in between."""

    sent_s: float
    other_s: float
    received_s: float


@dataclass(frozen=True, slots=True)
class Offset:
    """What to add to this clock's `at_s` to have the other's; wrong by `error_s` at the most."""

    at_s: float
    offset_s: float
    error_s: float


def offset_of(exchanges: Iterable[Exchange]) -> Offset:
    """Return the offset that the quickest exchange tells. Raises ValueError without any."""
    best = min(exchanges, key=lambda exchange: exchange.received_s - exchange.sent_s)
    middle_s = (best.sent_s + best.received_s) / 2
    return Offset(middle_s, best.other_s - middle_s, (best.received_s - best.sent_s) / 2)


def shift(times_s: "array[float]", before: Offset, after: Offset) -> None:
    """Turn times of this clock into the other's, in place: it drifts evenly from one offset to the other."""
    between_s = after.at_s - before.at_s
    for index, time_s in enumerate(times_s):
        part = min(1.0, max(0.0, (time_s - before.at_s) / between_s)) if between_s > 0.0 else 0.0
        times_s[index] = time_s + before.offset_s + part * (after.offset_s - before.offset_s)
