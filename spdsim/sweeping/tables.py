"""A sweep as a file for other programs: CSV, or Parquet where pyarrow is installed."""

import csv
from pathlib import Path

from spdsim.errors import InputError
from spdsim.sweeping.result import Sweep, columns


def write_csv(sweep: Sweep, path: Path) -> None:
    """Write a line for each point; what a point has not is empty, truth values are true and false."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns(sweep.keys))
        for row in sweep.rows():
            writer.writerow([str(cell).lower() if isinstance(cell, bool) else cell for cell in row.values()])


def check_parquet() -> None:
    """Raise InputError where Parquet cannot be written."""
    try:
        import pyarrow.parquet  # noqa: F401  only whether it is there
    except ImportError:
        raise InputError("--parquet needs pyarrow, which is not installed: pip install 'spdsim[parquet]'") from None


def write_parquet(sweep: Sweep, path: Path) -> None:
    """Write the same columns as a Parquet file; a column whose values are of several kinds is text."""
    import pyarrow
    import pyarrow.parquet

    rows = list(sweep.rows())
    cells = {name: [row[name] for row in rows] for name in columns(sweep.keys)}
    for key in sweep.keys:
        kinds = {type(cell) for cell in cells[key] if cell is not None}
        if not (kinds <= {int, float} or len(kinds) <= 1):
            cells[key] = [None if cell is None else str(cell) for cell in cells[key]]
        elif kinds == {int, float}:
            cells[key] = [None if cell is None else float(cell) for cell in cells[key]]
    pyarrow.parquet.write_table(pyarrow.table(cells), path)
