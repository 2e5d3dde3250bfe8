"""What stands above and below the rows of a timeline: cycles, rejections and round times, each at its cell."""

from dataclasses import dataclass
from itertools import pairwise
from math import ceil, floor, log10

from rich.text import Text

from spdsim.analysis.fate import rejections
from spdsim.render.kinds import REJECTION_STYLE
from spdsim.render.look import Look
from spdsim.render.window import CycleStarts
from spdsim.trace import Trace

_CELLS_PER_TICK = 14


@dataclass(frozen=True, slots=True)
class Scale:
    """A window of time, in seconds, on a row of cells."""

    start_s: float
    end_s: float
    num_cells: int

    def cell(self, time_s: float) -> int:
        """Return the cell in which `time_s` falls; it may lie outside the row."""
        # A cycle that begins with the window must not fall off it by rounding.
        return floor((time_s - self.start_s) / (self.end_s - self.start_s) * self.num_cells + 1e-6)


def placed(labels: list[tuple[int, str]], num_cells: int) -> str:
    """Return one row with each label at its cell; a label that would touch the one before is left out."""
    row = ""
    for cell, label in labels:
        if (cell > len(row) or not row) and cell >= 0 and cell + len(label) <= num_cells:
            row = row.ljust(cell) + label
    return row


def cycle_axis(starts: CycleStarts, scale: Scale, look: Look) -> Text:
    """Return the row of cycle numbers, each where worker 0 begins the cycle."""
    first, last = starts.cycle_at(scale.start_s), starts.cycle_at(scale.end_s)
    cells = {cycle: scale.cell(starts.at(cycle)) for cycle in range(first, last)}
    # Every so many cycles, such that the widest number still stands clear of the next.
    room = scale.num_cells / max(len(cells), 1)
    step = _round_step((len(str(last)) + 1) / room)
    labels = [(cell, str(cycle)) for cycle, cell in cells.items() if cycle % step == 0]
    return Text(placed(labels, scale.num_cells), look.style("dim"))


def rejection_axis(trace: Trace, sequence: int, scale: Scale, look: Look) -> Text:
    """Return the row of marks, each at its rejection, with the position that was rejected where there is room."""
    row = Text()
    found = [
        (scale.cell(time_s), position)
        for _, _, position, time_s in rejections(trace.select(sequence, sequence + 1))
        if scale.start_s <= time_s < scale.end_s
    ]
    for (cell, position), (following, _) in pairwise([*found, (scale.num_cells, -1)]):
        if cell < len(row):
            continue
        name = f"{look.mark}{position}"
        row.append(" " * (cell - len(row)))
        row.append(name if len(name) < following - cell else look.mark, look.style(REJECTION_STYLE))
    return row


def time_axis(scale: Scale, look: Look) -> tuple[str, Text]:
    """Return the unit, as the label of the row, and the row of round times."""
    length_s = scale.end_s - scale.start_s
    unit, factor = next((u, f) for u, f, limit_s in _UNITS if length_s >= limit_s)
    step = _nice(length_s * factor / max(scale.num_cells / _CELLS_PER_TICK, 1))
    decimals = max(0, -floor(log10(step) + 1e-9))
    first = ceil(scale.start_s * factor / step - 1e-9)
    last = floor(scale.end_s * factor / step + 1e-9)
    ticks = [(scale.cell(i * step / factor), f"{look.tick}{i * step:.{decimals}f}") for i in range(first, last + 1)]
    return unit if look.unicode else unit.replace("µ", "u"), Text(placed(ticks, scale.num_cells), look.style("dim"))


_UNITS = (("s", 1.0, 5.0), ("ms", 1e3, 0.2e-3), ("µs", 1e6, 0.0))
"""A unit, how many of it a second has, and the shortest window in seconds that uses it."""


def _nice(least: float) -> float:
    """The smallest of 1, 2, 5 times a power of ten that is at least `least`."""
    power = 10.0 ** floor(log10(least))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= least * (1 - 1e-9))


def _round_step(least: float) -> int:
    return max(1, round(_nice(max(least, 1.0))))
