"""A run for people: the answer first, then what it rests on, then what each worker holds.

Fits 80 columns; nothing is told by colour alone.
"""

from collections.abc import Iterator

from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from executor.cli.result import Result
from executor.summary import Decoding
from executor.verify.sampling import Sampling
from spdsim.analysis.report import Estimate
from spdsim.render.look import Look, significant
from spdsim.render.trim import Trimmed
from spdsim.schedules.spd import Layout
from spdsim.trace import worker_labels

_LM_HEAD = {
    "draft_rank": "on the draft rank", "last_stage": "on the last stage", "sharded": "sharded over the ranks",
    "own_device": "on a device of its own",
}  # fmt: skip


def print_result(result: Result, console: Console) -> None:
    """Print `result` on `console`."""
    look = Look.of(console)
    for part in _parts(result, look):
        console.print(Trimmed(part))


def _parts(result: Result, look: Look) -> Iterator[RenderableType]:
    if not result.is_emulated:
        yield ""  # apart from the text
    for line in _what(result):
        yield Text(line, look.style("dim"))
    yield _headline(result, look)
    yield from (_remark("Warning", "bold yellow", text, look) for text in result.warnings)
    yield _facts(result, look)
    if result.reports and not result.is_emulated:
        yield ""
        yield from _workers(result, look)
    if result.notes or result.hints:
        yield ""
    yield from (_remark("Note", "bold", text, look) for text in result.notes)
    yield from (_remark("Hint", "bold cyan", text, look) for text in result.hints)


def _remark(kind: str, style: str, text: str, look: Look) -> Table:
    """A line that goes on under its own beginning."""
    table = Table.grid(padding=(0, 1))
    table.add_column(no_wrap=True, style=look.style(style))
    table.add_column()
    table.add_row(f"{kind}:", text)
    return table


# What was run.


def _what(result: Result) -> Iterator[str]:
    """Yield the model and the schedule, then the machine, then how it computes."""
    run, plan = result.run, result.run.plan
    layout = plan.layout
    emulated = "emulated: " if result.is_emulated else ""
    yield f"{emulated}{run.model_name}, {_count(sum(plan.layers), 'layer')}{_cut(plan.layers)}; {_schedule(layout)}"
    workers = f"{_count(layout.num_workers, 'worker')} {_places(result, with_kind=True)}"
    if result.is_emulated:
        yield f"{workers}, {plan.backend} backend, seed {plan.seed}"
        return
    if plan.has_module_drafts and plan.draft.checkpoint is not None:
        module = f"{_count(plan.draft.num_layers, 'layer')}, {_count(len(plan.draft.anchors), 'anchor')}"
        yield f"drafts by {plan.draft.checkpoint}: {module}"
    yield f"{workers}, {plan.backend} backend{_threads(result)}"
    yield f"{plan.launch.replace('_', ' ')}, {plan.dtype}, {_sampling(plan.sampling)}, seed {plan.seed}"


def _schedule(layout: Layout) -> str:
    if layout.num_stages == 1:
        return "plain decoding"
    tree = f"trees of width {layout.width}, " * (layout.width > 1)
    return f"{tree}LM head {_LM_HEAD[layout.lm_head]}, verification lag {layout.verification_lag}"


def _cut(layers: tuple[int, ...]) -> str:
    if len(layers) == 1:
        return ""
    each = str(layers[0]) if len(set(layers)) == 1 else " + ".join(map(str, layers))
    return f" in {len(layers)} stages of {each}"


def _places(result: Result, *, with_kind: bool = False) -> str:
    """What the workers are on: processes of a CPU, or devices of some kind."""
    if result.run.plan.device == "cpu" and not result.is_emulated:
        return f"in {_count(result.num_devices, 'process')}" + " on a CPU" * with_kind
    # A number at the end of a device's name tells it from others of its kind.
    kinds = dict.fromkeys(device.rstrip("0123456789 ") for device in result.devices)
    return f"on {_count(result.num_devices, 'device')}" + f" ({', '.join(kinds)})" * with_kind


def _sampling(sampling: Sampling) -> str:
    if sampling.is_greedy:
        return "greedy"
    top_k = f", top-k {sampling.top_k}" * bool(sampling.top_k)
    return f"temperature {sampling.temperature:g}{top_k}" + f", top-p {sampling.top_p:g}" * (sampling.top_p < 1.0)


def _threads(result: Result) -> str:
    """Threads of every process, where they matter."""
    plan = result.run.plan
    if result.is_emulated or plan.device != "cpu":
        return ""
    return f", {_count(plan.threads, 'thread')}" + " each" * (plan.backend != "local")


# The answer.


def _headline(result: Result, look: Look) -> Panel:
    answers = list(_answers(result, look))
    if not answers:
        return Panel.fit(_claim(result, look), padding=(0, 1))
    has_intervals = any(interval for _, _, interval in answers)
    table = Table.grid(padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    if has_intervals:
        table.add_column(no_wrap=True, style=look.style("dim"))
        table.add_row("", "", "95 % interval")
    for name, value, interval in answers:
        table.add_row(name, Text(value, look.style("bold")), *[interval] * has_intervals)
    return Panel.fit(Group(_claim(result, look), table), padding=(0, 1))


def _claim(result: Result, look: Look) -> Text:
    found, bold = result.figures, look.style("bold")
    if found.speedup is None:
        return Text(_without_speedup(result), bold)
    value, origin = found.speedup.mean, ", emulated" * result.is_emulated + _acceptance_forced(result)
    sign = Text(look.factor(value), look.style("bold green" if value >= 1 else "bold red"))
    return Text.assemble(sign, (f" over plain decoding in this run{origin}", bold))


def _acceptance_forced(result: Result) -> str:
    """How acceptance was decreed, behind a comma; nothing where it was not."""
    if not result.is_forced:
        return ""
    return f", acceptance forced{' and drafts free' * result.run.plan.draft.is_free}"


def _without_speedup(result: Result) -> str:
    found, origin = result.figures, ", emulated" * result.is_emulated
    if found.best is None:
        return "No sequence came to its end."
    if found.speculative is None:
        return f"Plain decoding{origin}" + ", before the run ended early" * (result.error is not None)
    if found.best.tokens_per_s is None:
        return "A single token has no time per token and no speedup."
    return f"Speculative pipeline decoding{origin}, plain decoding not measured"


def _answers(result: Result, look: Look) -> Iterator[tuple[str, str, str]]:
    """Yield name, value and interval of each figure."""
    found = result.figures
    if found.best is None:
        return
    if found.speedup is not None:
        yield "speedup", look.factor(found.speedup.mean), _interval(found.speedup, look)
    yield "tokens per second", look.number(_mean(found.best.tokens_per_s)), _interval(found.best.tokens_per_s, look)
    yield _times("time per token", found.best.time_per_token_s, look)
    yield _times("time to first token", found.best.time_to_first_token_s, look)


def _times(name: str, estimate: Estimate | None, look: Look) -> tuple[str, str, str]:
    if estimate is None:
        return name, look.none, ""
    interval = look.time(estimate.low, estimate.high, like_s=estimate.mean) if estimate.low is not None else ""
    return name, look.time(estimate.mean), interval


def _mean(estimate: Estimate | None) -> float | None:
    return None if estimate is None else estimate.mean


def _interval(estimate: Estimate | None, look: Look) -> str:
    if estimate is None or estimate.low is None or estimate.high is None:
        return ""
    return f"{significant(estimate.low)} to {significant(estimate.high)}"


# What it rests on.


def _facts(result: Result, look: Look) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style=look.style("dim"), no_wrap=True)
    table.add_column()
    for name, value in _lines(result, look):
        table.add_row(name, value)
    return table


def _lines(result: Result, look: Look) -> Iterator[tuple[str, str]]:
    found, plan = result.figures, result.run.plan
    if found.speedup is not None and found.plain is not None:
        yield "plain decoding", _plain(result, found.plain, look)
    if found.acceptance_probability is not None:
        share = f"{significant(found.acceptance_probability)}: {found.num_accepted:,} of {found.num_drafts:,}"
        yield (
            "acceptance",
            f"{share} verified drafts{', forced' if result.is_forced else ''}{' and free' * plan.draft.is_free}",
        )
    if found.closed_form_speedup is not None:
        yield "law's speedup", f"{look.factor(found.closed_form_speedup)} with equal stages and all else free"
    if found.tokens_per_cycle is not None:
        yield "tokens per cycle", significant(found.tokens_per_cycle)
    if found.equivalent_accept_length is not None:
        length = significant(found.equivalent_accept_length)
        yield "accept length", f"{length} (equivalent, of {plan.layout.num_stages})"
    if found.differences is not None:
        count = len(found.differences)
        yield (
            "tokens",
            "those of plain decoding" if not count else f"not plain decoding's in {_count(count, 'sequence')}",
        )
    if (unfinished := result.unfinished) is not None:
        yield "unfinished", _unfinished(result, unfinished)
    yield "run", ", ".join(_tally(result))
    if result.load_s is not None and not result.is_emulated:
        yield "loading", look.time(result.load_s)


def _unfinished(result: Result, number: int) -> str:
    """How far the job came that did not end."""
    job, tokens, verdicts = result.run.jobs[number], result.tokens[number], result.verdicts[number][1:]
    far = f"{len(tokens):,} of {_count(job.max_new_tokens, 'token')} of sequence {job.sequence}"
    return far if job.method == "plain" else f"{far}, {sum(verdicts):,} of {len(verdicts):,} verified drafts"


def _plain(result: Result, plain: Decoding, look: Look) -> str:
    speed = (
        f"{look.number(_mean(plain.tokens_per_s))} tokens per second, {look.time(_mean(plain.time_per_token_s))} each"
    )
    return f"{speed}: over the same stages, one after another, {_places(result)}{_threads(result)}"


def _tally(result: Result) -> Iterator[str]:
    found = result.figures
    yield _count(found.best.num_sequences if found.best else 0, "sequence")
    yield _count(found.best.num_tokens if found.best else 0, "token")
    if found.num_cycles is not None:
        yield _count(found.num_cycles, "cycle")
        yield _count(found.num_drafts - found.num_accepted, "rejection")


# Who holds what.


def _workers(result: Result, look: Look) -> Iterator[RenderableType]:
    plan = result.run.plan
    table = Table(box=None, pad_edge=False, header_style=look.style("dim"))
    heads = (
        ("worker", "device", "layers", "holds")
        if result.shares_process
        else ("worker", "device", "layers", "holds", "peak")
    )
    for head in heads:
        table.add_column(head, justify="left" if head in ("worker", "device") else "right", no_wrap=True)
    labels = worker_labels(plan.layout.role(worker) for worker in range(plan.layout.num_workers))
    for report in result.reports:
        is_stage = plan.layout.role(report.worker) == "stage"
        layers = str(plan.layers[plan.layout.stage_of(report.worker)]) if is_stage else look.none
        sizes = (_size(report.held_bytes), _size(report.peak_bytes))
        table.add_row(labels[report.worker], result.devices[report.worker], layers, *sizes[: len(heads) - 3])
    yield table
    peak = "peak: the most memory in use"
    if result.shares_process:
        peak = f"the process had {_size(result.reports[0].peak_bytes)} in use at its peak"
    yield Text(f"holds: weights, caches and states; {peak}", look.style("dim"))


def _count(count: int, noun: str) -> str:
    if count == 1:
        return f"1 {noun}"
    return f"{count:,} {noun}{'es' if noun.endswith('s') else 's'}"


def _size(num_bytes: float) -> str:
    unit, factor = next((unit, factor) for unit, factor, least in _SIZES if num_bytes >= least)
    return f"{significant(num_bytes / factor)} {unit}"


_SIZES = (("GB", 1e9, 0.9995e9), ("MB", 1e6, 0.9995e6), ("kB", 1e3, 0.0))
"""A unit, how many bytes it has, and the fewest bytes that are told in it."""
