"""The tables of a comparison as text, cell by cell: the same for the terminal, for Markdown and for a page."""

from collections.abc import Iterator

from spdsim.comparison import Comparison, Figure
from spdsim.comparison.report import Durations, MessageTimes, Part, TaskTimes, WorkerComparison
from spdsim.render.look import Look
from spdsim.render.sheet import Sheet
from spdsim.trace import worker_labels

_FIGURES = {
    "cycle_mean_s": "cycle, mean", "cycle_p50_s": "cycle, p50", "cycle_p95_s": "cycle, p95",
    "time_per_token_mean_s": "time per token, mean", "time_per_token_p50_s": "time per token, p50",
    "time_per_token_p95_s": "time per token, p95",
    "tokens_per_cycle": "tokens per cycle", "time_to_first_token_s": "time to first token", "acceptance": "acceptance",
}  # fmt: skip
"""What people call the figures."""

_WHERE = {"draft": "draft rank", "stage": "stages", "head": "LM head"}
_MOST_WORKERS = 16
_LEAST_SHOWN = 0.0005


def figure_sheet(found: Comparison, look: Look) -> Sheet:
    """Return the figures: predicted, measured, error, and whether the prediction is within what was measured."""
    heads = ("", "predicted", "measured", "error", "95 % interval", "within?")
    rows = tuple(
        (_FIGURES.get(figure.name, figure.name), _value(figure, figure.predicted, look),
         _value(figure, figure.measured, look), figure_error(figure, look), _interval(figure, look),
         look.none if figure.is_within is None else "yes" if figure.is_within else "no")
        for figure in found.figures
    )  # fmt: skip
    return Sheet("Figures", heads, rows, note="The interval is that of the measured figure, over sequences.")


def share_sheet(found: Comparison, look: Look) -> Sheet:
    """Return the workers' shares in per cent; of many workers those with the largest differences."""
    parts = ("useful", "wasted", "idle")
    heads = ("%", *(head for part in parts for head in (f"{part}\npred.", "meas.", "diff.")))
    labels = worker_labels(share.role for share in found.shares)
    shown = sorted(sorted(found.shares, key=_share_difference, reverse=True)[:_MOST_WORKERS], key=lambda s: s.worker)
    rows = tuple(
        (labels[share.worker], *(cell for part in parts for cell in _share_cells(getattr(share, part), look)))
        for share in shown
    )
    left_out = len(found.shares) - len(shown)
    note = f"{left_out} more workers differ by less." if left_out else ""
    return Sheet("How the workers spend their time", heads, rows, note=note)


def part_sheet(found: Comparison, look: Look) -> Sheet:
    """Return tasks and messages: means and errors, how often seen, and what they make of the mean cycle."""
    cycle_s = found.figure("cycle_mean_s").measured or 1.0
    sign = "►" if look.unicode else ">"
    rows = list[tuple[str, ...]]()
    marked = None
    for part in found.parts:
        if not any(part.means_s):
            continue
        is_culprit = found.culprit is not None and part.name == found.culprit.name
        marked = len(rows) if is_culprit else marked
        rows.append((sign if is_culprit else "", *_part_cells(part, cycle_s, look)))
    blank = ("",) * 6
    rows.append(("", "the rest", *blank, _signed(found.unexplained_s / cycle_s)))
    rows.append(("", "all together", *blank, _signed(found.cycle_difference_s / cycle_s)))
    heads = ("", "", "pred.", "meas.", "error\n%", "p50\n%", "p95\n%", "seen", "moves\ncycle %")
    mark = f"{sign} the culprit. " if marked is not None else ""
    note = (
        f"{mark}Errors are those of the mean, of p50 and of p95; seen: how often, in the measured run. A crossing is "
        "the way of a message that somebody waited for. Moves cycle: what the error of the mean makes of the mean "
        "cycle; the rest is what means do not tell."
    )
    return Sheet("Where the cycle's error comes from", heads, tuple(rows), 2, marked, note)


def culprit_line(found: Comparison, look: Look) -> str:
    """Return what moves the mean cycle most, in a sentence."""
    culprit = found.culprit
    if culprit is None:
        return "No task and no message explains an error of the cycle beyond noise."
    means = " and ".join(
        f"{look.time(value)} {how}"
        for value, how in ((culprit.predicted_s, "predicted"), (culprit.measured_s, "measured"))
        if value is not None
    )
    makes = f"{signed_time(culprit.explained_s, look)}, {signed(culprit.explained_fraction)}, of the mean cycle"
    return f"Culprit: {culprit.name}, {means}; it makes {makes}."


def verdict_line(found: Comparison) -> str:
    """Return whether the errors are those of timing alone."""
    if found.has_same_verdicts:
        return "Timing only: both runs have the same verdicts."
    return "Whole model: each run has verdicts of its own."


def signed(error: float | None) -> str:
    """Return an error in per cent with its sign, one decimal; nothing that is left out is shown as 0.0."""
    return "" if error is None else f"{_signed(error)} %"


def signed_time(seconds: float, look: Look) -> str:
    """Return a difference of times with its sign."""
    return f"{'-' if seconds < 0 else '+'}{look.time(abs(seconds))}"


def figure_error(figure: Figure, look: Look) -> str:
    """Return a figure's error: in per cent, or in points (hundredths) of a fraction."""
    if figure.is_fraction:
        points = figure.error_points
        return look.none if points is None else f"{_signed(points)} pts"
    return signed(figure.error_fraction) or look.none


def _signed(fraction: float) -> str:
    """A fraction in per cent, with a sign unless it is nothing."""
    text = f"{100.0 * fraction:+,.1f}"
    return "0.0" if float(text.replace(",", "")) == 0.0 else text


def _value(figure: Figure, value: float | None, look: Look) -> str:
    return look.time(value) if figure.name.endswith("_s") else look.number(value)


def _interval(figure: Figure, look: Look) -> str:
    if figure.measured_interval is None:
        return look.none
    low, high = figure.measured_interval
    if figure.name.endswith("_s"):
        return look.time(low, high, like_s=figure.measured)
    return f"{look.number(low)} to {look.number(high)}"


def _share_difference(share: WorkerComparison) -> float:
    return max(abs(figure.error_points or 0.0) for figure in (share.useful, share.wasted, share.idle))


def _share_cells(figure: Figure, look: Look) -> Iterator[str]:
    for value in (figure.predicted, figure.measured):
        yield look.none if value is None else f"{100.0 * value:.1f}"
    yield look.none if figure.error_points is None else _signed(figure.error_points)


def _part_cells(part: Part, cycle_s: float, look: Look) -> tuple[str, ...]:
    measured_s, predicted_s = part.means_s
    return (
        _label(part), look.time(predicted_s), look.time(measured_s),
        *_errors(part, look), f"{part.measured.count if part.measured else 0:,}",
        _of_cycle(part.explained_s, cycle_s),
    )  # fmt: skip


def _errors(part: Part, look: Look) -> Iterator[str]:
    """The errors of mean, p50 and p95; none where something measured is not longer than nothing."""
    for measured_s, predicted_s in zip(_durations(part.measured), _durations(part.predicted), strict=True):
        if measured_s is None or measured_s <= 0.0 or predicted_s is None:
            yield look.none
        else:
            yield _signed(predicted_s / measured_s - 1.0)


def _durations(side: Durations | None) -> tuple[float | None, float | None, float | None]:
    return (None, None, None) if side is None else (side.mean_s, side.p50_s, side.p95_s)


def _of_cycle(seconds: float, cycle_s: float) -> str:
    """Seconds in per cent of the mean cycle; blank where they are next to nothing."""
    return "" if abs(seconds) < _LEAST_SHOWN * cycle_s else _signed(seconds / cycle_s)


def _label(part: Part) -> str:
    """A short name, for a row."""
    if isinstance(part, TaskTimes):
        return f"{part.op}, {_WHERE.get(part.role, part.role)}"
    if isinstance(part, MessageTimes):
        return f"{part.payload}, {part.leg}"
    role = getattr(part, "role", "")
    return f"no span, {_WHERE.get(role, role)}"
