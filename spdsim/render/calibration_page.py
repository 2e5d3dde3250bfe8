"""A calibration as a file to hand on: Markdown, or a page that needs nothing else."""

import io
from collections.abc import Iterator, Sequence

from rich.console import Console

from spdsim.calibration.fit import Calibration
from spdsim.calibration.proof import Cell, Proof
from spdsim.render.calibration import NAMES, contention_words, facts, print_calibration, probe_rows, seconds_text
from spdsim.render.comparison import grade_steps
from spdsim.render.comparison_page import comparison_markdown, page

_COLUMNS = 100


def calibration_html(calibration: Calibration, proof: Proof | None, title: str) -> str:
    """Return a page in HTML that shows what the terminal would, in colour; it needs no other file."""
    console = Console(
        record=True, width=_COLUMNS, file=io.StringIO(), force_terminal=True, color_system="truecolor",
        legacy_windows=False, no_color=False, highlight=False, _environ={},
    )  # fmt: skip
    print_calibration(calibration, proof, console, title=title)
    return page(console, title)


def calibration_markdown(calibration: Calibration, proof: Proof | None, title: str) -> str:
    """Return the same in Markdown."""
    return "\n".join(_markdown(calibration, proof, title)) + "\n"


def _markdown(calibration: Calibration, proof: Proof | None, title: str) -> Iterator[str]:
    yield f"# {title}"
    yield ""
    for line in facts(calibration):
        yield f"{line}  "
    yield ""
    if proof is not None:
        yield f"**Grade {proof.grade}**: the largest error of a held-out mean cycle or time per token is "
        yield f"{100 * proof.graded_error:.1f} %, the mean error of a mean cycle {100 * proof.mean_cycle_error:.1f} %."
        yield f"({grade_steps()})"
        yield ""
        yield "## Runs that the fit has not seen"
        yield ""
        yield from _table(
            ("configuration", "cycle", "measured", "error", "p95 error", "per token", "measured", "error",
             "whole model", "within"),
            [_row(cell) for cell in proof.cells],
        )  # fmt: skip
        yield ""
    yield "## What tasks and messages take"
    yield ""
    rows = [
        (f.key, seconds_text(f.mean), seconds_text(1.96 * f.std_error), f"{f.count:,}", f.family, f.how)
        for f in calibration.figures
    ]
    yield from _table(("figure", "mean", "± 95 %", "samples", "follows", "from"), rows)
    yield ""
    yield contention_words(calibration.curve)
    if calibration.probes is not None:
        yield ""
        yield "## What single operations take"
        yield ""
        yield from _table(("operation", "case", "median", "5 to 95 %"), list(probe_rows(calibration.probes.probes)))
    if proof is not None:
        worst = proof.worst
        yield ""
        yield f"## The worst: {worst.config}"
        yield ""
        yield comparison_markdown(worst.comparison, worst.measured, worst.predicted, NAMES).replace("\n#", "\n##")


def _row(cell: Cell) -> tuple[str, ...]:
    cycle, p95 = cell.comparison.figure("cycle_mean_s"), cell.comparison.figure("cycle_p95_s")
    token = cell.comparison.figure("time_per_token_mean_s")
    within = {True: "yes", False: "no", None: "-"}[cycle.is_within]
    return (
        str(cell.config), seconds_text(cycle.predicted or 0.0), seconds_text(cycle.measured or 0.0),
        _percent(cycle.error_fraction), _percent(p95.error_fraction), seconds_text(token.predicted or 0.0),
        seconds_text(token.measured or 0.0), _percent(token.error_fraction),
        _percent(cell.whole.time_per_token_error), within,
    )  # fmt: skip


def _percent(fraction: float | None) -> str:
    return "-" if fraction is None else f"{100 * fraction:+.1f} %"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield "| " + " | ".join(head) + " |"
    yield "|" + "---|" * len(head)
    for row in rows:
        yield "| " + " | ".join(row) + " |"
