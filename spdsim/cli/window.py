"""The part of a trace that a timeline shows, from the options to seconds."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from spdsim.cli.options import View

if TYPE_CHECKING:
    from spdsim.render.window import Moment
    from spdsim.trace import Trace


@dataclass(frozen=True, slots=True)
class Window:
    """Which sequence to draw, how, and between which moments; None leaves the choice to the drawing."""

    view: View
    sequence: int
    start: "Moment | None"
    stop: "Moment | None"

    @classmethod
    def parse(cls, view: View, sequence: int, start: str | None, stop: str | None) -> "Window":
        """Read the options. Raises InputError on a moment that is none."""
        from spdsim.render.window import parse_window

        options = {"--from": start, "--to": stop}
        moments = (None if text is None else parse_window(text, option) for option, text in options.items())
        return cls(view, sequence, *moments)

    def seconds(self, trace: "Trace") -> tuple[float | None, float | None]:
        """Return both ends in seconds on the clock of `trace`. Raises InputError if it has no such cycle."""
        from spdsim.render.window import moment_s

        start_s = None if self.start is None else moment_s(trace, self.start, self.sequence)
        stop_s = None if self.stop is None else moment_s(trace, self.stop, self.sequence, is_end=True)
        return start_s, stop_s
