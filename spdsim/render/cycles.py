"""The timeline by cycles: what every worker did in each cycle, however long it took.

The schedule's grid, on its side, read off a trace.
"""

from collections import defaultdict

from rich.text import Text

from spdsim.analysis.fate import fates, rejections
from spdsim.errors import InputError
from spdsim.render.axes import Scale
from spdsim.render.kinds import (
    ABANDONED_WORK,
    DRAFT,
    FORWARD,
    IDLE,
    KINDS,
    PREFILL,
    REJECTION_STYLE,
    VERIFY,
    WASTED_DRAFT,
    WASTED_FORWARD,
    glyph,
    kind_of,
)
from spdsim.render.look import Look
from spdsim.render.window import CycleStarts
from spdsim.trace import Trace, worker_labels

_OWN_ROW = -1
"""Verification has a row of its own: it happens beside a stage, a draft, or on all ranks at once."""

_SHOWN = {PREFILL, FORWARD, WASTED_FORWARD, DRAFT, WASTED_DRAFT, VERIFY, ABANDONED_WORK}

Piece = tuple[int, int]


def cycle_rows(
    trace: Trace, sequence: int, starts: CycleStarts, scale: Scale, look: Look
) -> tuple[list[tuple[str, Text]], set[int]]:
    """Return the labelled rows of a timeline by cycle, and the kinds that they show.

    scale: a window that has room for every cycle that begins in it, see `with_room`.
    """
    mine = trace.select(sequence, sequence + 1)
    pieces = _pieces(mine)
    width = _column_width(mine, starts)
    cycles = range(starts.cycle_at(scale.start_s), starts.cycle_at(scale.end_s))
    rejected = {cycle: position for _, cycle, position, _ in rejections(mine)}
    marks = "".join((f"{look.mark}{rejected[cycle]}" if cycle in rejected else "").ljust(width) for cycle in cycles)
    rows = [
        ("cycle", Text("".join(str(cycle).ljust(width) for cycle in cycles), look.style("dim"))),
        ("rejected", Text(marks.rstrip(), look.style(REJECTION_STYLE))),
    ]
    labels = dict(enumerate(worker_labels(worker.role for worker in trace.header.workers)))
    # All that the LM head's own worker does stands in the row of verifications.
    labels = {worker: label for worker, label in labels.items() if label != "head"} | {_OWN_ROW: "verify"}
    kinds = {IDLE}
    for worker, label in labels.items():
        shown = [pieces.get((worker, cycle)) for cycle in cycles]
        kinds.update(piece[0] for piece in shown if piece)
        rows.append((label, Text.assemble(*(_cell(piece, width, look) for piece in shown))))
    return rows, kinds


def with_room(trace: Trace, sequence: int, starts: CycleStarts, scale: Scale) -> Scale:
    """Return the window with as many of the cycles that begin in it as there is room for.

    Raises InputError if none begins in it.
    """
    width, first = _column_width(trace.select(sequence, sequence + 1), starts), starts.cycle_at(scale.start_s)
    if first >= starts.cycle_at(scale.end_s):
        raise InputError(f"window lies within cycle {first - 1} of sequence {sequence}: must hold the start of a cycle")
    most = first + max(scale.num_cells // width, 1)
    return Scale(scale.start_s, min(scale.end_s, starts.at(most)), scale.num_cells)


def _column_width(mine: Trace, starts: CycleStarts) -> int:
    return max(len(f"x{max(mine.position)}"), len(str(starts.last))) + 1


def _pieces(trace: Trace) -> dict[tuple[int, int], Piece]:
    """Return (kind, position) by (worker, cycle); a worker's row shows its first such piece of a cycle."""
    found: dict[tuple[int, int], Piece] = defaultdict(lambda: (IDLE, -1))
    for span, fate in zip(trace.spans(), fates(trace).tolist(), strict=True):
        kind = kind_of(span.op, fate)
        if kind in _SHOWN:
            row = _OWN_ROW if kind == VERIFY else span.worker
            found.setdefault((row, span.cycle), (kind, span.position))
    return found


def _cell(piece: Piece | None, width: int, look: Look) -> Text:
    """One cycle of one worker: a block and a blank, so that neighbours stay apart."""
    if piece is None:
        return Text(glyph(IDLE, look).ljust(width), look.style(KINDS[IDLE].styles[0]))
    kind, position = piece
    name = KINDS[kind].letter + (str(position) if position >= 0 else "")
    return Text.assemble((name.ljust(width - 1), look.style(KINDS[kind].styles[0])), " ")
