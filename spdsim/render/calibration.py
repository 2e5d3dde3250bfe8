"""A calibration for people: what was measured of tasks and messages, and how the profile predicts what it has not seen.

Fits 80 columns; nothing is told by colour alone.
"""

from collections.abc import Iterator, Sequence

from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from spdsim.calibration.fit import Calibration, Figure
from spdsim.calibration.proof import Cell, Proof
from spdsim.evidence import Probe
from spdsim.render.comparison import grade_steps, print_comparison
from spdsim.render.look import Look
from spdsim.render.trim import Trimmed
from spdsim.render.validation import heading, signed

_GRADE_STYLES = {"A": "bold green", "B": "bold green", "C": "bold yellow"}
_FACTS = {
    "cores": "{} cores", "torch": "torch {}", "cuda": "CUDA {}", "driver": "driver {}", "nccl": "NCCL {}",
    "python": "Python {}", "threads": "threads: {}", "emulated": "emulated: {}",
}  # fmt: skip
_NOT_TOLD = ("host_os", "date", "spdsim")
"""What is told of a machine, and what only its profile tells."""

NAMES = ("the executor's run", "the profile's simulation")


def print_calibration(calibration: Calibration, proof: Proof | None, console: Console, *, title: str) -> None:
    """Print a calibration, the proof of it, and the worst of what was predicted, both runs below each other."""
    look = Look.of(console)
    for part in _parts(calibration, proof, title, look):
        console.print(Trimmed(part))
    if proof is not None:
        worst = proof.worst
        for part in heading(f"The worst: {worst.config}", look):
            console.print(Trimmed(part))
        print_comparison(worst.comparison, worst.measured, worst.predicted, console, names=NAMES)


def _parts(calibration: Calibration, proof: Proof | None, title: str, look: Look) -> Iterator[RenderableType]:
    yield Text(title, look.style("bold"))
    for line in facts(calibration):
        yield Text(line, look.style("dim"))
    if proof is not None:
        yield _headline(proof, look)
        yield from heading("Runs that the fit has not seen", look)
        yield _cells(proof.cells, look)
        yield Text(
            "cycle and token: predicted with the run's own verdicts, in ms; p95: error of the cycle's; whole: error of "
            "the time per token with other coins of the same acceptance; within: intervals of the mean cycles meet",
            look.style("dim"),
        )
    yield from heading("What tasks and messages take", look)
    yield _figures(calibration.figures, look)
    yield Text(contention_words(calibration.curve), look.style("dim"))
    if calibration.probes is not None:
        yield from heading("What single operations take", look)
        yield _probes(calibration.probes.probes, look)


def probe_rows(probes: Sequence[Probe]) -> Iterator[tuple[str, str, str, str]]:
    """Yield operation, case, median and spread of every probe, in words."""
    for probe in probes:
        shown = seconds_text if probe.unit == "s" else _rate_text if probe.unit == "bytes/s" else "{:.2f}".format
        case = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in probe.params.items())
        yield probe.what.replace("_", " "), case, shown(probe.median), f"{shown(probe.p05)} to {shown(probe.p95)}"


def facts(calibration: Calibration) -> Iterator[str]:
    """Yield what was measured, in lines."""
    machine = calibration.profile.machine
    words = [_FACTS.get(key, "{}").format(value) for key, value in machine.items() if key not in _NOT_TOLD]
    if words:
        yield ", ".join(words)
    left_out = calibration.num_disturbed
    disturbed = f"; {left_out} more left out: something else held them up" if left_out else ""
    yield f"fitted to {len(calibration.names)} runs{disturbed}"


def contention_words(curve: Sequence[float]) -> str:
    """Return what workers that compute at a time do to each other, in words."""
    if not curve:
        return "Workers that compute at a time do not slow each other down."
    steps = ", ".join(f"{count} workers {speed:.2f}" for count, speed in enumerate(curve[1:], start=2))
    return f"What workers of a node get done together, over one alone: {steps}."


def seconds_text(seconds: float) -> str:
    """Return a duration with a unit that suits it."""
    for factor, unit in ((1.0, "s"), (1e3, "ms"), (1e6, "us")):
        if abs(seconds) * factor >= 1.0 or unit == "us":
            return f"{seconds * factor:.3g} {unit}"
    raise AssertionError


def _headline(proof: Proof, look: Look) -> RenderableType:
    grade = Text(f"grade {proof.grade}", look.style(_GRADE_STYLES.get(proof.grade, "bold red")))
    lines = [
        grade,
        Text(f"largest error of a mean cycle or time per token   {100 * proof.graded_error:.1f} %"),
        Text(f"mean error of the mean cycle   {100 * proof.mean_cycle_error:.1f} %"),
        Text(grade_steps(), look.style("dim")),
    ]
    return Panel(Group(*lines), expand=False, border_style=look.style("dim"))


def _cells(cells: Sequence[Cell], look: Look) -> Table:
    table = Table(box=None, pad_edge=False, header_style=look.style("dim"))
    for head in ("n", "p", "cycle", "meas.", "error", "p95", "token", "meas.", "error", "whole", "within"):
        table.add_column(head, justify="right", no_wrap=True)
    for cell in cells:
        cycle, p95 = cell.comparison.figure("cycle_mean_s"), cell.comparison.figure("cycle_p95_s")
        token = cell.comparison.figure("time_per_token_mean_s")
        within = {True: "yes", False: "no", None: "-"}[cycle.is_within]
        table.add_row(
            str(cell.config.stages), f"{cell.config.acceptance or 1.0:g}",
            *_pair(cycle.predicted, cycle.measured), signed(cycle.error_fraction or 0.0, look),
            signed(p95.error_fraction or 0.0, look), *_pair(token.predicted, token.measured),
            signed(token.error_fraction or 0.0, look), signed(cell.whole.time_per_token_error, look), within,
        )  # fmt: skip
    return table


def _pair(predicted_s: float | None, measured_s: float | None) -> tuple[str, str]:
    return tuple("-" if value is None else f"{1e3 * value:.2f}" for value in (predicted_s, measured_s))  # type: ignore[return-value]


def _rate_text(bytes_per_s: float) -> str:
    return f"{bytes_per_s / 1e9:.3g} GB/s"


def _probes(probes: Sequence[Probe], look: Look) -> Table:
    table = Table(box=None, pad_edge=False, header_style=look.style("dim"))
    table.add_column("operation", no_wrap=True)
    table.add_column("case", style=look.style("dim"))
    table.add_column("median", justify="right", no_wrap=True)
    table.add_column("5 to 95 %", justify="right", no_wrap=True)
    for row in probe_rows(probes):
        table.add_row(*row)
    return table


def _figures(figures: Sequence[Figure], look: Look) -> Table:
    table = Table(box=None, pad_edge=False, header_style=look.style("dim"))
    table.add_column("figure", no_wrap=True)
    table.add_column("mean", justify="right", no_wrap=True)
    table.add_column("+- 95 %", justify="right", no_wrap=True)
    table.add_column("samples", justify="right", no_wrap=True)
    table.add_column("follows", no_wrap=True, style=look.style("dim"))
    for figure in figures:
        table.add_row(
            figure.key, seconds_text(figure.mean), seconds_text(1.96 * figure.std_error), f"{figure.count:,}",
            figure.family,
        )  # fmt: skip
    return table
