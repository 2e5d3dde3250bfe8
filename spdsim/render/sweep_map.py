"""A heat map on a terminal: a number in each cell, a colour behind it, and a sign at the best."""

from collections.abc import Mapping, Sequence

from rich.text import Text

from spdsim.render.look import Look, significant

_COLOURS = ("#440154", "#46327e", "#365c8d", "#277f8e", "#1fa187", "#4ac16d", "#a0da39", "#fde725")
"""Dark is bad, bright is good; their brightness tells them apart without their hue."""

_DARK = 4
"""Of so many colours the numbers on them are white."""


def heat_map(
    values: Mapping[tuple[str, str], float],
    down: tuple[str, Sequence[str]],
    across: tuple[str, Sequence[str]],
    *,
    width: int,
    look: Look,
    ends: tuple[float, float],
) -> Text | None:
    """Return the map of `values`, by (row, column); None if there is none or it is wider than `width`.

    down, across: the name and the entries of rows and columns. ends: the worst and the best value of all maps that
    are to be compared.
    """
    (down_name, rows), (across_name, columns) = down, across
    if not values:
        return None
    worst, best = ends
    texts = {place: significant(value) for place, value in values.items()}
    left = max(len(down_name), *map(len, rows)) + 2
    cell = max(*(len(text) + 1 for text in texts.values()), *map(len, columns)) + 2
    if left + cell * len(columns) > width:
        return None
    picture = Text(" " * left + across_name.center(cell * len(columns)).rstrip() + "\n", look.style("dim"))
    picture.append(down_name.ljust(left), look.style("dim"))
    picture.append("".join(column.rjust(cell - 1) + " " for column in columns).rstrip() + "\n", look.style("dim"))
    for row in rows:
        picture.append(row.rjust(left - 2) + "  ")
        for column in columns:
            value = values.get((row, column))
            if value is None:
                picture.append(look.none.rjust(cell - 1) + " ", look.style("dim"))
                continue
            sign = "*" if value == best else " "
            picture.append((sign + texts[row, column]).rjust(cell - 1) + " ", look.style(_style(value, worst, best)))
        picture.append("\n")
    picture.right_crop(1)
    return picture


def map_key(look: Look) -> Text:
    """Return one line that says what sign and colours of a map mean."""
    line = Text("* the best", look.style("dim"))
    if look.colour:
        line.append("; worst ", look.style("dim"))
        for colour in _COLOURS:
            line.append("  ", f"on {colour}")
        line.append(" best", look.style("dim"))
    return line


def _style(value: float, worst: float, best: float) -> str:
    share = 1.0 if worst == best else (value - worst) / (best - worst)
    index = min(len(_COLOURS) - 1, int(share * len(_COLOURS)))
    emphasis = "bold " if value == best else ""
    return f"{emphasis}{'#ffffff' if index < _DARK else '#000000'} on {_COLOURS[index]}"
