"""A fit for people: what it used, its parameters with their errors, and how it holds against what it was made of."""

from collections.abc import Iterator, Sequence

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from spdsim.fitting import Fit, LeftOut, ProfiledCycle, RivalFigure
from spdsim.render.look import Look
from spdsim.render.trim import Trimmed
from spdsim.render.validation import left_out_table, signed

_MEANINGS = {
    "stage_fixed_s": ("stage, fixed", 1e3, "ms", "what a stage takes once a cycle beside its layers"),
    "profiler_factor": ("profiler factor", 1.0, "", "by how much the profiler stretches what computes"),
    "sampling_s": ("sampling", 1e3, "ms", "what sampling adds to a verification"),
}
"""A fitted parameter's name in the profile, its unit, and what it is."""

_OF_RIVALS = {
    "rivals.early_exit_s": ("ppsd: exit", "a draft by an early exit of one layer"),
    "rivals.round_token_s": ("eagle3: token", "what each token takes beside drafts and verifications"),
}
"""The same of other methods, in milliseconds."""


def print_fit(
    fit: Fit, cycles: Sequence[ProfiledCycle], left_out: Sequence[LeftOut], console: Console, *, title: str,
    rivals: Sequence[RivalFigure] = (),
) -> None:  # fmt: skip
    """Print a fit on `console`. rivals: what other methods take."""
    look = Look.of(console)
    for part in _parts(fit, cycles, left_out, rivals, title, look):
        console.print(Trimmed(part))


def _parts(
    fit: Fit, cycles: Sequence[ProfiledCycle], left_out: Sequence[LeftOut], rivals: Sequence[RivalFigure], title: str,
    look: Look,
) -> Iterator[RenderableType]:  # fmt: skip
    yield Text(title, look.style("bold"))
    greedy = sum(not row.is_sampled for row in fit.rows)
    counts = " and ".join(str(breakdown.stages) for breakdown in fit.breakdowns)
    yield Text(
        f"{greedy} greedy and {len(fit.rows) - greedy} sampled rows; breakdowns with {counts} stages; "
        f"{fit.num_rounds} rounds",
        look.style("dim"),
    )
    yield ""
    yield _parameters(fit, look)
    scatter = 100.0 * fit.scatter_fraction
    yield Text(f"What is left scatters by {scatter:.2f} % (one standard deviation).", look.style("dim"))
    yield ""
    yield Text("Full cycle, profiler on", look.style("bold"))
    yield _cycles(cycles, look)
    if left_out:
        yield ""
        yield Text("Each number of stages left out of the fit, and then predicted", look.style("bold"))
        yield left_out_table(left_out, look)
    if rivals:
        yield ""
        yield Text("Other methods, each fitted to its own rows", look.style("bold"))
        yield _of_rivals(rivals, look)


def _of_rivals(rivals: Sequence[RivalFigure], look: Look) -> Table:
    table = _fitted(look)
    for each in rivals:
        name, meaning = _OF_RIVALS[each.key]
        table.add_row(name, f"{1e3 * each.value_s:.3f} ms", f"{1e3 * each.std_s:.3f} ms", meaning)
    return table


def _fitted(look: Look) -> Table:
    table = Table(box=None, pad_edge=False, header_style=look.style("dim"))
    table.add_column("fitted", no_wrap=True)
    table.add_column("value", justify="right", no_wrap=True)
    table.add_column("std. error", justify="right", no_wrap=True)
    table.add_column("", style=look.style("dim"))
    return table


def _parameters(fit: Fit, look: Look) -> Table:
    table = _fitted(look)
    for parameter in fit.estimates:
        name, factor, unit, meaning = _MEANINGS[parameter.name]
        error = "no evidence" if parameter.std is None else f"{factor * parameter.std:.3f} {unit}"
        if parameter.name in fit.held:
            error = "held at least"
        table.add_row(name, f"{factor * parameter.value:.3f} {unit}", error, meaning)
    return table


def _cycles(cycles: Sequence[ProfiledCycle], look: Look) -> Table:
    table = Table(box=None, pad_edge=False, header_style=look.style("dim"))
    for head in ("n", "L_s", "published", "simulated", "error"):
        table.add_column(head, justify="right", no_wrap=True)
    for cycle in cycles:
        table.add_row(
            str(cycle.stages), str(cycle.draft_layers), f"{1e3 * cycle.published_s:.2f} ms",
            f"{1e3 * cycle.predicted_s:.2f} ms", signed(cycle.error, look),
        )  # fmt: skip
    return table
