"""The published evidence, read once, and tables made from it."""

import csv
from collections.abc import Callable
from functools import cache
from pathlib import Path

from spdsim.evidence import Breakdown, Table, read_breakdown, read_table
from spdsim.fitting import Fit, fit_profile

ROOT = Path(__file__).resolve().parent.parent
TABLE = ROOT / "scenarios" / "published" / "spd_table.csv"
BREAKDOWN = ROOT / "scenarios" / "published" / "cycle_breakdown.csv"
PROFILE = ROOT / "scenarios" / "profiles" / "published-qwen3.5.yaml"

Cells = dict[str, str]


@cache
def table() -> Table:
    """Return the published table."""
    return read_table(TABLE)


@cache
def breakdowns() -> tuple[Breakdown, ...]:
    """Return the published breakdowns."""
    return read_breakdown(BREAKDOWN)


@cache
def fitted() -> Fit:
    """Return the fit to them."""
    return fit_profile(table().rows, breakdowns(), "published")


def changed_table(path: Path, change: Callable[[Cells], Cells]) -> Path:
    """Write the published table to `path`, every line changed, and return it."""
    with TABLE.open(encoding="utf-8", newline="") as file:
        lines = [change(dict(cells)) for cells in csv.DictReader(file)]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, lines[0])
        writer.writeheader()
        writer.writerows(lines)
    return path
