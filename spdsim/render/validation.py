"""A validation for people: the grade, every row, the groups beside the one-line rule, what is not known.

Fits 80 columns; nothing is told by colour alone.
"""

from collections.abc import Iterable, Iterator, Sequence

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from spdsim.evidence import Row
from spdsim.fitting import LeftOut
from spdsim.grades import GRADES
from spdsim.prediction import Prediction
from spdsim.prediction.speedup import RULE_CYCLE_S, RULE_LAYER_S
from spdsim.render.blocks import bullets, heading, plain_table
from spdsim.render.look import Look
from spdsim.render.trim import Trimmed
from spdsim.validation.report import Group, Line, Validation

_NAMES = {"all": "all", "use": "", "stages": "n = ", "temperature": "T = ", "model": ""}
"""What stands before a group's value; a group of another method has the method there."""


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
        own = [line for line in lines if line.row and line.row.method == "spd"]
        others = [line for line in lines if line.row and line.row.method != "spd"]
        yield from heading(_title(use), look)
        if own:
            yield _rows(own, look, has_intervals=found.has_intervals)
        for model in dict.fromkeys(line.row.model for line in others if line.row):
            yield Text(f"Other methods, {model}", look.style("dim"))
            alike = [line for line in others if line.row and line.row.model == model]
            yield _rows_of_others(alike, look, has_intervals=found.has_intervals)
    if notes := _notes(found):
        yield Text(notes, look.style("dim"))
    of_others = [group for group in found.groups if group.by not in _NAMES]
    if len(found.groups) > len(of_others):
        yield from heading("Errors by group, in per cent", look)
        yield _groups(found, look)
    if of_others:
        yield from heading("Errors of other methods, in per cent", look)
        yield _groups_of_others(of_others, look)
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
    if any(line.row is not None and line.row.method != "spd" for line in found.lines):
        of += " of SPD"
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
        table.add_row(
            row.model, f"{row.temperature:g}", str(row.stages), str(row.draft_layers), row.dataset,
            *_compared(line, row, prediction, look, has_intervals=has_intervals),
            style=look.style("dim") if row.is_mean else None,
        )  # fmt: skip
    return table


def _rows_of_others(lines: Sequence[Line], look: Look, *, has_intervals: bool) -> Table:
    table = plain_table(
        look, ("method", "T", "size", "data set", "published", "predicted", "95 % interval", "error"), 4
    )
    for line in lines:
        row, prediction = line.row, line.prediction
        if row is None or prediction is None:
            continue
        size = f"n = {row.stages}" if row.stages else f"{row.draft_layers} drafts"
        table.add_row(
            row.method, f"{row.temperature:g}", size, row.dataset,
            *_compared(line, row, prediction, look, has_intervals=has_intervals),
            style=look.style("dim") if row.is_mean else None,
        )  # fmt: skip
    return table


def _compared(
    line: Line, row: Row, prediction: Prediction, look: Look, *, has_intervals: bool
) -> tuple[str, str, str, str]:
    """Published, predicted, interval and error."""
    published = look.none if row.wall_speedup is None else f"{row.wall_speedup:.2f}"
    # Means of other rows are shown, but they do not count.
    error = f"({signed(line.error, look)})" if line.error is not None and row.is_mean else signed(line.error, look)
    interval = f"{prediction.low:.2f} to {prediction.high:.2f}" if has_intervals else look.none
    mark = "*" if prediction.outside else " "
    return published, f"{prediction.wall_speedup:.2f}{mark}", interval, error


def _groups(found: Validation, look: Look) -> Table:
    heads = ("", "rows", "mean", "mean size", "largest", "one-line rule:\nmean", "\nmean size", "\nlargest")
    table = plain_table(look, heads, 1)
    for group in found.groups:
        if group.by in _NAMES:
            name = _NAMES[group.by] + ("" if group.by == "all" else group.value)
            rule = (group.rule_mean_error, group.rule_mean_absolute_error, group.rule_largest_error)
            cells = [_size(error, index, look) for index, error in enumerate(rule)]
            table.add_row(name, str(group.num_rows), *_sizes(group, look), *cells)
    layer_ms, cycle_ms = 1e3 * RULE_LAYER_S, 1e3 * RULE_CYCLE_S
    table.caption = f"One-line rule: every cycle takes {layer_ms:g} ms a layer of a stage and {cycle_ms:g} ms more."
    if found.is_rule_nearer:
        table.caption += " It is nearer than the profile: hence grade D."
    table.caption_justify, table.caption_style = "left", look.style("dim")
    return table


def _groups_of_others(groups: Sequence[Group], look: Look) -> Table:
    table = plain_table(look, ("", "", "rows", "mean", "mean size", "largest"), 2)
    for group in groups:
        table.add_row(group.by, group.value, str(group.num_rows), *_sizes(group, look))
    return table


def _sizes(group: Group, look: Look) -> list[str]:
    ours = (group.mean_error, group.mean_absolute_error, group.largest_error)
    return [_size(error, index, look) for index, error in enumerate(ours)]


def _size(error: float | None, index: int, look: Look) -> str:
    if error is None:
        return look.none
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
