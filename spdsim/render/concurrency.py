"""Methods with several sequences in flight, for people: what it means, two tables, what cannot be had and why."""

from collections.abc import Callable, Iterator

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from spdsim.choice.concurrency import Cell, Concurrency, Turn
from spdsim.render.blocks import heading
from spdsim.render.look import Look, significant
from spdsim.render.trim import Trimmed
from spdsim.scenario.memory import show_bytes


def print_concurrency(found: Concurrency, console: Console, *, title: str, lines: tuple[str, ...]) -> None:
    """Print the comparison on `console`. lines: the devices and the work, a line each."""
    look, width = Look.of(console), console.width
    for part in _parts(found, width, look, title, lines):
        console.print(Trimmed(part))


def _parts(found: Concurrency, width: int, look: Look, title: str, lines: tuple[str, ...]) -> Iterator[RenderableType]:
    yield Text(title, look.style("bold"))
    yield from (Text(line, look.style("dim")) for line in lines)
    yield ""
    yield from (Text(sentence(turn, found.numbers), look.style("bold")) for turn in found.turns)
    yield from heading("Tokens per second of all sequences, by how many are in flight", look)
    yield from _tables(found, width, look, lambda cell: significant(cell.tokens_per_s.mean))
    yield from heading("Time per token of one sequence", look)
    yield from _tables(found, width, look, lambda cell: look.time(cell.time_per_token_s.mean))
    yield from heading("The fastest at each, and how it is set up", look)
    yield _setups(found, look)
    if found.missing:
        yield from heading("What cannot be had here", look)
        yield _missing(found, look)


def sentence(turn: Turn, numbers: tuple[int, ...]) -> str:
    """Return one sentence on how far SPD is ahead of other methods."""
    others = "plain decoding" if turn.rivals == "plain" else "other drafts"
    if turn.last is None:
        return f"SPD does not pay over {others} at {turn.first_lost} in flight: {turn.winner} is ahead."
    if turn.first_lost is None:
        return f"SPD pays over {others} at every number looked at, up to {numbers[-1]} in flight."
    return f"SPD pays over {others} up to {turn.last} in flight; at {turn.first_lost} {turn.winner} is ahead."


def _tables(found: Concurrency, width: int, look: Look, shown: Callable[[Cell], str]) -> Iterator[RenderableType]:
    """One table, or several one under another, so that no figure is cut off."""
    names = max(len("in flight"), *map(len, found.keys))
    cells = [
        len(shown(cell)) for key in found.keys for at in found.numbers if (cell := found.cell(key, at)) is not None
    ]
    room = max(1, (width - names) // (2 + max(cells, default=1)))
    for first in range(0, len(found.numbers), room):
        if first:
            yield ""
        yield _table(found, found.numbers[first : first + room], look, shown)


def _table(found: Concurrency, numbers: tuple[int, ...], look: Look, shown: Callable[[Cell], str]) -> Table:
    table = Table(box=None, pad_edge=False, header_style=look.style("dim"))
    table.add_column("in flight", no_wrap=True)
    for number in numbers:
        table.add_column(str(number), justify="right", no_wrap=True)
    best = {number: found.best(number) for number in numbers}
    for key in found.keys:
        cells = [found.cell(key, number) for number in numbers]
        if not any(cells):
            continue
        row: list[Text | str] = [Text(key, look.style("bold") if key.startswith("spd") else "")]
        for number, cell in zip(numbers, cells, strict=True):
            is_best = cell is not None and cell is best[number]
            row.append(Text("" if cell is None else shown(cell), look.style("bold") if is_best else ""))
        table.add_row(*row)
    return table


def _setups(found: Concurrency, look: Look) -> Table:
    table = _grid(look)
    for number in found.numbers:
        if (cell := found.best(number)) is not None:
            way = cell.arrangement
            table.add_row(str(number), f"{way.title}; at most {show_bytes(way.device_bytes)} on a device")
    return table


def _missing(found: Concurrency, look: Look) -> Table:
    """Each method once, with the numbers at which it cannot be had, and why at the first of them."""
    table = _grid(look)
    for key in found.keys:
        of_it = [(number, each.reason) for number, each in found.missing if each.key == key]
        if of_it:
            where = "" if len(of_it) == len(found.numbers) else f"at {', '.join(str(number) for number, _ in of_it)}: "
            table.add_row(key, where + of_it[0][1])
    return table


def _grid(look: Look) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold", style=look.style("dim"))
    return table
