"""A sweep for people: the best point, a picture of the metric, the points, and why some have no figures."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console, RenderableType
from rich.text import Text

from spdsim.analysis.report import Estimate
from spdsim.evaluation import Evaluation
from spdsim.render.blocks import bullets, heading
from spdsim.render.look import Look, significant
from spdsim.render.sheet import Sheet, terminal_section
from spdsim.render.sweep_curve import Dot, curve
from spdsim.render.sweep_map import heat_map, map_key
from spdsim.render.trim import Trimmed
from spdsim.scenario.source import show
from spdsim.sweeping import Metric, Point, Sweep
from spdsim.sweeping.result import metric_of
from spdsim.sweeping.vary import Span, Varied

MOST_ROWS, BEST_ROWS, MOST_PANELS, MOST_VALUES = 20, 10, 6, 8

NAMES: Mapping[Metric, str] = {
    "time_per_token": "time per token", "tokens_per_s": "tokens/s", "speedup": "speedup",
    "time_to_first_token": "time to first token", "tokens_per_cycle": "tokens per cycle",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Scale:
    """In what a metric is told: its unit, "" for none, and how many of them one of its own is."""

    unit: str
    factor: float

    def text(self, value: float) -> str:
        """Return a value in the unit, without it."""
        return significant(value * self.factor)


def scale_of(found: Sweep, *, unicode: bool = True) -> Scale:
    """Return one unit for the metric of all points, that of the largest."""
    if found.metric not in ("time_per_token", "time_to_first_token"):
        return Scale("x" if found.metric == "speedup" else "", 1.0)
    largest = max((figure.mean for point in found.ranked() if (figure := metric_of(point, found.metric))), default=1.0)
    micro = "µs" if unicode else "us"
    return Scale("s", 1.0) if largest >= 1.0 else Scale("ms", 1e3) if largest >= 1e-3 else Scale(micro, 1e6)


def print_sweep(found: Sweep, console: Console, *, all_points: str | None = None) -> None:
    """Print `found` on `console`. all_points: the file that holds every point, if one does."""
    look = Look.of(console)
    for part in _parts(found, min(console.width, 120), look, all_points):
        console.print(Trimmed(part))


def _parts(found: Sweep, width: int, look: Look, all_points: str | None) -> Iterator[RenderableType]:
    name = found.spec.base.data.get("name", "scenario")
    num_points = len(found.points)
    way = "" if found.spec.choice is None else ", taken at random"
    yield Text(f"{name}: {num_points} point{'s' * (num_points != 1)}{way}", look.style("bold"))
    for varied in found.spec.varied:
        yield Text(f"{varied.key}: {_values(varied, look)}", look.style("dim"))
    best = found.ranked()
    if best:
        yield ""
        yield _headline(found, best[0], look)
    yield from _pictures(found, width, look)
    yield from _table(found, best, width, look, all_points)
    yield from _failures(found, look)
    yield from _warnings(found, look)


def _values(varied: Varied, look: Look) -> str:
    if isinstance(varied.values, Span):
        return f"{significant(varied.values.low)} to {significant(varied.values.high)}"
    if isinstance(varied.values, range):
        first, last = varied.values[0], varied.values[-1]
        return f"{first} to {last}" if last - first > 1 else ", ".join(map(str, varied.values))
    shown = [show(value).strip('"') for value in varied.values]
    return ", ".join(shown if len(shown) <= MOST_VALUES else [*shown[:3], "…" if look.unicode else "...", shown[-1]])


def _headline(found: Sweep, best: Point, look: Look) -> Text:
    where = ", ".join(f"{key} = {_cell(value)}" for key, value in zip(found.keys, best.values, strict=True))
    evaluation = best.evaluation
    assert evaluation is not None
    return Text.assemble(
        (f"Best {NAMES[found.metric]}: ", look.style("bold")), (where, look.style("bold green")),
        f": {look.time(evaluation.time_per_token_s.mean)} a token, "
        f"{look.number(evaluation.tokens_per_s.mean)} tokens/s, "
        f"speedup {look.factor(None if evaluation.speedup is None else evaluation.speedup.mean)}",
    )  # fmt: skip


def _pictures(found: Sweep, width: int, look: Look) -> Iterator[RenderableType]:
    """A curve of one number, a heat map of two keys, maps side by side for three; else nothing."""
    varied, scale = found.spec.varied, scale_of(found, unicode=look.unicode)
    unit = {"x": " over plain decoding", "": ""}.get(scale.unit, f", {scale.unit}")
    title = f"{NAMES[found.metric]}{unit}"
    if len(varied) == 1 and varied[0].is_numeric:
        dots = [dot for point in found.points if (dot := _dot(found, point, scale)) is not None]
        if len(dots) > 2:
            yield from heading(f"{title[0].upper()}{title[1:]}", look)
            yield curve(dots, width=width, look=look, x_name=varied[0].key)
    elif len(varied) in (2, 3) and found.spec.choice is None:
        panels = _panels(found)
        if len(panels) <= MOST_PANELS:
            maps = [(name, drawn) for name, points, keys in panels
                    if (drawn := _map(found, points, keys, width, look, scale)) is not None]  # fmt: skip
            for name, drawn in maps:
                yield from heading(f"{title[0].upper()}{title[1:]}{name}", look)
                yield drawn
            if maps:
                yield map_key(look)


def _panels(found: Sweep) -> list[tuple[str, list[Point], tuple[int, int]]]:
    """The maps: the end of its title, its points and the numbers of its two keys.

    With three keys there is one for each value of the key that has the fewest.
    """
    if len(found.keys) == 2:
        return [("", list(found.points), (0, 1))]
    counts = [len({_cell(point.values[key]) for point in found.points}) for key in range(3)]
    apart = counts.index(min(counts))
    first, second = (key for key in range(3) if key != apart)
    panels: dict[str, list[Point]] = {}
    for point in found.points:
        panels.setdefault(f"; {found.keys[apart]} = {_cell(point.values[apart])}", []).append(point)
    return [(name, points, (first, second)) for name, points in panels.items()]


def _map(
    found: Sweep, points: Sequence[Point], keys: tuple[int, int], width: int, look: Look, scale: Scale
) -> RenderableType | None:
    def entries(key: int) -> list[str]:
        return list(dict.fromkeys(_cell(point.values[key]) for point in points))

    # The key with more values goes down.
    down, across = sorted(keys, key=lambda key: -len(entries(key)))
    values = {
        (_cell(point.values[down]), _cell(point.values[across])): figure.mean * scale.factor
        for point in points if (figure := metric_of(point, found.metric)) is not None
    }  # fmt: skip
    means = [figure.mean * scale.factor for point in found.ranked() if (figure := metric_of(point, found.metric))]
    return heat_map(
        values, (found.keys[down], entries(down)), (found.keys[across], entries(across)),
        width=width, look=look, ends=(means[-1], means[0]),
    )  # fmt: skip


def _dot(found: Sweep, point: Point, scale: Scale) -> Dot | None:
    figure = metric_of(point, found.metric)
    if figure is None:
        return None
    low, high = (figure.mean if end is None else end for end in (figure.low, figure.high))
    return Dot(float(point.values[0]), *(value * scale.factor for value in (figure.mean, low, high)))


def _table(
    found: Sweep, best: Sequence[Point], width: int, look: Look, all_points: str | None
) -> Iterator[RenderableType]:
    """The points that have figures, the best of them where they are many, with as many columns as there is room for."""
    known = [point for point in found.points if point.evaluation is not None]
    is_long = len(known) > MOST_ROWS
    shown = list(best[:BEST_ROWS]) if is_long else known
    if not shown:
        return
    note = ""
    if is_long:
        kept = f"all of them are in {all_points}" if all_points else "--csv FILE keeps all of them"
        note = f"The best {len(shown)} of {len(known)} points; {kept}."
    marked = next((index for index, point in enumerate(shown) if best and point is best[0]), None)
    sign = "►" if look.unicode else ">"
    columns: dict[str, list[str]] = {"": [sign if index == marked else "" for index in range(len(shown))]}
    for index, head in enumerate(_short(found.keys)):
        columns[head] = [_cell(point.values[index]) for point in shown]
    figures = [_figures(point.evaluation, look) for point in shown if point.evaluation is not None]
    columns |= {head: [row[head] for row in figures] for head in figures[0]}
    for head in _LAST:
        if _room(columns) > width:
            del columns[head]
    rows = tuple(zip(*columns.values(), strict=True))
    sheet = Sheet("Points", tuple(columns), rows, 1 + len(found.keys), marked, note)
    yield from terminal_section(sheet, look)


_LAST = ("first\ntoken", "tokens/\ncycle", "sequ-\nences", "tokens/s")
"""The columns that go where there is no room for them."""


def _room(columns: Mapping[str, Sequence[str]]) -> int:
    """Characters that a table with these columns takes."""
    widths = [max(map(len, (*head.split("\n"), *cells))) for head, cells in columns.items()]
    return sum(widths) + 2 * (len(widths) - 1)


def _figures(evaluation: Evaluation, look: Look) -> dict[str, str]:
    return {
        "time per\ntoken": look.time(evaluation.time_per_token_s.mean),
        "±%" if look.unicode else "+-%": _width(evaluation.time_per_token_s, look),
        "tokens/s": look.number(evaluation.tokens_per_s.mean),
        "speedup": look.factor(None if evaluation.speedup is None else evaluation.speedup.mean),
        "tokens/\ncycle": look.number(evaluation.tokens_per_cycle),
        "first\ntoken": look.time(evaluation.time_to_first_token_s.mean),
        "sequ-\nences": str(evaluation.num_sequences),
    }


def _width(estimate: Estimate, look: Look) -> str:
    """Half of the interval over the mean, in per cent."""
    if estimate.low is None or not estimate.mean:
        return look.none
    percent = 100.0 * (estimate.mean - estimate.low) / estimate.mean
    return significant(percent, 2) if percent >= 0.01 else "<0.01" if percent > 1e-9 else "0"


def _short(keys: Sequence[str]) -> list[str]:
    """The last word of each key, or all of it where two end alike, in lines that are not long."""
    words = [key.rpartition(".")[2] for key in keys]
    alone = [word if words.count(word) == 1 else key for key, word in zip(keys, words, strict=True)]
    return [
        word.replace(".", ".\n").replace("_", "_\n") if len(word) > _LONG_HEAD else word
        for word in alone
    ]  # fmt: skip


_LONG_HEAD = 10


def _cell(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else show(value).strip('"')


def _failures(found: Sweep, look: Look) -> Iterator[RenderableType]:
    """Each distinct reason, and how many points it has."""
    if not found.errors:
        return
    counts = {error: sum(point.error == error for point in found.points) for error in found.errors}
    failed = sum(counts.values())
    yield from heading(f"{failed} of {len(found.points)} points without figures", look)
    shown = list(counts.items())[:MOST_VALUES]
    yield from bullets(f"{error} ({count} point{'s' * (count != 1)})" for error, count in shown)
    if len(counts) > len(shown):
        yield Text(f"and {len(counts) - len(shown)} further reasons", look.style("dim"))


def _warnings(found: Sweep, look: Look) -> Iterator[RenderableType]:
    """Each distinct warning, and how many points it is for."""
    if not found.warnings:
        return
    yield from heading("Warnings", look)
    counts = {warning: sum(warning in point.warnings for point in found.points) for warning in found.warnings}
    yield from bullets(
        f"{warning} ({count} point{'s' * (count != 1)})" for warning, count in list(counts.items())[:MOST_VALUES]
    )
    if len(counts) > MOST_VALUES:
        yield Text(f"and {len(counts) - MOST_VALUES} more; --json FILE has all of them", look.style("dim"))
