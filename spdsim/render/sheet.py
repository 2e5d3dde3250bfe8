"""Tables as text, cell by cell: the same for the terminal, for Markdown and for a page."""

from collections.abc import Iterator
from dataclasses import dataclass

from rich.console import RenderableType
from rich.text import Text

from spdsim.render.blocks import heading, plain_table
from spdsim.render.look import Look


@dataclass(frozen=True, slots=True)
class Sheet:
    """A table: its heads (a line break in one is a second line), its rows, and how many columns are set to the left.

    marked: the number of the row that stands out. note: what is to be said below.
    """

    title: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    num_left: int = 1
    marked: int | None = None
    note: str = ""


def terminal_section(sheet: Sheet, look: Look) -> Iterator[RenderableType]:
    """Yield the table for the terminal, with its title above it and its note below."""
    yield from heading(sheet.title, look)
    table = plain_table(look, sheet.heads, sheet.num_left)
    for number, row in enumerate(sheet.rows):
        table.add_row(*row, style=look.style("bold") if number == sheet.marked else None)
    yield table
    if sheet.note:
        yield Text(sheet.note, look.style("dim"))


def markdown_section(sheet: Sheet, level: int = 2) -> Iterator[str]:
    """Yield the same in Markdown, line by line, under a heading of `level`."""
    yield ""
    yield f"{'#' * level} {sheet.title}"
    yield ""
    yield from _markdown_table(sheet)
    if sheet.note:
        yield ""
        yield sheet.note


def _markdown_table(sheet: Sheet) -> Iterator[str]:
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
        yield _row([f"**{escaped(cell)}**" if number == sheet.marked and cell else escaped(cell) for cell in row])


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def escaped(text: str) -> str:
    """Return text that Markdown shows as it stands, also in a table."""
    return text.strip().replace("\\", "\\\\").replace("|", "\\|").replace("*", "\\*").replace("_", "\\_")
