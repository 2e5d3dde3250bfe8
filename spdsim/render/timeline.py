"""The timeline of pipeline occupancy: workers by time, or workers by cycle.

Every cell is a slice of time and shows what took the most of it, so that bubbles, flushed work and the
refill after a rejection can be seen in a terminal.
"""

from typing import Literal

from rich.console import Group
from rich.text import Text

from spdsim.analysis.soundness import check_alone
from spdsim.errors import InputError
from spdsim.render.axes import Scale, cycle_axis, rejection_axis, time_axis
from spdsim.render.cells import Work, runs
from spdsim.render.cycles import cycle_rows, with_room
from spdsim.render.kinds import block, legend
from spdsim.render.look import Look
from spdsim.render.window import CycleStarts, default_cycles
from spdsim.trace import Trace, worker_labels

Mode = Literal["time", "cycles"]
Row = tuple[str, Text]

_MIN_CELLS = 20


def timeline(
    trace: Trace,
    *,
    width: int,
    start_s: float | None = None,
    end_s: float | None = None,
    sequence: int = 0,
    mode: Mode = "time",
    colour: bool = True,
    unicode: bool = True,
) -> Group:
    """Draw one sequence of `trace` in `width` columns, from `start_s` to `end_s` on the trace's clock.

    Without a window: from shortly before the first rejection until after the refill. Without `colour`, letters
    stand for colours; without `unicode`, every character is ASCII.
    Raises InputError if there is no such sequence or the window shows nothing of it, and TraceError for a trace of
    several sequences in flight together.
    """
    check_alone(trace.header)
    starts = CycleStarts.of(trace, sequence)
    look = Look(colour, unicode)
    labels = worker_labels(worker.role for worker in trace.header.workers)
    gutter = max(len("rejected"), *map(len, labels)) + 1
    num_cells = max(width - gutter, _MIN_CELLS)
    window = _window(trace, sequence, starts, num_cells, start_s, end_s)
    scale = Scale(*window, num_cells)
    if mode == "cycles":
        scale = with_room(trace, sequence, starts, scale)
    draw = cycle_rows if mode == "cycles" else _time_rows
    rows, kinds = draw(trace, sequence, starts, scale, look)
    has_rejections = any(label == "rejected" and row.plain for label, row in rows)
    return Group(
        Text(_title(starts, scale, sequence), look.style("bold"), no_wrap=True, overflow="ellipsis"),
        *(_line(label, row, gutter, look) for label, row in rows),
        Text(),
        legend(kinds, width, look, has_rejections=has_rejections),
    )


def _window(
    trace: Trace, sequence: int, starts: CycleStarts, num_cells: int, start_s: float | None, end_s: float | None
) -> tuple[float, float]:
    """Return the window that was asked for, cut to the sequence; what was left open is chosen."""
    first_s, last_s = (starts.at(cycle) for cycle in default_cycles(trace, sequence, num_cells))
    earliest_s, latest_s = starts.times_s[0], starts.times_s[-1]
    # One end alone keeps the usual length.
    begin_s, stop_s = start_s, end_s
    if begin_s is None:
        begin_s = first_s if stop_s is None else min(stop_s, latest_s) - (last_s - first_s)
    if stop_s is None:
        stop_s = last_s if start_s is None else start_s + (last_s - first_s)
    begin_s, stop_s = max(begin_s, earliest_s), min(stop_s, latest_s)
    if begin_s >= stop_s:
        limits = f"{_ms(earliest_s)} to {_ms(latest_s)}"
        raise InputError(f"window from {_ms(begin_s)} to {_ms(stop_s)} is empty: sequence {sequence} is {limits}")
    return begin_s, stop_s


def _line(label: str, row: Text, gutter: int, look: Look) -> Text:
    line = Text.assemble((label.ljust(gutter), look.style("bold")), row, no_wrap=True, overflow="crop")
    line.rstrip()
    return line


def _title(starts: CycleStarts, scale: Scale, sequence: int) -> str:
    last = starts.cycle_at(scale.end_s) - 1
    first = min(starts.cycle_at(scale.start_s), last)
    return f"Sequence {sequence}, cycles {first} to {last} of {starts.last}, {_ms(scale.start_s)} to {_ms(scale.end_s)}"


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.4g} ms"


def _time_rows(
    trace: Trace, sequence: int, starts: CycleStarts, scale: Scale, look: Look
) -> tuple[list[Row], set[int]]:
    """Return the labelled rows of a timeline by time, and the kinds that they show."""
    rows = [
        ("cycle", cycle_axis(starts, scale, look)),
        ("rejected", rejection_axis(trace, sequence, scale, look)),
    ]
    work, kinds = Work.of(trace, sequence), set[int]()
    for worker, label in enumerate(worker_labels(worker.role for worker in trace.header.workers)):
        mine = runs(work, worker, scale.start_s, scale.end_s, scale.num_cells)
        kinds.update(run.kind for run in mine)
        rows.append((label, Text.assemble(*(block(run.kind, run.position, run.width, look) for run in mine))))
    return [*rows, time_axis(scale, look)], kinds
