"""The schedule as text: one line a cycle, one column a worker.

The picture in the docs, the golden file in the tests and the context of an error.
Standard library only. Knows nothing of time.

    cycle  draft   stage 0  stage 1  verdict
    0      D1      F0
    1      D2 V1   F1       F0       accept

F a stage's forward pass, D a draft, V a verification, C the combination of a sharded one, P the prefill;
the number is the position.
"""

from collections.abc import Iterable, Iterator

from spdsim.errors import InputError
from spdsim.schedules.ops import Compute, Verdict
from spdsim.schedules.spd import Layout, PipelineState, advance, program, start

LETTERS = {"prefill": "P", "forward": "F", "draft": "D", "verify": "V", "combine": "C"}
"""The letter of each task that the grid shows; bookkeeping and rollbacks are left out."""

_MIN_DRAFT_WIDTH = 6


def grid(layout: Layout, verdicts: str, prefill: bool = False) -> str:
    """Return the schedule of `layout` for one sequence of len(verdicts) + 1 tokens, as lines of text.

    verdicts: a letter per verified draft, "A" accepted or "R" rejected. prefill: show cycle -1 too.
    Raises InputError on any other letter.
    """
    for number, letter in enumerate(verdicts, start=1):
        if letter not in "AR":
            raise InputError(f"verdicts is {verdicts!r}: letter {number} must be A (accept) or R (reject)")
    header = ["cycle", *(_label(layout, worker) for worker in range(layout.num_workers)), "verdict"]
    rows = [row for row in _rows(layout, verdicts) if prefill or row[0] != "-1"]
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
    if layout.role(0) == "draft":
        widths[1] = max(widths[1], _MIN_DRAFT_WIDTH)
    return "\n".join(_line(row, widths) for row in (header, *rows)) + "\n"


def _label(layout: Layout, worker: int) -> str:
    role = layout.role(worker)
    return f"stage {layout.stage_of(worker)}" if role == "stage" else role


def _rows(layout: Layout, verdicts: str) -> Iterator[list[str]]:
    state = start(layout, len(verdicts) + 1)
    while not state.is_done:
        is_prefill = state.cycle < 0
        verdict = None
        if state.is_full:
            verdict = Verdict(is_prefill or verdicts[state.committed - 1] == "A")
        said = "" if verdict is None or is_prefill else "accept" if verdict.accepted else "reject"
        yield [str(state.cycle), *(_cell(state, worker) for worker in range(layout.num_workers)), said]
        state = advance(state, verdict)


def _cell(state: PipelineState, worker: int) -> str:
    return " ".join(_named(state, worker))


def _named(state: PipelineState, worker: int) -> Iterator[str]:
    for op in program(state, worker):
        if isinstance(op, Compute) and op.task in LETTERS:
            # The prompt has no position to name.
            yield LETTERS[op.task] + (str(op.position) if op.position >= 0 else "")


def _line(cells: Iterable[str], widths: list[int]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()
