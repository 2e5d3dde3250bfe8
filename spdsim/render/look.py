"""What the terminal can show, and how numbers and bars look on it.

Units people read (ms, µs, %) are made here, from seconds and fractions.
"""

from dataclasses import dataclass
from math import floor, isfinite, log10

from rich.console import Console
from rich.text import Text


@dataclass(frozen=True, slots=True)
class Look:
    """What the terminal can show: colours, and characters beyond ASCII."""

    colour: bool = True
    unicode: bool = True

    @classmethod
    def of(cls, console: Console) -> "Look":
        """Return what `console` can show; NO_COLOR and what is not a terminal have no colours."""
        colour = console.color_system is not None and not console.no_color
        return cls(colour, console.encoding.lower().startswith("utf"))

    def style(self, style: str) -> str:
        """Return `style`, or none where there are no colours."""
        return style if self.colour else ""

    @property
    def mark(self) -> str:
        """The character above the time of a rejection."""
        return "▼" if self.unicode else "!"

    @property
    def tick(self) -> str:
        """The character at a round time of an axis."""
        return "│" if self.unicode else "|"

    @property
    def none(self) -> str:
        """What stands for a figure that does not exist."""
        return "—" if self.unicode else "-"

    @property
    def times(self) -> str:
        """The sign of a factor."""
        return "×" if self.unicode else "x"  # noqa: RUF001 the sign, not the letter

    @property
    def shades(self) -> tuple[str, str, str]:
        """Characters of bars: full, hatched, empty; they differ without colour."""
        return ("█", "▒", "·") if self.unicode else ("#", "x", ".")

    def factor(self, value: float | None) -> str:
        """Return a speedup with three digits and the sign of a factor behind them."""
        return self.none if value is None else significant(value) + self.times

    def number(self, value: float | None) -> str:
        """Return a figure with three significant digits."""
        return self.none if value is None else significant(value)

    def time(self, *values_s: float | None, like_s: float | None = None) -> str:
        """Return times in one unit, that of `like_s` or the first: "10.6 to 11.1 ms"; none where one does not exist."""
        known = [value for value in values_s if value is not None]
        if len(known) < len(values_s):
            return self.none
        unit, factor = next(
            (u, f) for u, f, least_s in _UNITS if abs(known[0] if like_s is None else like_s) >= least_s
        )
        unit = unit if self.unicode else unit.replace("µ", "u")
        return f"{' to '.join(significant(value * factor) for value in known)} {unit}"

    def key(self, *entries: tuple[str, str, str]) -> Text:
        """Return one line that says what each (character, style, meaning) stands for."""
        samples = (Text.assemble((shade, self.style(style)), f" {name}") for shade, style, name in entries)
        return Text("  ").join(samples)

    def bar(self, parts: tuple[float, ...], styles: tuple[str, ...], shades: str, width: int) -> Text:
        """Return a bar of at most `width` cells whose parts (fractions of `width`) begin where the last ended."""
        text, end, total = Text(), 0, 0.0
        for part, style, shade in zip(parts, styles, shades, strict=True):
            total += part
            stop = min(width, max(end, round(total * width)))
            text.append(shade * (stop - end), self.style(style))
            end = stop
        return text


_UNITS = (("s", 1.0, 1.0), ("ms", 1e3, 0.9995e-3), ("µs", 1e6, 0.0))
"""A unit, how many of it a second has, and the least time in seconds that is told in it."""


def significant(value: float, digits: int = 3) -> str:
    """Return `value` with so many significant digits, never as a power of ten: "0.0123", "2.40", "1,230"."""
    if not value or not isfinite(value):
        return "0" if value == 0 else str(value)
    rounded = float(f"{value:.{digits - 1}e}")
    decimals = digits - 1 - floor(log10(abs(rounded)) + 1e-12)
    return f"{rounded:,.{max(decimals, 0)}f}"


def percent(fraction: float) -> str:
    """Return a share in per cent, without the sign; what is not quite nothing is "<1"."""
    return "<1" if 0 < fraction < 0.01 else f"{fraction * 100:.0f}"
