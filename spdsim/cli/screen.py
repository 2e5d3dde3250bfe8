"""The drawing of a timeline, on stdout and as a picture."""

from pathlib import Path
from typing import TYPE_CHECKING

from spdsim.cli.window import Window

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from spdsim.trace import Trace

SVG_COLUMNS = 120
"""The width of a picture unless it is asked for: a file must not depend on the terminal."""


def new_console(width: int | None = None) -> "Console":
    """Return the console of stdout: coloured on a terminal without NO_COLOR, as wide as COLUMNS says."""
    from rich.console import Console

    return Console(highlight=False, width=width)


def print_timeline(console: "Console", trace: "Trace", window: Window) -> None:
    """Draw the window of `trace`. Raises InputError if the trace has no such part."""
    from spdsim.render.look import Look

    look = Look.of(console)
    console.print(_drawing(trace, window, console.width, colour=look.colour, unicode=look.unicode))


def write_svg(path: Path, trace: "Trace", window: Window, width: int = SVG_COLUMNS) -> None:
    """Write the same drawing to `path` as a picture. Raises InputError if it cannot be drawn or written."""
    from spdsim.render.svg import save_svg

    save_svg([_drawing(trace, window, width, colour=True, unicode=True)], path, width=width)


def _drawing(trace: "Trace", window: Window, width: int, *, colour: bool, unicode: bool) -> "RenderableType":
    from spdsim.render.timeline import timeline

    start_s, end_s = window.seconds(trace)
    return timeline(
        trace, width=width, start_s=start_s, end_s=end_s, sequence=window.sequence, mode=window.view,
        colour=colour, unicode=unicode,
    )  # fmt: skip
