"""A comparison as a file to hand on: Markdown, or a page that needs nothing else."""

import io
from collections.abc import Iterator

from rich.console import Console

from spdsim.comparison import Comparison
from spdsim.render.comparison import errors, grade_steps, print_comparison, timelines, title
from spdsim.render.comparison_sheets import (
    culprit_line,
    figure_sheet,
    part_sheet,
    share_sheet,
    signed,
    verdict_line,
)
from spdsim.render.look import Look
from spdsim.render.page import COLUMNS, page, page_console
from spdsim.render.sheet import escaped, markdown_section
from spdsim.trace import Trace


def comparison_html(comparison: Comparison, measured: Trace, predicted: Trace, names: tuple[str, str]) -> str:
    """Return a page in HTML that shows what the terminal would, in colour; it needs no other file."""
    console = page_console()
    print_comparison(comparison, measured, predicted, console, names=names)
    return page(console, title(names))


def comparison_markdown(comparison: Comparison, measured: Trace, predicted: Trace, names: tuple[str, str]) -> str:
    """Return the same in Markdown, the timelines with letters for colours."""
    lines = comparison_lines(comparison, measured, predicted, level=2)
    return "\n".join((f"# {escaped(title(names))}", "", *lines)) + "\n"


def comparison_lines(comparison: Comparison, measured: Trace, predicted: Trace, level: int) -> Iterator[str]:
    """Yield what follows the title, line by line, its headings of `level`."""
    look, mark = Look(colour=False), "#" * level
    yield f"**Grade {comparison.grade}** ({grade_steps()})"
    yield ""
    for name, error, direction in errors(comparison):
        yield f"- {name}: {signed(error)} {direction}".rstrip()
    yield f"- {verdict_line(comparison)}"
    yield f"- {culprit_line(comparison, look)}"
    for sheet in (figure_sheet(comparison, look), part_sheet(comparison, look), share_sheet(comparison, look)):
        yield from markdown_section(sheet, level)
    for name, drawing in timelines(measured, predicted, 0, COLUMNS, look):
        console = Console(width=COLUMNS, file=io.StringIO(), color_system=None, _environ={})
        with console.capture() as capture:
            console.print(drawing)
        yield ""
        yield f"{mark} {name}"
        yield ""
        yield "```text"
        yield from (line.rstrip() for line in capture.get().splitlines())
        yield "```"
    if comparison.notes:
        yield ""
        yield f"{mark} What else to know"
        yield ""
        yield from (f"- {note}" for note in comparison.notes)
