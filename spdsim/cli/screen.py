"""What commands put on stdout, and the drawing of a timeline there and as a picture."""

import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console, RenderableType

from spdsim.cli.window import Window

if TYPE_CHECKING:
    from spdsim.trace import Trace

SVG_COLUMNS = 120
"""The width of a picture unless it is asked for: a file must not depend on the terminal."""


class Screen(Console):
    """The console of stdout: coloured on a terminal without NO_COLOR, as wide as COLUMNS says."""

    def __init__(self, width: int | None = None) -> None:
        super().__init__(highlight=False, width=width)

    def on_broken_pipe(self) -> None:
        """Go on in silence: whoever read (`head`, say) has had enough, but files are still to be written."""
        self.quiet = True
        discard_stdout()


def discard_stdout() -> None:
    """Let all that is still to be printed vanish, so that nothing complains about a reader that has gone."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def print_text(text: str) -> None:
    """Print `text` as it is; a reader that has gone is no error."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        discard_stdout()


def warn(texts: Iterable[str]) -> None:
    """Print a line on stderr for each warning."""
    for text in texts:
        print(f"spdsim: warning: {text}", file=sys.stderr)


def drawing(console: Console, trace: "Trace", window: Window) -> RenderableType:
    """Return the window of `trace`, drawn for `console`. Raises InputError if the trace has no such part."""
    from spdsim.render.look import Look

    look = Look.of(console)
    return _drawing(trace, window, console.width, colour=look.colour, unicode=look.unicode)


def write_svg(path: Path, trace: "Trace", window: Window, width: int = SVG_COLUMNS) -> None:
    """Write the same drawing to `path` as a picture. Raises InputError if it cannot be drawn or written."""
    from spdsim.render.svg import save_svg

    save_svg([_drawing(trace, window, width, colour=True, unicode=True)], path, width=width)


def _drawing(trace: "Trace", window: Window, width: int, *, colour: bool, unicode: bool) -> RenderableType:
    from spdsim.render.timeline import timeline

    start_s, end_s = window.seconds(trace)
    return timeline(
        trace, width=width, start_s=start_s, end_s=end_s, sequence=window.sequence, mode=window.view,
        colour=colour, unicode=unicode,
    )  # fmt: skip
