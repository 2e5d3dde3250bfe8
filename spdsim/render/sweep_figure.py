"""A sweep as a figure for a paper or a slide, SVG or PNG, by matplotlib.

One key along the axis, with the interval of each point; a second key as a line for each of its values.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from spdsim.errors import InputError
from spdsim.render.sweep import NAMES, Scale, scale_of
from spdsim.scenario.source import show
from spdsim.sweeping import Point, Spec, Sweep
from spdsim.sweeping.result import metric_of

_MOST_KEYS, _MOST_LINES = 2, 10


def check_figure(spec: Spec) -> None:
    """Raise InputError where no figure can be drawn: no matplotlib, or more keys than a figure can show."""
    try:
        import matplotlib  # noqa: F401  only whether it is there
    except ImportError:
        raise InputError("--plot needs matplotlib, which is not installed: pip install 'spdsim[plot]'") from None
    if len(spec.varied) > _MOST_KEYS:
        raise InputError(f"--plot is given and {len(spec.varied)} keys vary: must be one or two, or leave it out")


def write_figure(found: Sweep, path: Path, kind: str) -> None:
    """Draw the metric of `found` to `path`; kind: "svg" or "png". Same input, same bytes."""
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    scale = scale_of(found)
    with matplotlib.rc_context({"svg.hashsalt": "spdsim", "svg.fonttype": "none", "font.size": 11}):
        figure = Figure(figsize=(7.2, 4.5), layout="constrained")
        axes = figure.add_subplot()
        along, lines = _lines(found)
        places = _places(found, along)
        for name, points in lines:
            axes.errorbar(**_data(found, points, along, places, scale), fmt="o-", capsize=3, markersize=4, label=name)
        if isinstance(next(iter(places), 0.0), str):
            axes.set_xticks(list(places.values()), list(places))
        elif all(isinstance(point.values[along], int) for point in found.points):
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel(found.keys[along])
        unit = {"": "", "x": " over plain decoding (factor)"}.get(scale.unit, f" ({scale.unit})")
        axes.set_ylabel(NAMES[found.metric] + unit)
        axes.set_title(str(found.spec.base.data.get("name", "")))
        axes.grid(visible=True, alpha=0.3)
        if len(lines) > 1:
            axes.legend(title=found.keys[1 - along], fontsize="small")
        axes.text(1.0, 1.01, "bars: 95 % intervals", transform=axes.transAxes, ha="right", fontsize="x-small")
        figure.savefig(path, format=kind, dpi=150, metadata={"Date": None} if kind == "svg" else {"Software": None})


def _lines(found: Sweep) -> tuple[int, list[tuple[str, list[Point]]]]:
    """Which key is along the axis, and the points of each line, with the other key's value for a name."""
    known = [point for point in found.points if metric_of(point, found.metric) is not None]
    if len(found.keys) == 1:
        return 0, [(found.keys[0], known)]

    def values(key: int) -> list[str]:
        return list(dict.fromkeys(show(point.values[key]).strip('"') for point in known))

    def fitness(key: int) -> tuple[bool, int]:
        return found.spec.varied[key].is_numeric, len(values(key))

    along = max((0, 1), key=fitness)
    names = values(1 - along)
    # Where values are many, every so many of them makes a line.
    step = -(-len(names) // _MOST_LINES)
    return along, [
        (name, [point for point in known if show(point.values[1 - along]).strip('"') == name])
        for name in names[::step]
    ]  # fmt: skip


def _places(found: Sweep, along: int) -> dict[Any, float]:
    """Where each value is on the axis: numbers at themselves, names one after another."""
    values = list(dict.fromkeys(show(point.values[along]).strip('"') for point in found.points))
    if found.spec.varied[along].is_numeric:
        return {float(value): float(value) for value in values}
    return {value: float(index) for index, value in enumerate(values)}


def _data(
    found: Sweep, points: Sequence[Point], along: int, places: dict[Any, float], scale: Scale
) -> dict[str, Any]:  # fmt: skip
    """The arguments of an error bar."""
    is_numeric = found.spec.varied[along].is_numeric
    rows = []
    for point in points:
        figure = metric_of(point, found.metric)
        assert figure is not None
        value = point.values[along]
        x = float(value) if is_numeric else places[show(value).strip('"')]
        ends = (figure.low, figure.high)
        below, above = (abs((figure.mean if end is None else end) - figure.mean) * scale.factor for end in ends)
        rows.append((x, figure.mean * scale.factor, below, above))
    rows.sort()
    return {
        "x": [row[0] for row in rows], "y": [row[1] for row in rows],
        "yerr": [[row[2] for row in rows], [row[3] for row in rows]],
    }  # fmt: skip
