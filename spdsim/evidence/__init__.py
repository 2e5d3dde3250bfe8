"""What others have published, as plain values: tables of speedups and breakdowns of a cycle.

Standard library only. Knows nothing of scenarios or of the simulator.
"""

from spdsim.evidence.breakdown import Breakdown, read_breakdown
from spdsim.evidence.plain import PlainRow, PlainTable, is_plain_table, read_plain_table
from spdsim.evidence.table import Row, Table, read_table

__all__ = [
    "Breakdown", "PlainRow", "PlainTable", "Row", "Table", "is_plain_table", "read_breakdown", "read_plain_table",
    "read_table",
]  # fmt: skip
