"""How every worker spends its time, as a table that stays readable with 128 stages."""

from collections.abc import Sequence

from rich.console import Group
from rich.table import Table
from rich.text import Text

from spdsim.analysis.report import Report, WorkerShares
from spdsim.render.look import Look, percent
from spdsim.render.words import CAUSES
from spdsim.trace import worker_labels

_SHARES = ("useful", "wasted", "idle")
_STYLES = ("#3f83cc", "#d9622b", "dim")
_MOST_ROWS = 24
_ENDS = 4
_FEWEST_BAR_CELLS, _MOST_BAR_CELLS = 8, 30


def workers(report: Report, width: int, look: Look) -> Group:
    """Return the shares of each worker in per cent, with a bar where `width` has room for one."""
    labels = worker_labels(worker.role for worker in report.workers)
    # A cause that no worker knows is no column.
    causes = [cause for cause in CAUSES if any(w.idle_by_cause.get(cause, 0.0) > 0 for w in report.workers)]
    heads = [*_SHARES, *(CAUSES[cause] for cause in causes)]
    gap, cells = _layout(heads, max(map(len, labels), default=0), width)
    table = Table(box=None, pad_edge=False, padding=(0, gap, 0, 0), header_style=look.style("dim"))
    table.add_column("%", vertical="bottom", no_wrap=True)
    table.add_column("", width=cells, no_wrap=True)
    for head in heads:
        table.add_column(head, justify="right", vertical="bottom", no_wrap=True)
    previous = -1
    for i in _chosen(report.workers):
        if i > previous + 1:
            table.add_row(Text(f"{'…' if look.unicode else '...'} {i - previous - 1}", look.style("dim")))
        table.add_row(labels[i], *_row(report.workers[i], causes, cells, look))
        previous = i
    return Group(table, *_notes(report, look))


def _layout(heads: Sequence[str], label_width: int, width: int) -> tuple[int, int]:
    """Return the gap between columns and the cells of the bar, 0 where there is no room for one."""
    columns = label_width + sum(max(map(len, head.split("\n"))) for head in heads)
    for gap in (2, 1):
        room = width - columns - gap * (len(heads) + 2)
        if room >= _FEWEST_BAR_CELLS:
            return gap, min(room, _MOST_BAR_CELLS)
    return 1, 0


def _row(worker: WorkerShares, causes: Sequence[str], cells: int, look: Look) -> list[Text | str]:
    shares = (worker.useful_fraction, worker.wasted_fraction, worker.idle_fraction)
    bar = look.bar(shares, _STYLES, "".join(look.shades), cells)
    by_cause = (worker.idle_by_cause.get(cause, 0.0) for cause in causes)
    return [bar, *map(percent, shares), *(percent(share) if share > 0 else "" for share in by_cause)]


def _chosen(workers: Sequence[WorkerShares]) -> list[int]:
    """Return which workers to show: all of a few; of many, both ends and the extremes of every share."""
    if len(workers) <= _MOST_ROWS:
        return list(range(len(workers)))
    numbers = range(len(workers))
    chosen = {*numbers[:_ENDS], *numbers[-_ENDS:]}
    for name in _SHARES:
        shares = [getattr(worker, f"{name}_fraction") for worker in workers]
        chosen |= {shares.index(min(shares)), shares.index(max(shares))}
    return sorted(chosen)


def _notes(report: Report, look: Look) -> list[Text]:
    names = ("useful", "wasted (flushed)", "idle, taken apart by cause on the right")
    notes = [look.key(*zip(look.shades, _STYLES, names, strict=True))]
    if len(report.workers) > _MOST_ROWS:
        notes.append(Text("Workers that are not shown lie between the extremes that are.", look.style("dim")))
    return notes
