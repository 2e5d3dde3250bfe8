"""A calibration for people: what was measured of tasks and messages, and how the profile predicts what it has not seen.

Fits 80 columns; nothing is told by colour alone.
"""

from collections.abc import Iterator

from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.text import Text

from spdsim.calibration.fit import Calibration
from spdsim.calibration.proof import Proof
from spdsim.render.blocks import heading
from spdsim.render.calibration_sheets import acceptance_sheet, probe_sheet, profile_sheet, proof_sheet
from spdsim.render.comparison import GRADE_STYLES, grade_steps, print_comparison
from spdsim.render.look import Look
from spdsim.render.sheet import Sheet, terminal_section
from spdsim.render.trim import Trimmed

_FACTS = {
    "cores": "{} cores", "torch": "torch {}", "cuda": "CUDA {}", "driver": "driver {}", "nccl": "NCCL {}",
    "python": "Python {}", "threads": "threads: {}", "emulated": "emulated: {}",
}  # fmt: skip
_NOT_TOLD = ("host_os", "date", "spdsim", "commit")
"""What is told of a machine, and what only its profile tells."""

_NAMES = ("the executor's run", "the profile's simulation")


def print_calibration(calibration: Calibration, proof: Proof | None, console: Console, *, title: str) -> None:
    """Print a calibration, the proof of it, and the worst of what was predicted, both runs below each other."""
    look = Look.of(console)
    for part in _parts(calibration, proof, title, look):
        console.print(Trimmed(part))
    if proof is not None:
        worst = proof.worst
        for part in heading(worst_title(proof), look):
            console.print(Trimmed(part))
        print_comparison(worst.comparison, worst.measured, worst.predicted, console, names=_NAMES)


def facts(calibration: Calibration) -> Iterator[str]:
    """Yield what was measured, in lines."""
    machine = calibration.profile.machine
    words = [_FACTS.get(key, "{}").format(value) for key, value in machine.items() if key not in _NOT_TOLD]
    if words:
        yield ", ".join(words)
    left_out = calibration.num_disturbed
    disturbed = f"; {left_out} more left out: something else held them up" if left_out else ""
    yield f"fitted to {len(calibration.names)} runs{disturbed}"
    noise = calibration.noise
    if noise.is_large:
        yield (
            f"a noisy machine: the same run differs by {100 * noise.fraction:.1f} % from round to round, for which the "
            "intervals are widened; more --rounds help"
        )


def errors(proof: Proof) -> Iterator[str]:
    """Yield the errors of all that was held out, in lines."""
    yield f"largest error of a mean cycle or time per token   {100 * proof.graded_error:.1f} %"
    yield f"mean error of the mean cycle   {100 * proof.mean_cycle_error:.1f} %"


def sheets(calibration: Calibration, proof: Proof | None, look: Look) -> Iterator[Sheet]:
    """Yield the tables, in their order."""
    if proof is not None:
        yield proof_sheet(proof.cells, look)
    yield profile_sheet(calibration.figures, calibration.curve, look)
    if calibration.acceptances:
        yield acceptance_sheet(calibration.acceptances, look)
    if calibration.probes is not None:
        yield probe_sheet(calibration.probes.probes, look)


def worst_title(proof: Proof) -> str:
    """Return the heading of the worst of what was held out."""
    return f"The worst: {proof.worst.config}"


def _parts(calibration: Calibration, proof: Proof | None, title: str, look: Look) -> Iterator[RenderableType]:
    yield Text(title, look.style("bold"))
    for line in facts(calibration):
        yield Text(line, look.style("dim"))
    if proof is not None:
        yield _headline(proof, look)
    for sheet in sheets(calibration, proof, look):
        yield from terminal_section(sheet, look)


def _headline(proof: Proof, look: Look) -> Panel:
    grade = Text.assemble(
        (f"Grade {proof.grade}", look.style(GRADE_STYLES.get(proof.grade, "bold red"))),
        (f"  {grade_steps()}", look.style("dim")),
    )
    return Panel.fit(Group(grade, *map(Text, errors(proof))), padding=(0, 1))
