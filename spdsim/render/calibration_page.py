"""A calibration as a file to hand on: Markdown, or a page that needs nothing else."""

from collections.abc import Iterator

from spdsim.calibration.fit import Calibration
from spdsim.calibration.proof import Proof
from spdsim.render.calibration import errors, facts, print_calibration, sheets, worst_title
from spdsim.render.comparison import grade_steps
from spdsim.render.comparison_page import comparison_lines
from spdsim.render.look import Look
from spdsim.render.page import page, page_console
from spdsim.render.sheet import escaped, markdown_section


def calibration_html(calibration: Calibration, proof: Proof | None, title: str) -> str:
    """Return a page in HTML that shows what the terminal would, in colour; it needs no other file."""
    console = page_console()
    print_calibration(calibration, proof, console, title=title)
    return page(console, title)


def calibration_markdown(calibration: Calibration, proof: Proof | None, title: str) -> str:
    """Return the same in Markdown."""
    return "\n".join(_markdown(calibration, proof, title)) + "\n"


def _markdown(calibration: Calibration, proof: Proof | None, title: str) -> Iterator[str]:
    yield f"# {escaped(title)}"
    yield ""
    yield from (f"- {escaped(line)}" for line in facts(calibration))
    if proof is not None:
        yield ""
        yield f"**Grade {proof.grade}** ({grade_steps()})"
        yield ""
        yield from (f"- {line}" for line in errors(proof))
    for sheet in sheets(calibration, proof, Look(colour=False)):
        yield from markdown_section(sheet)
    if proof is not None:
        worst = proof.worst
        yield ""
        yield f"## {worst_title(proof)}"
        yield ""
        yield from comparison_lines(worst.comparison, worst.measured, worst.predicted, level=3)
