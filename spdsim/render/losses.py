"""The middle of a report: where the speedup goes, and what one per cent of each parameter would change."""

from rich.console import Group
from rich.table import Table
from rich.text import Text

from spdsim.analysis.report import Report, Sensitivity, WaterfallStep
from spdsim.render.look import Look, significant
from spdsim.render.words import HINTS, HINTS_OF_ROUNDS, STEPS
from spdsim.trace import PIPELINED

_LEAST_FACTOR = 1e-4
"""A step that changes the speedup by less is neither a gain nor a loss: it is rounding."""

_NEXT_FACTOR = 0.97
"""After rejections, which every machine has, a loss below it is named too."""

_LEAST_CHANGE = 5e-5
"""A change of the time per token that would be printed as 0.00 %."""

_SENSITIVITY_CELLS = 20

_KEPT, _LOST, _GAINED = "#3f83cc", "#d9622b", "#33966a"


def waterfall(report: Report, width: int, look: Look) -> Group:
    """Return the steps to the speedup that is left, with bars, and a sentence on the largest loss.

    They begin at n times, or at plain decoding where the method is no pipeline of drafts.
    """
    table = Table(box=None, pad_edge=False, header_style=look.style("dim"))
    table.add_column("", no_wrap=True)
    table.add_column("factor", justify="right", no_wrap=True)
    table.add_column("left", justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    is_pipelined = report.method in PIPELINED
    before = float(report.num_stages) if is_pipelined else 1.0
    top = max([before, *(step.speedup_after for step in report.waterfall)])
    cells = max(min(width - 44, 60), 12)
    table.add_row(
        "a token a cycle" if is_pipelined else "plain decoding",
        "",
        look.factor(before),
        _bar(before, before, top, cells, look),
    )
    for step in report.waterfall:
        after = step.speedup_after
        table.add_row(
            STEPS.get(step.step, step.step), _factor(step, look), look.factor(after),
            _bar(before, after, top, cells, look),
        )  # fmt: skip
        before = after
    return Group(table, _key(look), Text(largest_loss(report, look)))


def largest_loss(report: Report, look: Look) -> str:
    """Return one sentence that names the largest loss and one that says what would change it.

    Where rejections are the largest, a third one names the largest loss after them, unless it is small.
    """
    if len(report.workers) < 2:
        return "One stage is plain decoding: there is nothing to gain and nothing to lose."
    losses = [step for step in report.waterfall if step.factor < 1 - _LEAST_FACTOR]
    if not losses:
        return "Nothing is lost: every step keeps the speedup or adds to it."
    worst, *others = sorted(losses, key=lambda step: step.factor)
    told = f"Largest loss: {_named(worst, look)}. {_hint(report, worst)}".rstrip()
    is_next_told = worst.step == "rejections" and others and others[0].factor < _NEXT_FACTOR
    return f"{told} After it: {_named(others[0], look)}." if is_next_told else told


def _hint(report: Report, step: WaterfallStep) -> str:
    others = {} if report.method in PIPELINED else HINTS_OF_ROUNDS
    return others.get(step.step, HINTS.get(step.step, ""))


def _named(step: WaterfallStep, look: Look) -> str:
    return f"{STEPS.get(step.step, step.step)} ({_factor(step, look)})"


def _factor(step: WaterfallStep, look: Look) -> str:
    return f"{look.times}{significant(step.factor)}"


def _bar(before: float, after: float, top: float, cells: int, look: Look) -> Text:
    kept, lost, gained = _shades(look)
    is_gain = after > before
    return look.bar(
        (min(before, after) / top, abs(after - before) / top),
        (_KEPT, _GAINED if is_gain else _LOST), kept + (gained if is_gain else lost), cells,
    )  # fmt: skip


def _shades(look: Look) -> tuple[str, str, str]:
    return ("█", "░", "▓") if look.unicode else ("#", "-", "+")


def _key(look: Look) -> Text:
    kept, lost, gained = _shades(look)
    return look.key((kept, _KEPT, "kept"), (lost, _LOST, "lost in this step"), (gained, _GAINED, "gained in this step"))


def sensitivities(report: Report, look: Look) -> Table:
    """Return by how much the time per token changes when a parameter grows by 1 %."""
    table = Table(box=None, pad_edge=False, header_style=look.style("dim"))
    table.add_column("1 % more", no_wrap=True)
    table.add_column("time per token", justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    largest = max((abs(line.time_per_token_change_fraction) for line in report.sensitivities), default=0.0)
    for line in report.sensitivities:
        table.add_row(line.parameter, *_sensitivity(line, largest, look))
    return table


def _sensitivity(line: Sensitivity, largest: float, look: Look) -> tuple[str, Text]:
    change = line.time_per_token_change_fraction
    if abs(change) < _LEAST_CHANGE:
        return "0 %", Text()
    style, verdict = (_LOST, "slower") if change > 0 else (_GAINED, "faster")
    bar = look.bar((abs(change) / largest,), (style,), look.shades[0], _SENSITIVITY_CELLS)
    return f"{change * 100:+.2f} %", Text.assemble(bar, " " if bar.plain else "", verdict)
