"""The best designs, for people: the answer, the designs, how sure it is, why the first one wins, what was searched."""

from collections.abc import Iterator, Sequence

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from spdsim.analysis.report import Estimate
from spdsim.choice.plan import Plan
from spdsim.choice.plan_design import Design, cut_words, design_of
from spdsim.choice.plan_race import TIE_FRACTION
from spdsim.choice.plan_reason import PLAIN, STAGES, Reason, ReasonStep
from spdsim.render.blocks import heading
from spdsim.render.look import Look, significant
from spdsim.render.trim import Trimmed
from spdsim.render.words import STEPS
from spdsim.scenario.memory import device_bytes, show_bytes

_NARROW = 100
"""Columns below which some columns are left out."""

_LEAST_FACTOR = 0.005
"""A step that changes the time by less is left out of the reasons."""

_SURE = 0.975
"""Below this probability it is said that two designs cannot be told apart."""

_HEADS = {"draft_rank": "draft", "last_stage": "last", "sharded": "sharded", "own_device": "own"}
_DRAFTS = {"own_device": "own", "stage_0": "stage 0"}
_STEPS = {PLAIN: "one token, stage after stage", STAGES: "stages at work at a time", **STEPS}


def print_plan(
    plan: Plan, console: Console, *, title: str, lines: Sequence[str], problem: str | None, ways: Sequence[str]
) -> None:
    """Print the plan on `console`.

    lines: the devices and the work, a line each. problem: why the scenario cannot be had as written. ways: of each
    design, the file or the command that simulates it; a line each, however long.
    """
    look, width = Look.of(console), min(console.width, 120)
    for part in _parts(plan, width, look, title, lines, problem):
        console.print(Trimmed(part))
    if not ways:
        return
    for part in heading("To simulate each", look):
        console.print(Trimmed(part))
    for number, way in enumerate(ways, 1):
        console.print(Text.assemble((f"{number}  ", look.style("dim")), way), soft_wrap=True)


def _parts(
    plan: Plan, width: int, look: Look, title: str, lines: Sequence[str], problem: str | None
) -> Iterator[RenderableType]:
    yield Text(title, look.style("bold"))
    yield from (Text(line, look.style("dim")) for line in lines)
    yield ""
    if not plan.best:
        yield Text(_only_plain(plan, look), look.style("bold"))
        return
    yield Text(verdict(plan, look), look.style("bold"))
    if problem is not None:
        yield Text(f"The scenario as written cannot be had: {problem}")
    yield ""
    yield _table(plan, width, look)
    yield Text(_key(plan, width), look.style("dim"))
    yield from heading("How sure this is", look)
    yield from (Text(line) for line in _sure(plan, look))
    if plan.reason is not None:
        yield from heading("Why 1 is faster than the scenario as written", look)
        yield _reasons(plan.reason, look)
    if plan.robust is not None:
        yield from heading(f"If only {plan.robust.acceptance * 100:g} % of the drafts are accepted", look)
        yield Text(_robust(plan, look))
    yield from heading("What was searched", look)
    yield from (Text(line) for line in _searched(plan))
    if granted := list(_granted(plan)):
        yield from heading("What is taken for granted", look)
        yield from (Text(line) for line in granted)
    if warnings := list(dict.fromkeys(text for ranked in plan.best for text in ranked.warnings)):
        yield ""
        yield from (Text.assemble(("Warning: ", look.style("bold yellow")), text) for text in warnings)


def verdict(plan: Plan, look: Look) -> str:
    """Return the best design on a line, and on the next how fast it is, over what, and whether it is worth it."""
    best = plan.best[0]
    said = f"Best: {best.design.words}.\n{significant(best.tokens_per_s)} tokens per second"
    if best.is_written:
        said += ", as the scenario is written"
    elif best.speedup is not None:
        said += f", {look.factor(best.speedup.mean)} over the scenario as written"
    if plan.plain is None or best.speedup_over_plain is None:
        return f"{said}."
    over, plain = best.speedup_over_plain.mean, plan.plain.method.title
    if over >= 1.0:
        return f"{said}, {look.factor(over)} over the best plain method ({plain})."
    faster = significant(plan.plain.figures.tokens_per_s.mean)
    return f"{said}. But {plain}, is faster still: {faster} tokens per second."


def _only_plain(plan: Plan, look: Look) -> str:
    assert plan.plain is not None
    speed = significant(plan.plain.figures.tokens_per_s.mean)
    time = look.time(plan.plain.figures.time_per_token_s.mean)
    return f"Nothing to cut: {plan.plain.method.title}, {speed} tokens per second ({time} per token)."


def _table(plan: Plan, width: int, look: Look) -> Table:
    is_wide = width >= _NARROW
    table = Table(box=None, pad_edge=False, header_style=look.style("dim"))
    table.add_column("", no_wrap=True)
    table.add_column("per token", justify="right", no_wrap=True)
    if plan.written_s is not None:
        table.add_column("speedup", justify="right", no_wrap=True)
    if _tells_plain(plan, width):
        table.add_column("over plain", justify="right", no_wrap=True)
    table.add_column("stages", no_wrap=True)
    table.add_column("layers", overflow="fold")
    table.add_column("LM head", no_wrap=True)
    table.add_column("lag", justify="right", no_wrap=True)
    table.add_column("draft", no_wrap=True)
    if is_wide:
        table.add_column("devices", justify="right", no_wrap=True)
        table.add_column("fullest", justify="right", no_wrap=True)
    for number, ranked in enumerate(plan.best, 1):
        name = f"{number} w" if ranked.is_written else str(number)
        figures = _figures(ranked.time_per_token_s, ranked.speedup, ranked.speedup_over_plain, plan, width, look)
        devices = (str(ranked.design.num_devices), show_bytes(ranked.device_bytes)) if is_wide else ()
        style = look.style("bold") if number == 1 else None
        table.add_row(name, *figures, *_design(ranked.design), *devices, style=style)
    if plan.written_s is not None and not any(ranked.is_written for ranked in plan.best):
        plain_s = None if plan.plain is None else plan.plain.figures.time_per_token_s.mean
        over = None if plain_s is None else Estimate(plain_s / plan.written_s.mean)
        figures = _figures(plan.written_s, Estimate(1.0), over, plan, width, look)
        held = device_bytes(plan.scenario)
        devices = (str(sum(num > 0 for num in held)), show_bytes(max(held))) if is_wide else ()
        table.add_row("w", *figures, *_design(design_of(plan.scenario)), *devices, style=look.style("dim"))
    return table


def _figures(
    time_s: Estimate, speedup: Estimate | None, over_plain: Estimate | None, plan: Plan, width: int, look: Look
) -> Iterator[str]:
    """The cells of the figures that there are: over plain decoding where there is room, or nothing else."""
    yield _time(time_s, width >= _NARROW, look)
    if plan.written_s is not None:
        yield look.factor(None if speedup is None else speedup.mean)
    if _tells_plain(plan, width):
        yield look.factor(None if over_plain is None else over_plain.mean)


def _tells_plain(plan: Plan, width: int) -> bool:
    return plan.plain is not None and (width >= _NARROW or plan.written_s is None)


def _design(design: Design) -> Iterator[str]:
    group = f" x {design.tensor_parallel}" if design.tensor_parallel > 1 else ""
    yield f"{design.stages}{group}"
    yield cut_words(design.layers)
    yield _HEADS[design.lm_head]
    yield str(design.verification_lag)
    yield _DRAFTS[design.placement]


def _time(time_s: Estimate, is_wide: bool, look: Look) -> str:
    # A digit more than elsewhere: the best are close to each other.
    told = f"{significant(time_s.mean * 1e3, 4)} ms"
    if not is_wide or time_s.high is None:
        return told
    sign = "±" if look.unicode else "+-"
    return f"{told} {sign}{significant(max(time_s.high / time_s.mean - 1, 1e-5) * 100, 1)} %"


def _key(plan: Plan, width: int) -> str:
    words = ["speedup: over the scenario as written (w)"] if plan.written_s is not None else []
    if any(ranked.design.tensor_parallel > 1 for ranked in plan.best):
        words.append("4 x 2: 4 stages of 2 devices")
    words += ["LM head, draft: on which device"]
    if width >= _NARROW:
        words.append("fullest: what the fullest device holds")
    return "; ".join(words)


def _sure(plan: Plan, look: Look) -> Iterator[str]:
    searched = plan.searched
    if searched.num_simulated > 1 and plan.surely is not None:
        others = searched.num_simulated - 1
        yield (
            f"1 is the fastest of the {others + 1} that were simulated, with a probability of "
            f"{_probability(plan.surely)}, by the same sequences in all of them."
        )
    for number, ranked in enumerate(plan.best[:-1], 1):
        if ranked.is_tie:
            yield f"{number} and {number + 1} are as fast: the difference is less than {TIE_FRACTION * 100:g} %."
        elif ranked.surely is not None and ranked.surely < _SURE:
            yield f"{number} and {number + 1} cannot be told apart ({_probability(ranked.surely)} for {number})."
    yield (
        f"The ranking that chose them was within {_percent(searched.estimate_error)} of the simulation"
        + (
            f"; the best of the others is {_percent(searched.unseen)} slower than 1 by it."
            if searched.unseen is not None
            else "."
        )
    )


def _probability(value: float) -> str:
    return "over 99.9 %" if value > 0.999 else f"{value * 100:.3g} %"


def _percent(fraction: float) -> str:
    return f"{significant(max(fraction, 1e-4) * 100, 2)} %"


def _reasons(reason: Reason, look: Look) -> Table:
    table = Table(box=None, pad_edge=False, header_style=look.style("dim"))
    table.add_column("", no_wrap=True)
    table.add_column("as written", justify="right", no_wrap=True)
    table.add_column("1", justify="right", no_wrap=True)
    table.add_column("faster by", justify="right", no_wrap=True)
    rest = 1.0
    for step in reason.steps:
        if abs(step.factor - 1.0) < _LEAST_FACTOR:
            rest *= step.factor
        else:
            before, after = (_reason_value(step, value, look) for value in (step.before, step.after))
            table.add_row(_STEPS[step.step], before, after, look.factor(step.factor))
    if abs(rest - 1.0) >= 1e-3:
        table.add_row("all else", "", "", look.factor(rest))
    told = f"together, in {reason.num_sequences} {'sequence' if reason.num_sequences == 1 else 'sequences'}"
    table.add_row(told, "", "", look.factor(reason.factor), style=look.style("bold"))
    return table


def _reason_value(step: ReasonStep, value: float, look: Look) -> str:
    match step.step:
        case "plain_token":
            return look.time(value)
        case "stages":
            return f"{value:.0f}"
        case _:
            return look.factor(value)


def _robust(plan: Plan, look: Look) -> str:
    robust = plan.robust
    assert robust is not None
    time = look.time(robust.time_per_token_s)
    if robust.stays:
        return f"1 is the best there too: {time} per token."
    loses = robust.first_s / robust.time_per_token_s - 1.0
    return (
        f"The best is then {robust.design.words}: {time} per token, where 1 takes {look.time(robust.first_s)}, "
        f"{_percent(loses)} more ({_probability(robust.surely)} sure)."
    )


def _searched(plan: Plan) -> Iterator[str]:
    searched = plan.searched
    feasible = searched.num_designs - sum(searched.infeasible.values())
    yield (
        f"{searched.num_designs} designs, of which {feasible} can be had; {searched.improved} other cuts of the best; "
        f"{searched.num_simulated} simulated, {searched.num_sequences} sequences in all."
    )
    yield from (f"Cannot be had: {count} ({reason})." for reason, count in searched.infeasible.items())
    yield from (f"Kept: {sentence}." for sentence in searched.kept)


def _granted(plan: Plan) -> Iterator[str]:
    flags: dict[str, list[str]] = {}
    for number, ranked in enumerate(plan.best, 1):
        for flag in ranked.flags:
            flags.setdefault(flag, []).append(str(number))
    for flag, numbers in flags.items():
        yield f"{flag[:1].upper()}{flag[1:]}, and taken as it is for {', '.join(numbers)}."
    if flags:
        yield "With fewer stages drafts are usually accepted more often, with more stages less often."
