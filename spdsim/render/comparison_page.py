"""A comparison as a file to hand on: Markdown, or a page that needs nothing else."""

import html
import io
from collections.abc import Iterator

from rich.console import Console
from rich.terminal_theme import DEFAULT_TERMINAL_THEME

from spdsim.comparison import Comparison
from spdsim.render.comparison import errors, grade_steps, print_comparison, timelines, title
from spdsim.render.comparison_sheets import (
    Sheet,
    culprit_line,
    figure_sheet,
    part_sheet,
    share_sheet,
    signed,
    verdict_line,
)
from spdsim.render.look import Look
from spdsim.trace import Trace

_COLUMNS = 100

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="UTF-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ color: #1f2328; background: #ffffff; margin: 2em; }}
pre {{ font: 14px/1.25 Menlo, "DejaVu Sans Mono", Consolas, monospace; overflow-x: auto; }}
</style>
</head>
<body>
<pre>{code}</pre>
</body>
</html>
"""


def comparison_html(comparison: Comparison, measured: Trace, predicted: Trace, names: tuple[str, str]) -> str:
    """Return a page in HTML that shows what the terminal would, in colour; it needs no other file."""
    console = Console(
        record=True, width=_COLUMNS, file=io.StringIO(), force_terminal=True, color_system="truecolor",
        legacy_windows=False, no_color=False, highlight=False, _environ={},
    )  # fmt: skip
    print_comparison(comparison, measured, predicted, console, names=names)
    return page(console, title(names))


def page(console: Console, name: str) -> str:
    """Return what was printed on a console that records, as a page called `name`."""
    code = console.export_html(theme=DEFAULT_TERMINAL_THEME, code_format="{code}", inline_styles=True)
    return _PAGE.format(title=html.escape(name), code=code)


def comparison_markdown(comparison: Comparison, measured: Trace, predicted: Trace, names: tuple[str, str]) -> str:
    """Return the same in Markdown, the timelines with letters for colours."""
    return "\n".join(_markdown(comparison, measured, predicted, names)) + "\n"


def _markdown(comparison: Comparison, measured: Trace, predicted: Trace, names: tuple[str, str]) -> Iterator[str]:
    look = Look(colour=False)
    yield f"# {_escaped(title(names))}"
    yield ""
    yield f"**Grade {comparison.grade}** ({grade_steps()})"
    yield ""
    for name, error, direction in errors(comparison):
        yield f"- {name}: {signed(error)} {direction}".rstrip()
    yield f"- {verdict_line(comparison)}"
    yield f"- {culprit_line(comparison, look)}"
    for sheet in (figure_sheet(comparison, look), part_sheet(comparison, look), share_sheet(comparison, look)):
        yield ""
        yield f"## {sheet.title}"
        yield ""
        yield from _table(sheet)
        if sheet.note:
            yield ""
            yield sheet.note
    for name, drawing in timelines(measured, predicted, 0, _COLUMNS, look):
        console = Console(width=_COLUMNS, file=io.StringIO(), color_system=None, _environ={})
        with console.capture() as capture:
            console.print(drawing)
        yield ""
        yield f"## {name}"
        yield ""
        yield "```text"
        yield from (line.rstrip() for line in capture.get().splitlines())
        yield "```"
    if comparison.notes:
        yield ""
        yield "## What else to know"
        yield ""
        yield from (f"- {note}" for note in comparison.notes)


def _table(sheet: Sheet) -> Iterator[str]:
    part = ""
    heads = []
    for head in sheet.heads:
        # A first line of a head stands over the heads after it, as far as the next one's.
        before, _, last = head.rpartition("\n")
        part = before or part
        heads.append(f"{part} {last}" if part and last.endswith(".") else head.replace("\n", " "))
    yield _row(heads)
    yield _row([":--" if i < sheet.num_left else "--:" for i in range(len(heads))])
    for number, row in enumerate(sheet.rows):
        yield _row([f"**{_escaped(cell)}**" if number == sheet.marked and cell else _escaped(cell) for cell in row])


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _escaped(text: str) -> str:
    """Text as it stands, also in a table."""
    return text.strip().replace("\\", "\\\\").replace("|", "\\|").replace("*", "\\*").replace("_", "\\_")
