"""A fit of acceptance for people: how often drafts are right and when, what that is worth, and which family it is.

Fits 80 columns; nothing is told by colour alone.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import inf, sqrt

from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from spdsim.acceptance_fit import AcceptanceFit, Estimate, Family, Share
from spdsim.acceptance_fit.families import LABELS
from spdsim.acceptance_fit.goodness import DOUBT
from spdsim.acceptance_fit.shares import run_labels
from spdsim.render.blocks import heading, plain_table
from spdsim.render.look import Look, significant
from spdsim.render.trim import Trimmed

_BAR, _WIDEST_BAR = 24, 48
_SHARES, _RUNS = 60, 28
"""Columns that stand before the bars of shares, and of runs."""


@dataclass(frozen=True, slots=True)
class Told:
    """What is known of verdicts beside themselves.

    title: what they are. lines: how they came to be. counted_cycles: of the run that they were recorded in.
    remarks: what people should know of them, each with its kind ("Note", "Warning").
    """

    title: str
    lines: tuple[str, ...] = ()
    counted_cycles: int | None = None
    remarks: tuple[tuple[str, str], ...] = ()


def print_acceptance(fits: Sequence[tuple[AcceptanceFit, Told]], console: Console) -> None:
    """Print fits on `console`; of several, which differ in their stages, a summary before them."""
    look = Look.of(console)
    shared: list[tuple[str, str]] = []
    if len(fits) > 1:
        shared = [remark for remark in fits[0][1].remarks if all(remark in told.remarks for _, told in fits)]
        for part in (*_summary([fit for fit, _ in fits], look), *(_remark(*remark, look) for remark in shared)):
            console.print(Trimmed(part))
    for number, (fit, told) in enumerate(fits):
        if number or len(fits) > 1:
            console.print()
        own = tuple(remark for remark in told.remarks if remark not in shared)
        for part in _parts(fit, replace(told, remarks=own), look, console.width):
            console.print(Trimmed(part))


def acceptance_sentence(family: Family) -> str:
    """Return a family with its parameters in a few words."""
    return f"{LABELS[family.kind]}: {_parameters(family)}"


def _summary(fits: Sequence[AcceptanceFit], look: Look) -> Iterator[RenderableType]:
    yield Text("By number of stages", look.style("bold"))
    heads = ("stages", "p", "95 %", "tokens\nper cycle", "speedup", "law", "family", "p-value\nof fit")
    table = plain_table(look, heads, 0)
    table.columns[6].justify = "left"
    for fit in fits:
        low, high = fit.overall.interval
        table.add_row(
            str(fit.verdicts.num_stages), _p(fit.overall.fraction, look), f"{low:.3f} to {high:.3f}",
            significant(fit.pace.tokens_per_cycle), look.factor(fit.pace.speedup), look.factor(fit.pace.law),
            LABELS[fit.chosen.kind], look.none if fit.goodness.p_value is None else f"{fit.goodness.p_value:.3f}",
        )  # fmt: skip
    yield table


def _parts(fit: AcceptanceFit, told: Told, look: Look, width: int) -> Iterator[RenderableType]:
    yield Text(told.title, look.style("bold"))
    yield from (Text(line, look.style("dim")) for line in told.lines)
    yield _headline(fit, look)
    for kind, text in told.remarks:
        yield _remark(kind, text, look)
    room = max(_BAR // 2, min(_WIDEST_BAR, width - _SHARES))
    yield from _shares(fit, look, room)
    yield from _pace(fit, told, look)
    yield from _families(fit, look)
    yield from _goodness(fit, look)
    yield from _runs(fit, look, max(_BAR, min(2 * _WIDEST_BAR, width - _RUNS)))


def _headline(fit: AcceptanceFit, look: Look) -> Panel:
    low, high = fit.overall.interval
    answer = Text.assemble(
        (f"Acceptance {_p(fit.overall.fraction, look)}", look.style("bold green")), f"  95 %: {low:.3f} to {high:.3f}"
    )
    lag = fit.verdicts.verification_lag
    stages = f"{fit.verdicts.num_stages} stages" + f", verification lag {lag}" * (lag > 0)
    pace = f"{significant(fit.pace.tokens_per_cycle)} tokens per cycle with {stages}"
    return Panel.fit(Group(answer, Text(pace), Text(acceptance_sentence(fit.chosen))), padding=(0, 1))


def _remark(kind: str, text: str, look: Look) -> Table:
    table = Table.grid(padding=(0, 1))
    table.add_column(no_wrap=True, style=look.style("bold yellow" if kind == "Warning" else "bold"))
    table.add_column()
    table.add_row(f"{kind}:", text)
    return table


# What was observed.


def _shares(fit: AcceptanceFit, look: Look, room: int) -> Iterator[RenderableType]:
    yield from heading("How often drafts are right", look)
    table = plain_table(look, ("drafts that were …", "drafts", "accepted", "95 %", ""), 1)
    table.columns[-1].justify = "left"

    def add(name: str, share: Share) -> None:
        low, high = share.interval
        interval = f"{low:.3f} to {high:.3f}" if share.count else look.none
        table.add_row(name, f"{share.count:,}", _p(share.fraction, look), interval, _share_bar(share, look, room))

    add("verified, all of them", fit.overall)
    if fit.over_sequences is not None:
        low, high = fit.over_sequences
        table.add_row(Text("over whole sequences", look.style("dim")), "", "", f"{low:.3f} to {high:.3f}", "")
    for depth, share in enumerate(fit.by_depth, 1):
        add("made with 1 in flight" if depth == 1 else f"made with {depth}", share)
    for name, share in zip(("early third", "middle third", "late third"), fit.by_third, strict=True):
        add(f"in the {name}", share)
    yield table
    if spread := _spread(fit):
        yield Text(spread, look.style("dim"))


def _share_bar(share: Share, look: Look, room: int) -> Text:
    full, _, empty = look.shades
    p = share.fraction or 0.0
    return look.bar((p, 1.0 - p), ("green", "dim"), full + empty, room) if share.count else Text()


def _spread(fit: AcceptanceFit) -> str:
    """The spread between sequences, and what coins alone would give."""
    known = sorted(share.fraction for share in fit.by_sequence if share.fraction is not None)
    if len(known) < 2 or known[0] == known[-1]:
        return ""
    quartiles = [known[round(part * (len(known) - 1) / 4)] for part in range(5)]
    mean = sum(known) / len(known)
    std = sqrt(sum((value - mean) ** 2 for value in known) / (len(known) - 1))
    p = fit.overall.fraction or 0.0
    chance = sqrt(sum(p * (1 - p) / share.count for share in fit.by_sequence if share.count) / len(known))
    low, first, middle, third, high = (f"{value:.2f}" for value in quartiles)
    return (
        f"Sequences, {len(known)}: {low} to {high}, quartiles {first}, {middle}, {third};\n"
        f"standard deviation {std:.3f}, coins alone would give {chance:.3f}."
    )


# What it is worth.


def _pace(fit: AcceptanceFit, told: Told, look: Look) -> Iterator[RenderableType]:
    pace, n = fit.pace, fit.verdicts.num_stages
    yield from heading("What the schedule makes of it, were stages equal and all else free", look)
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column()
    lag = fit.verdicts.verification_lag
    law = "n / (1 + (1 - p)(n + k - 1))" if lag else "n / (n - (n - 1) p)"
    cycles = f"{pace.num_tokens:,} tokens in {pace.num_cycles:,} cycles, C(K) of every sequence"
    if told.counted_cycles is not None:
        is_same = told.counted_cycles == pace.num_cycles
        cycles += "; so many were counted" if is_same else f"; counted were {told.counted_cycles:,}"
    rows = (
        ("cycles", cycles),
        ("tokens per cycle", f"{significant(pace.tokens_per_cycle, 4)} (K / C)"),
        ("accept length", f"{significant(n * pace.tokens_per_cycle, 4)} equivalent (n K / C)"),
        ("speedup", f"{look.factor(pace.speedup)} (n (K - 1) / C)"),
        ("the law", f"{look.factor(pace.law)} in long runs, {law}"),
    )
    for row in rows:
        table.add_row(*row)
    yield table


# Families.


def _families(fit: AcceptanceFit, look: Look) -> Iterator[RenderableType]:
    yield from heading("Families, fitted by maximum likelihood", look)
    table = plain_table(look, ("", "family", "parameters", "BIC", "more than\nthe best"), 3)
    table.columns[2].no_wrap = False
    table.columns[2].overflow = "fold"
    for family in fit.families:
        is_chosen = family is fit.chosen
        more = look.none if is_chosen else f"+{family.bic - fit.chosen.bic:,.1f}"
        mark = ">" if is_chosen else "~" if family in fit.alike else ""
        style = look.style("bold") if is_chosen else None
        table.add_row(mark, LABELS[family.kind], _parameters(family), f"{family.bic:,.1f}", more, style=style)
    yield table
    if fit.alike:
        names = " and ".join(LABELS[family.kind] for family in fit.alike)
        yield Text(f"Cannot be told apart from it (BIC within 2): {names}.", look.style("dim"))
    for reason, kinds in _by_reason(fit.left_out):
        yield Text(f"Not fitted: {', '.join(LABELS[kind] for kind in kinds)}: {reason}.", look.style("dim"))
    yield from heading(f"The chosen family's parameters: {LABELS[fit.chosen.kind]}", look)
    chosen = plain_table(look, ("parameter", "value", "95 %"), 1)
    for estimate in fit.chosen.estimates:
        chosen.add_row(estimate.name, _value(estimate.value), _interval(estimate, look))
    yield chosen


def _by_reason(left_out: Iterable[tuple[str, str]]) -> list[tuple[str, list[str]]]:
    found: dict[str, list[str]] = {}
    for kind, reason in left_out:
        found.setdefault(reason, []).append(kind)
    return list(found.items())


def _parameters(family: Family) -> str:
    values = [_value(estimate.value) for estimate in family.estimates]
    match family.kind:
        case "bernoulli":
            return f"p {values[0]}"
        case "by_fill_depth":
            return f"p {', '.join(values)}"
        case "markov":
            easy, hard, stay_easy, stay_hard = values
            return f"p {easy} or {hard}, stays {stay_easy} or {stay_hard}"
        case _:
            return f"p {values[0]}, concentration {values[1]}"


def _value(value: float) -> str:
    """A probability with three decimals, and what is more with three digits."""
    return f"{value:.3f}" if value <= 1.0 else significant(value)


def _interval(estimate: Estimate, look: Look) -> str:
    if estimate.interval is None:
        return look.none
    low, high = estimate.interval
    return f"{_value(low)} or more" if high == inf else f"{_value(low)} to {_value(high)}"


def _goodness(fit: AcceptanceFit, look: Look) -> Iterator[RenderableType]:
    found = fit.goodness
    yield from heading("Whether that family could have given these verdicts", look)
    if found.p_value is None:
        yield Text("It leaves nothing to chance: there is nothing to look at.", look.style("dim"))
        return
    table = plain_table(look, ("what was looked at", "p-value"), 1)
    for check in found.checks:
        table.add_row(check.name, f"{check.p_value:.3f}")
    table.add_row("all together", f"{found.p_value:.3f}", style=look.style("bold"))
    yield table
    is_likely = found.p_value >= DOUBT
    verdict = "Nothing speaks against it" if is_likely else "Hardly: better replay the verdicts themselves"
    yield Text(f"{verdict}; {found.num_draws} draws of the family, as long as these sequences.", look.style("dim"))


def _runs(fit: AcceptanceFit, look: Look, room: int) -> Iterator[RenderableType]:
    expected, observed = fit.goodness.runs, fit.runs
    last = max((i for i, pair in enumerate(zip(observed, expected, strict=True)) if max(pair) >= 0.5), default=-1)
    if last < 0:
        return
    yield from heading("Runs of accepted drafts up to a rejection", look)
    most = max(*observed[: last + 1], *expected[: last + 1])
    full, _, _ = look.shades
    mark = "◆" if look.unicode else "o"
    table = plain_table(look, ("length", "runs", "family", ""), 0)
    table.columns[-1].justify = "left"
    for label, count, given in list(zip(run_labels(), observed, expected, strict=True))[: last + 1]:
        bar = look.bar((count / most,), ("cyan",), full, room)
        at = min(room - 1, round(given / most * room))
        line = Text.assemble(bar[:at], " " * max(0, at - len(bar)), (mark, look.style("bold magenta")), bar[at + 1 :])
        table.add_row(label, f"{count:,}", f"{given:,.1f}", line)
    yield table
    yield look.key((full, "cyan", "observed"), (mark, "bold magenta", "mean of the family's draws"))


def _p(value: float | None, look: Look) -> str:
    return look.none if value is None else f"{value:.3f}"
