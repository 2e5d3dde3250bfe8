"""A validation for people: the grade, every row, the groups beside the one-line rule, what is not known.

Fits 80 columns; nothing is told by colour alone.
"""

from collections.abc import Iterable, Iterator, Sequence

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from spdsim.fitting import LeftOut
from spdsim.grades import GRADES
from spdsim.prediction.speedup import RULE_CYCLE_S, RULE_LAYER_S
from spdsim.render.blocks import bullets, heading, plain_table
from spdsim.render.look import Look
from spdsim.render.trim import Trimmed
from spdsim.validation.report import Line, Validation

_NAMES = {"all": "all", "use": "", "stages": "n = ", "temperature": "T = ", "model": ""}
"""What stands before a group's value."""


def print_validation(found: Validation, console: Console) -> None:
    """Print `found` on `console`."""
    look = Look.of(console)
    for part in _parts(found, look):
        console.print(Trimmed(part))


def signed(error: float | None, look: Look) -> str:
    """Return an error in per cent with its sign, one decimal."""
    return look.none if error is None else f"{100.0 * error:+.1f} %"


def _parts(found: Validation, look: Look) -> Iterator[RenderableType]:
    yield Text(f"{found.profile} against {found.table}", look.style("bold"))
    yield Text(f"{found.profile_origin}: {found.profile_source}", look.style("dim"))
    yield _headline(found, look)
    for use in dict.fromkeys(line.row.use for line in found.lines if line.row is not None):
        lines = [line for line in found.lines if line.row is not None and line.row.use == use]
        yield from heading(_title(use), look)
        yield _rows(lines, look, has_intervals=found.has_intervals)
    if notes := _notes(found):
        yield Text(notes, look.style("dim"))
    if found.groups:
        yield from heading("Errors by group, in per cent", look)
        yield _groups(found, look)
    if found.left_out:
        yield from heading("Each number of stages left out of the fit, and then predicted", look)
        yield left_out_table(found.left_out, look)
    yield from heading("What the figures cannot say", look)
    yield from bullets(found.limits)


def _headline(found: Validation, look: Look) -> Text:
    group = found.graded
    if group is None:
        return Text("No grade: no row has a wall speedup to compare with.", look.style("bold"))
    steps = ", ".join(f"{grade} up to {100 * most:g} %" for most, grade in GRADES)
    rows = "row" if group.num_rows == 1 else "rows"
    of = f"the {group.num_rows} {rows}" if group.by == "all" else f"the {group.num_rows} {group.value} {rows}"
    return Text.assemble(
        (f"Grade {found.grade}", look.style("bold")),
        f": mean absolute error {100 * group.mean_absolute_error:.1f} % of {of}",
        (f" ({steps})", look.style("dim")),
    )


def _notes(found: Validation) -> str:
    """Return what the marks of rows mean, those that are there."""
    rows = [line for line in found.lines if line.row is not None and line.prediction is not None]
    notes = ["Errors in brackets are of means of rows: they do not count."] * any(
        line.row.is_mean and line.error is not None for line in rows if line.row
    )
    return " ".join(
        notes + ["* beyond the evidence: see below."] * any(line.prediction.outside for line in rows if line.prediction)
    )


def _title(use: str) -> str:
    match use:
        case "calibrate":
            return "Rows that the profile may have been fitted to (calibrate)"
        case "validate":
            return "Rows that it was not fitted to (validate)"
        case _:
            return f"Rows marked {use}" if use else "Rows without a mark"


def _rows(lines: Sequence[Line], look: Look, *, has_intervals: bool) -> Table:
    table = plain_table(
        look, ("model", "T", "n", "L_s", "data set", "published", "predicted", "95 % interval", "error"), 5
    )
    for line in lines:
        row, prediction = line.row, line.prediction
        if row is None or prediction is None:
            continue
        published = look.none if row.wall_speedup is None else f"{row.wall_speedup:.2f}"
        # Means of other rows are shown, but they do not count.
        error = f"({signed(line.error, look)})" if line.error is not None and row.is_mean else signed(line.error, look)
        interval = f"{prediction.low:.2f} to {prediction.high:.2f}" if has_intervals else look.none
        mark = "*" if prediction.outside else ""
        table.add_row(
            row.model, f"{row.temperature:g}", str(row.stages), str(row.draft_layers), row.dataset, published,
            f"{prediction.wall_speedup:.2f}{mark or ' '}", interval, error,
            style=look.style("dim") if row.is_mean else None,
        )  # fmt: skip
    return table


def _groups(found: Validation, look: Look) -> Table:
    heads = ("", "rows", "mean", "mean size", "largest", "one-line rule:\nmean", "\nmean size", "\nlargest")
    table = plain_table(look, heads, 1)
    for group in found.groups:
        name = _NAMES[group.by] + ("" if group.by == "all" else group.value)
        ours = (group.mean_error, group.mean_absolute_error, group.largest_error)
        rule = (group.rule_mean_error, group.rule_mean_absolute_error, group.rule_largest_error)
        cells = [_size(error, index) for errors in (ours, rule) for index, error in enumerate(errors)]
        table.add_row(name, str(group.num_rows), *cells)
    layer_ms, cycle_ms = 1e3 * RULE_LAYER_S, 1e3 * RULE_CYCLE_S
    table.caption = f"One-line rule: every cycle takes {layer_ms:g} ms a layer of a stage and {cycle_ms:g} ms more."
    if found.is_rule_nearer:
        table.caption += " It is nearer than the profile: hence grade D."
    table.caption_justify, table.caption_style = "left", look.style("dim")
    return table


def _size(error: float, index: int) -> str:
    return f"{100 * error:.1f}" if index == 1 else f"{100 * error:+.1f}"


def left_out_table(left_out: Iterable[LeftOut], look: Look) -> Table:
    """Return a line for each configuration that was left out of a fit."""
    table = plain_table(look, ("left out", "rows", "mean", "mean size", "largest", "without evidence on sampling"), 1)
    for out in left_out:
        largest = max((error for _, error in out.errors), key=abs)
        apart = ", ".join(signed(error, look) for _, error in out.no_evidence) or look.none
        table.add_row(
            f"n = {out.stages}", str(len(out.errors)), signed(out.mean_error, look),
            f"{100 * out.mean_absolute_error:.1f} %", signed(largest, look), apart,
        )  # fmt: skip
    return table
