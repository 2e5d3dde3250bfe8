"""A comparison for people: the grade, the figures, where the error comes from, both runs below each other.

Fits 80 columns; nothing is told by colour alone.
"""

from collections.abc import Iterator

from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from spdsim.comparison import Comparison
from spdsim.comparison.report import LIMITS
from spdsim.render.blocks import bullets, heading
from spdsim.render.comparison_sheets import (
    culprit_line,
    figure_sheet,
    part_sheet,
    share_sheet,
    signed,
    verdict_line,
)
from spdsim.render.look import Look
from spdsim.render.sheet import terminal_section
from spdsim.render.timeline import timeline
from spdsim.render.trim import Trimmed
from spdsim.render.window import CycleStarts, default_cycles
from spdsim.trace import Trace

GRADE_STYLES = {"A": "bold green", "B": "bold green", "C": "bold yellow"}
_GUTTER = 9
_MOST_COLUMNS = 120


def print_comparison(
    comparison: Comparison,
    measured: Trace,
    predicted: Trace,
    console: Console,
    *,
    names: tuple[str, str] = ("the measured trace", "the predicted trace"),
    sequence: int = 0,
) -> None:
    """Print `comparison` of the two traces on `console`.

    names: what the two are called, their files, say. sequence: the one that the timelines show, if both have it.
    """
    look = Look.of(console)
    width = min(console.width, _MOST_COLUMNS)
    for part in _parts(comparison, names, look):
        console.print(Trimmed(part))
    for name, drawing in timelines(measured, predicted, sequence, width, look):
        for line in (*heading(name, look), drawing):
            console.print(Trimmed(line))
    if comparison.notes:
        for part in (*heading("What else to know", look), *bullets(comparison.notes)):
            console.print(Trimmed(part))


def title(names: tuple[str, str]) -> str:
    """Return what is held against what."""
    return f"{names[1]}, predicted, against {names[0]}, measured"


def grade_steps() -> str:
    """Return what the grades mean, in a line."""
    return ", ".join(f"{letter} {100 * most:g} %" for most, letter in LIMITS) + ", else F"


def errors(comparison: Comparison) -> tuple[tuple[str, float, str], ...]:
    """Return name, error and direction of the two errors that are graded."""
    both = (("mean cycle", comparison.cycle_error), ("time per token", comparison.time_per_token_error))
    return tuple((name, error, _direction(error)) for name, error in both)


def timelines(
    measured: Trace, predicted: Trace, sequence: int, width: int, look: Look
) -> Iterator[tuple[str, RenderableType]]:
    """Yield heading and drawing of both traces in windows of the same length, so that a cell is as long in both.

    The measured one's is around a rejection; the predicted one's begins in the same cycle, as far as it goes.
    Nothing where a trace has no such sequence, or one that takes no time.
    """
    if sequence >= min(measured.num_sequences, predicted.num_sequences):
        return
    starts = [CycleStarts.of(trace, sequence) for trace in (measured, predicted)]
    first, last = default_cycles(measured, sequence, width - _GUTTER)
    window_s = starts[0].at(last) - starts[0].at(first)
    length_s = min(window_s, *(start.times_s[-1] - start.times_s[0] for start in starts))
    if length_s <= 0.0:
        return
    for name, trace, start in zip(
        ("Measured", "Predicted, on the same scale"), (measured, predicted), starts, strict=True
    ):
        begin_s = max(min(start.at(first), start.times_s[-1] - length_s), start.times_s[0])
        yield name, timeline(
            trace, width=width, start_s=begin_s, end_s=begin_s + length_s, sequence=sequence,
            colour=look.colour, unicode=look.unicode,
        )  # fmt: skip


def _parts(comparison: Comparison, names: tuple[str, str], look: Look) -> Iterator[RenderableType]:
    yield Text(title(names), look.style("bold"))
    yield _headline(comparison, look)
    for sheet in (figure_sheet(comparison, look), part_sheet(comparison, look), share_sheet(comparison, look)):
        yield from terminal_section(sheet, look)


def _headline(comparison: Comparison, look: Look) -> Panel:
    grade = Text.assemble(
        (f"Grade {comparison.grade}", look.style(GRADE_STYLES.get(comparison.grade, "bold red"))),
        (f"  {grade_steps()}", look.style("dim")),
    )
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(no_wrap=True)
    for name, error, direction in errors(comparison):
        table.add_row(name, Text(signed(error), look.style("bold")), direction)
    return Panel.fit(
        Group(grade, table, Text(verdict_line(comparison)), Text(culprit_line(comparison, look))), padding=(0, 1)
    )


def _direction(error: float) -> str:
    return "" if signed(error) == signed(0.0) else "predicted too long" if error > 0 else "predicted too short"
