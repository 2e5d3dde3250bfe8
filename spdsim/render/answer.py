"""The top of a report: what it comes to, over what, and what else describes the run."""

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from spdsim.analysis.report import Estimate, Report
from spdsim.render.look import Look, significant


def headline(report: Report, look: Look) -> Panel:
    """Return the panel with the figures that people came for, each with its 95 % interval."""
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_row("", "", Text("95 % interval", look.style("dim")))
    for name, value, interval in _figures(report, look):
        table.add_row(name, Text(value, look.style("bold")), Text(interval, look.style("dim")))
    return Panel.fit(Group(_claim(report, look), table), padding=(0, 1))


def _claim(report: Report, look: Look) -> Text:
    if report.speedup is None:
        return Text("A single token has no time per token and no speedup.", look.style("bold"))
    value = Text(look.factor(report.speedup.mean), look.style("bold green" if report.speedup.mean >= 1 else "bold red"))
    return Text.assemble(value, (f" over {report.speedup.over}", look.style("bold")))


def _figures(report: Report, look: Look) -> Iterator[tuple[str, str, str]]:
    """Yield name, value and interval of each figure."""
    speedup, tokens, per_token = report.speedup, report.tokens_per_s, report.time_per_token_s
    first = report.time_to_first_token_s
    yield "speedup", look.factor(speedup.mean if speedup else None), _interval(speedup, look)
    yield "tokens per second", look.number(tokens.mean if tokens else None), _interval(tokens, look)
    if per_token is None:
        yield "time per token", look.none, ""
    else:
        yield (
            "time per token",
            look.time(per_token.mean),
            look.time(per_token.low, per_token.high, like_s=per_token.mean),
        )
        for name in ("p50", "p95", "p99"):
            value_s, interval_s = getattr(per_token, name), getattr(per_token, f"{name}_interval") or (None, None)
            yield f"  {name}", look.time(value_s), look.time(*interval_s, like_s=value_s)
    yield "time to first token", look.time(first.mean), look.time(first.low, first.high, like_s=first.mean)


def _interval(estimate: Estimate | None, look: Look) -> str:
    if estimate is None or estimate.low is None or estimate.high is None:
        return look.none
    return f"{significant(estimate.low)} to {significant(estimate.high)}"


def baselines(report: Report, look: Look) -> RenderableType:
    """Return the table of plain ways to decode; the headline's is marked."""
    table = Table(box=None, pad_edge=False, header_style=look.style("dim"))
    table.add_column("compared with", no_wrap=True)
    table.add_column("time per token", justify="right", no_wrap=True)
    table.add_column("speedup", justify="right", no_wrap=True)
    table.add_column("", style=look.style("dim"))
    over = report.speedup.over if report.speedup else ""
    for line in report.baselines:
        remark = ["headline"] * (line.name == over) + [line.note] * bool(line.note)
        table.add_row(line.name, look.time(line.time_per_token_s), look.factor(line.speedup), "; ".join(remark))
    return table


def facts(report: Report, look: Look) -> Table:
    """Return what else describes the run, a line each."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style=look.style("dim"), no_wrap=True)
    table.add_column()
    for name, value in _facts(report, look):
        table.add_row(name, value)
    return table


def _facts(report: Report, look: Look) -> Iterator[tuple[str, str]]:
    if report.closed_form_speedup is not None:
        beside = f"; here {look.factor(report.speedup.mean)}" if report.speedup else ""
        yield "law's speedup", f"{look.factor(report.closed_form_speedup)} with equal stages and all else free{beside}"
    if report.measured_acceptance is not None:
        yield "acceptance", _acceptance(report.measured_acceptance, report.mean_acceptance)
    yield "break-even", _break_even(report, look)
    if report.tokens_per_cycle is not None:
        yield "tokens per cycle", significant(report.tokens_per_cycle)
    if report.equivalent_accept_length is not None:
        yield "accept length", f"{significant(report.equivalent_accept_length)} (equivalent, of {report.num_stages})"
    if cycle := report.cycle_s:
        percentiles = f"p50 {look.time(cycle.p50)}, p95 {look.time(cycle.p95)}"
        kinds = f"full {look.time(cycle.full_mean)}, filling {look.time(cycle.fill_mean)}"
        yield "cycle", f"{look.time(cycle.mean)} on average; {percentiles}; {kinds}"
    yield "run", ", ".join(
        f"{number:,} {name}{'' if number == 1 else 's'}"
        for number, name in (
            (report.num_sequences, "sequence"), (report.num_tokens, "token"),
            (report.num_cycles, "cycle"), (report.num_rejections, "rejection"),
        )
    )  # fmt: skip
    if report.num_traced < report.num_sequences:
        yield "spans", f"of the first {report.num_traced:,} sequences: percentiles, cycle, and the tables below"


def _acceptance(measured: float, scenario: float | None) -> str:
    seen = f"{significant(measured)} of the drafts that were verified"
    return seen if scenario is None else f"{seen}; {significant(scenario)} in the scenario"


def _break_even(report: Report, look: Look) -> str:
    if report.break_even_acceptance is None:
        return report.break_even_note or look.none
    note = f" ({report.break_even_note})" if report.break_even_note else ""
    return f"at an acceptance of {significant(report.break_even_acceptance)}{note}"
