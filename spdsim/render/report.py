"""A report for people: the answer first, then what limits it, then what the numbers rest on.

Fits 80 columns; nothing is told by colour alone.
"""

from collections.abc import Iterator, Sequence

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from spdsim.analysis.report import Report
from spdsim.machine import Origin
from spdsim.render.answer import baselines, facts, headline
from spdsim.render.look import Look
from spdsim.render.losses import sensitivities, waterfall
from spdsim.render.trim import Trimmed
from spdsim.render.workers import workers

_KINDS = ("measured", "published", "datasheet", "assumed")
"""Kinds of origins, the firmest first."""


def print_report(
    report: Report,
    console: Console,
    *,
    title: str,
    scenario_lines: Sequence[str] = (),
    origins: Sequence[Origin] = (),
    warnings: Sequence[str] = (),
    timeline: RenderableType | None = None,
) -> None:
    """Print `report` on `console`.

    scenario_lines: what was simulated, a line each. origins: where its numbers come from.
    warnings: what may be wrong with it. timeline: a picture of the run, already drawn.
    """
    look = Look.of(console)
    width = min(console.width, 120)
    top: list[RenderableType] = [
        Text(title, look.style("bold")),
        *(Text(line, look.style("dim")) for line in scenario_lines),
        headline(report, look),
        *(Text.assemble(("Warning: ", look.style("bold yellow")), warning) for warning in warnings),
    ]
    for part in (*top, *_parts(report, origins, timeline, width, look)):
        console.print(Trimmed(part))


def _parts(
    report: Report, origins: Sequence[Origin], timeline: RenderableType | None, width: int, look: Look
) -> Iterator[RenderableType]:
    if report.baselines:
        yield baselines(report, look)
        yield ""
    yield facts(report, look)
    if report.waterfall:
        yield from _heading("Where the speedup goes", look)
        yield waterfall(report, width, look)
    if report.sensitivities:
        yield from _heading("What would change it", look)
        yield sensitivities(report, look)
    if report.workers:
        yield from _heading("How the workers spend their time", look)
        yield workers(report, width, look)
    if timeline is not None:
        yield ""
        yield timeline
    if origins:
        yield from _heading(f"What the numbers rest on: {tally(origins)}", look)
        yield origins_table(origins, look)


def _heading(text: str, look: Look) -> Iterator[RenderableType]:
    yield ""
    yield Text(text, look.style("bold"))


def origins_table(origins: Sequence[Origin], look: Look) -> Table:
    """Return a line for each source: its kind, what comes from it, and the source in words."""
    by_source: dict[tuple[str, str], list[str]] = {}
    for origin in sorted(origins, key=lambda origin: _KINDS.index(origin.kind)):
        by_source.setdefault((origin.kind, origin.source), []).append(origin.what)
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold", ratio=2)
    table.add_column(overflow="fold", ratio=3, style=look.style("dim"))
    for (kind, source), what in by_source.items():
        table.add_row(kind, _together(what), source)
    return table


def _together(what: Sequence[str]) -> str:
    """Join names such as "gpu (x) a" and "gpu (x) b", the part they share once: "gpu (x) a, b"."""
    by_place: dict[str, list[str]] = {}
    for name in what:
        place, _, key = name.rpartition(" ") if name[-1:] != ")" else (name, "", "")
        by_place.setdefault(place, []).append(key)
    return ", ".join(f"{place} {', '.join(keys)}".strip() for place, keys in by_place.items())


def tally(origins: Sequence[Origin]) -> str:
    """Count the figures of each kind: "7 published, 2 datasheet, 12 assumed"."""
    counts = [(kind, sum(origin.kind == kind for origin in origins)) for kind in _KINDS]
    return ", ".join(f"{count} {kind}" for kind, count in counts if count)
