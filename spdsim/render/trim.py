"""Lines without blanks at their ends: tables pad, and what is pasted or compared should not."""

from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.segment import Segment


class Trimmed:
    """A renderable without the blanks that end its lines, save coloured ones."""

    def __init__(self, renderable: RenderableType) -> None:
        self.renderable = renderable

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for line in console.render_lines(self.renderable, options, pad=False):
            yield from _trimmed(line)
            yield Segment.line()


def _trimmed(line: Iterable[Segment]) -> list[Segment]:
    kept = list(line)
    while kept:
        text, style, _ = last = kept.pop()
        if style is not None and style.bgcolor is not None:
            return [*kept, last]
        if text.strip():
            return [*kept, Segment(text.rstrip(), style)]
    return []
