"""What was measured, as plain values: published tables and breakdowns of a cycle, and the probes of a machine.

Standard library only. Knows nothing of scenarios or of the simulator.
"""

from spdsim.evidence.breakdown import Breakdown, read_breakdown
from spdsim.evidence.plain import PlainRow, PlainTable, is_plain_table, read_plain_table
from spdsim.evidence.probes import Probe, Probes, read_probes
from spdsim.evidence.table import Row, Table, read_table

__all__ = [
    "Breakdown", "PlainRow", "PlainTable", "Probe", "Probes", "Row", "Table", "is_plain_table", "read_breakdown",
    "read_plain_table", "read_probes", "read_table",
]  # fmt: skip
