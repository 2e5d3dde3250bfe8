"""Methods compared, for people: best first, what it means, where the answer changes, what cannot be had and why."""

from collections.abc import Iterator

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from spdsim.analysis.report import Estimate
from spdsim.choice.compare import Ranking, Row
from spdsim.choice.crossover import Crossover
from spdsim.machine import Origin
from spdsim.render.look import Look, significant
from spdsim.render.report import origins_table, tally
from spdsim.render.trim import Trimmed
from spdsim.scenario.memory import show_bytes

_SPD, _PLAIN, _OTHER = "#3f83cc", "#566b80", "#33966a"
_BAR_CELLS = 24
_NARROW = 100
"""Columns below which the bars are left out."""


def print_ranking(
    ranking: Ranking, changes: tuple[Crossover, ...], console: Console, *, title: str, lines: tuple[str, ...]
) -> None:
    """Print the comparison on `console`. lines: the devices and the work, a line each."""
    look, width = Look.of(console), min(console.width, 120)
    for part in _parts(ranking, changes, width, look, title, lines):
        console.print(Trimmed(part))


def _parts(
    ranking: Ranking, changes: tuple[Crossover, ...], width: int, look: Look, title: str, lines: tuple[str, ...]
) -> Iterator[RenderableType]:
    yield Text(title, look.style("bold"))
    yield from (Text(line, look.style("dim")) for line in lines)
    yield ""
    if ranking.rows:
        yield Text(verdict(ranking, look), look.style("bold"))
        yield ""
        yield _table(ranking, width, look)
        yield look.key((look.shades[0], _SPD, "SPD"), (look.shades[1], _OTHER, "other drafts"),
                       (look.shades[2], _PLAIN, "plain"))  # fmt: skip
        yield Text("each: tokens per second for each device in use", look.style("dim"))
        yield from _heading("How each is set up", look)
        yield _setups(ranking, look)
    if changes:
        yield from _heading("Where the answer changes", look)
        yield from (Text(sentence(change, look)) for change in changes)
    if ranking.missing:
        yield from _heading("What cannot be had here", look)
        yield _missing(ranking, look)
    if warnings := list(dict.fromkeys(text for row in ranking.rows for text in row.warnings)):
        yield ""
        yield from (Text.assemble(("Warning: ", look.style("bold yellow")), text) for text in warnings)
    if origins := _origins(ranking):
        yield from _heading(f"What the numbers rest on: {tally(origins)}", look)
        yield origins_table(origins, look)


def verdict(ranking: Ranking, look: Look) -> str:
    """Return one sentence: which method is fastest, by how much over which."""
    best, *others = ranking.rows
    said = f"Fastest here: {best.method.title}, {look.number(best.figures.tokens_per_s.mean)} tokens per second"
    if best.speedup is not None and not best.method.is_plain:
        assert ranking.plain is not None
        said += f", {look.factor(best.speedup.mean)} over the best plain method ({ranking.plain.key})"
    if others and not _are_apart(best.figures.time_per_token_s, others[0].figures.time_per_token_s):
        return f"{said}; {others[0].method.title} is as fast within the intervals."
    return f"{said}."


def _are_apart(first: Estimate, second: Estimate) -> bool:
    return first.high is None or second.low is None or first.high < second.low


def _table(ranking: Ranking, width: int, look: Look) -> Table:
    table = Table(box=None, pad_edge=False, header_style=look.style("dim"))
    table.add_column("method", no_wrap=True)
    table.add_column("tokens/s", justify="right", no_wrap=True)
    if width >= _NARROW:
        table.add_column("", no_wrap=True, width=_BAR_CELLS)
    table.add_column("time per token", justify="right", no_wrap=True)
    table.add_column("speedup", justify="right", no_wrap=True)
    table.add_column("devices", justify="right", no_wrap=True)
    table.add_column("each", justify="right", no_wrap=True)
    top = max(row.figures.tokens_per_s.mean for row in ranking.rows)
    for row in ranking.rows:
        table.add_row(*_cells(row, top, width, look))
    return table


def _cells(row: Row, top: float, width: int, look: Look) -> Iterator[Text | str]:
    method, figures = row.method, row.figures
    is_spd = method.key.startswith("spd")
    style = _SPD if is_spd else _PLAIN if method.is_plain else _OTHER
    shade = look.shades[0 if is_spd else 2 if method.is_plain else 1]
    yield Text(method.key, look.style("bold") if is_spd else "")
    yield significant(figures.tokens_per_s.mean)
    if width >= _NARROW:
        yield look.bar((figures.tokens_per_s.mean / top,), (style,), shade, _BAR_CELLS)
    yield _with_half(figures.time_per_token_s, look)
    yield look.factor(None if row.speedup is None else row.speedup.mean)
    yield str(method.num_devices)
    yield significant(row.tokens_per_s_per_device)


def _setups(ranking: Ranking, look: Look) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold", style=look.style("dim"))
    for row in ranking.rows:
        table.add_row(row.method.key, f"{row.method.title}; at most {show_bytes(row.method.device_bytes)} on a device")
    return table


def _with_half(time_s: Estimate, look: Look) -> str:
    if time_s.high is None or time_s.high - time_s.mean < 0.0005 * time_s.mean:
        return look.time(time_s.mean)
    sign = "±" if look.unicode else "+-"
    return f"{look.time(time_s.mean)} {sign}{significant((time_s.high - time_s.mean) / time_s.mean * 100, 1)} %"


def sentence(change: Crossover, look: Look) -> str:
    """Return one sentence on where two methods change places."""
    spd, other = change.spd, change.other
    match change.quantity:
        case "acceptance":
            if change.value is None:
                every = "at every acceptance" if change.winner == spd else "even with every draft accepted"
                loser = other if change.winner == spd else spd
                return f"Acceptance: {change.winner} is faster than {loser} {every}."
            now = "" if change.now is None else f"; the scenario has {significant(change.now)}"
            return f"Acceptance: {spd} overtakes {other} from {significant(change.value)} on{now}."
        case "link_latency":
            if change.value is None:
                every = "up to 100 ms" if change.winner == spd else "even on links without any"
                loser = other if change.winner == spd else spd
                return f"Link latency: {change.winner} is faster than {loser} {every}."
            now = "" if change.now is None else f"; the scenario has {look.time(change.now)}"
            return f"Link latency: {spd} falls behind {other} from {look.time(change.value)} on{now}."


def _missing(ranking: Ranking, look: Look) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold", style=look.style("dim"))
    by_reason: dict[str, list[str]] = {}
    for each in ranking.missing:
        by_reason.setdefault(each.reason, []).append(each.key)
    for reason, keys in by_reason.items():
        table.add_row("\n".join(keys), reason)
    return table


def _origins(ranking: Ranking) -> list[Origin]:
    found = [origin for row in ranking.rows for origin in (*row.method.machine.origins, *row.method.origins)]
    return list(dict.fromkeys(found))


def _heading(text: str, look: Look) -> Iterator[RenderableType]:
    yield ""
    yield Text(text, look.style("bold"))
