"""A curve on a terminal: dots with their intervals, axes with round numbers."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, floor, log10

from rich.text import Text

from spdsim.render.axes import placed
from spdsim.render.look import Look

HEIGHT = 12
"""Rows, about: as many between each two ticks."""

MOST_COLUMNS = 72


@dataclass(frozen=True, slots=True)
class Dot:
    """A point of the curve, with the ends of its interval."""

    x: float
    mean: float
    low: float
    high: float


def curve(dots: Sequence[Dot], *, width: int, look: Look, x_name: str) -> Text:
    """Return the picture of `dots` (at least one), as wide as `width` allows; a line joins neighbours.

    Nothing is told by colour alone.
    """
    dots = sorted(dots, key=lambda dot: dot.x)
    ticks = round_ticks(min(dot.low for dot in dots), max(dot.high for dot in dots), 5)
    labels = [f"{tick:g}" for tick in ticks]
    margin = max(map(len, labels)) + 2
    columns = max(10, min(MOST_COLUMNS, width - margin - 2))
    height = max(1, round(HEIGHT / (len(ticks) - 1))) * (len(ticks) - 1) + 1
    canvas = _Canvas((height, columns), (ticks[0], ticks[-1]), (dots[0].x, dots[-1].x))
    canvas.draw(dots, look)
    tick_rows = {canvas.row(tick): label for tick, label in zip(ticks, labels, strict=True)}
    text = Text()
    for row, line in enumerate(canvas.rows):
        label = tick_rows.get(row)
        edge = ("┤" if look.unicode else "+") if label is not None else look.tick
        text.append(f"{(label or '').rjust(margin - 2)} {edge}", look.style("dim"))
        for character, style in line:
            text.append(character, look.style(style))
        text.append("\n")
    text.append(" " * (margin - 1) + ("└" if look.unicode else "+"), look.style("dim"))
    text.append(("─" if look.unicode else "-") * columns + "\n", look.style("dim"))
    text.append(" " * margin + _x_labels(dots, canvas) + "\n", look.style("dim"))
    text.append(" " * margin + x_name.center(columns).rstrip(), look.style("dim"))
    return text


def round_ticks(low: float, high: float, count: int) -> list[float]:
    """Return about `count` round numbers at even distances that enclose `low` to `high`."""
    span = high - low if high > low else abs(high) or 1.0
    # As far as an interval that is all rounding: no ticks closer than a ten-thousandth of the value.
    span = max(span, 1e-4 * max(abs(low), abs(high)))
    raw = span / (count - 1)
    size = 10.0 ** floor(log10(raw))
    step = next(size * factor for factor in (1.0, 2.0, 2.5, 5.0, 10.0) if size * factor >= raw * (1 - 1e-9))
    first, last = floor(low / step + 1e-9), ceil(high / step - 1e-9)
    last = max(last, first + 1)
    return [float(f"{number * step:.12g}") for number in range(first, last + 1)]


class _Canvas:
    """Characters with their styles, in rows from the top; a line has four rows and two columns in each."""

    def __init__(self, size: tuple[int, int], y_ends: tuple[float, float], x_ends: tuple[float, float]) -> None:
        self._height, self._width = size
        self.rows = [[(" ", "")] * self._width for _ in range(self._height)]
        self._y_ends, self._x_ends = y_ends, x_ends

    def row(self, value: float) -> int:
        """Return the row of a value."""
        return int(self._down(value))

    def column(self, x: float) -> int:
        """Return the column of an x, a little off the edges."""
        return int(self._along(x))

    def draw(self, dots: Sequence[Dot], look: Look) -> None:
        """Draw the dots, their intervals, and lines between neighbours."""
        line: dict[tuple[int, int], int] = {}
        for before, after in pairwise(dots):
            first, last = round(2 * self._along(before.x)), round(2 * self._along(after.x))
            for half in range(first, last + 1):
                part = (half - first) / max(last - first, 1)
                quarter = int(4 * self._down(before.mean + (after.mean - before.mean) * part))
                cell = (quarter // 4, half // 2)
                line[cell] = line.get(cell, 0) | _BRAILLE[quarter % 4][half % 2]
        for (row, column), bits in line.items():
            self._put(column, row, chr(0x2800 + bits) if look.unicode else ".", "dim")
        whisker, dot_sign = ("│", "●") if look.unicode else ("|", "o")
        for dot in dots:
            for row in range(self.row(dot.high), self.row(dot.low) + 1):
                self._put(self.column(dot.x), row, whisker, "cyan")
        for dot in dots:
            self._put(self.column(dot.x), self.row(dot.mean), dot_sign, "bold cyan")

    def _down(self, value: float) -> float:
        """Rows from the top, with fractions."""
        low, high = self._y_ends
        return (high - value) / (high - low) * (self._height - 1) + 0.5

    def _along(self, x: float) -> float:
        """Columns from the left, with fractions."""
        low, high = self._x_ends
        return 1.5 + (x - low) / ((high - low) or 1.0) * (self._width - 3)

    def _put(self, column: int, row: int, character: str, style: str) -> None:
        self.rows[row][column] = (character, style)


_BRAILLE = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""The bit of each of a cell's dots, by row and column (Unicode, block 2800)."""


def _x_labels(dots: Sequence[Dot], canvas: _Canvas) -> str:
    """The x of as many dots as there is room for, first and last among them, each below its dot."""
    names = [f"{dot.x:.3g}" for dot in dots]
    if len(set(names)) < len(names) or any("e" in name for name in names):
        names = [f"{dot.x:g}" for dot in dots]
    widest = max(map(len, names))
    num_columns = len(canvas.rows[0])
    step = next(
        step for step in range(1, len(dots) + 1)
        if step == len(dots) or canvas.column(dots[step].x) - canvas.column(dots[0].x) >= widest + 2
    )  # fmt: skip
    cells = [(canvas.column(dot.x), name) for dot, name in list(zip(dots, names, strict=True))[::step]]
    # Centred on the dot where there is room.
    return placed([(max(0, min(column - len(name) // 2, num_columns - len(name))), name) for column, name in cells],
                  num_columns)  # fmt: skip
