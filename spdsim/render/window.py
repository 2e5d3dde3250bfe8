"""Which part of a trace a timeline shows: what people ask for, and a good choice where they ask for nothing.

Knows nothing of drawing.
"""

import re
from bisect import bisect_left
from dataclasses import dataclass

from spdsim.analysis.fate import rejections
from spdsim.errors import InputError
from spdsim.trace import Trace

_UNITS_S = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6}
_GOOD_CELLS_PER_CYCLE = 5
_FEWEST_CELLS_PER_CYCLE = 3


@dataclass(frozen=True, slots=True)
class Cycle:
    """A place in a trace named by its cycle."""

    number: int


Moment = float | Cycle
"""A time in seconds on the trace's clock, or a cycle."""


def parse_window(text: str, name: str = "window") -> Moment:
    """Read one end of a window: "0.5s", "12ms", "80us", "cycle 40" or "c40".

    Raises InputError on anything else, which it calls `name`.
    """
    if cycle := re.fullmatch(r"\s*c(?:ycle)?\s*(-1|\d{1,9})\s*", text):
        return Cycle(int(cycle[1]))
    if time := re.fullmatch(r"\s*(\d{1,15}(?:\.\d*)?|\.\d+)\s*(s|ms|us|µs)\s*", text):
        return float(time[1]) * _UNITS_S[time[2]]
    raise InputError(f"{name} is {text!r}: must be a time (0.5s, 12ms, 80us) or a cycle (c40)")


def moment_s(trace: Trace, moment: Moment, sequence: int = 0, *, is_end: bool = False) -> float:
    """Return `moment` in seconds on the trace's clock; a cycle begins, or with `is_end` ends, with worker 0.

    Raises InputError if the sequence has no such cycle.
    """
    if isinstance(moment, float):
        return moment
    starts = CycleStarts.of(trace, sequence)
    if not starts.first <= moment.number <= starts.last:
        raise InputError(f"cycle is {moment.number}: must be {starts.first} to {starts.last} in sequence {sequence}")
    return starts.at(moment.number + is_end)


@dataclass(frozen=True, slots=True)
class CycleStarts:
    """When worker 0 began each cycle of a sequence; the end of the sequence stands last."""

    first: int
    times_s: tuple[float, ...]

    @classmethod
    def of(cls, trace: Trace, sequence: int) -> "CycleStarts":
        """Read them off `trace`. Raises InputError if there is no such sequence or worker 0 did nothing in it."""
        if not 0 <= sequence < trace.num_sequences:
            raise InputError(f"sequence is {sequence}: must be less than {trace.num_sequences}")
        first, last = trace.sequence_bounds(sequence)
        starts: dict[int, float] = {}
        for i in range(first, last):
            if trace.sites[trace.site[i]].worker == 0:
                starts.setdefault(trace.cycle[i], trace.start_s[i])
        if not starts:
            raise InputError(f"sequence {sequence} has no span of worker 0: nothing to draw")
        cycles = sorted(starts)
        return cls(cycles[0], (*(starts[cycle] for cycle in cycles), max(trace.end_s[first:last])))

    @property
    def last(self) -> int:
        return self.first + len(self.times_s) - 2

    def at(self, cycle: int) -> float:
        """Return when `cycle` began, in seconds; beyond the ends, the nearest end."""
        return self.times_s[min(max(cycle - self.first, 0), len(self.times_s) - 1)]

    def cycle_at(self, time_s: float) -> int:
        """Return the first cycle that begins at `time_s` or later."""
        return self.first + min(bisect_left(self.times_s, time_s), len(self.times_s) - 1)


def default_cycles(trace: Trace, sequence: int, num_cells: int) -> tuple[int, int]:
    """Return the first cycle to show and the one after the last: a rejection and the refill, where there is one.

    About 2.5 n + 6 cycles, fewer where they would be narrower than a few cells; without a rejection, the first.
    """
    header = trace.header
    capacity = header.num_stages + header.verification_lag
    wanted = round(2.5 * header.num_stages) + 6
    good = num_cells // _GOOD_CELLS_PER_CYCLE
    tolerable = min(capacity + 4, num_cells // _FEWEST_CELLS_PER_CYCLE)
    length = max(1, min(wanted, max(good, tolerable)))
    cycles = CycleStarts.of(trace, sequence)
    rejected = next((cycle for s, cycle, _, _ in rejections(trace.select(sequence, sequence + 1))), None)
    if rejected is None:
        # Decoding begins with cycle 0; a single token has the prefill only.
        return min(0, cycles.last), min(length, cycles.last + 1)
    # The refill is capacity cycles long; what is left is shared by what goes before and after.
    lead = max(2, (length - capacity) // 2)
    first = max(0, min(rejected - lead, cycles.last + 1 - length))
    return first, min(first + length, cycles.last + 1)
