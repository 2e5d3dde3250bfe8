"""What a matrix product takes with several rows, over what it takes with one: from a published table.

Rows are tokens that are looked at together: those of a draft that is verified, say.
"""

from functools import cache
from itertools import pairwise

from spdsim.scenario.catalogue import entries
from spdsim.scenario.hardware import Provenance

_ENTRY = "matrix-product"


@cache
def rows_factor(rows: int) -> float:
    """Return the time of a product with `rows` rows over that with one, at least 1.

    Linear between the table's numbers of rows; beyond the last one it goes on as between the last two.
    Source: NVIDIA AIConfigurator, GEMM tables. Raises ValueError for less than one row.
    """
    if rows < 1:
        raise ValueError(f"rows is {rows}: must be at least 1")
    table = entries("rows")[_ENTRY]
    points = list(zip(table["rows"], table["factor"], strict=True))
    spans = list(pairwise(points))
    (low, at_low), (high, at_high) = next((span for span in spans if rows <= span[1][0]), spans[-1])
    return float(at_low + (rows - low) / (high - low) * (at_high - at_low))


def rows_provenance() -> Provenance:
    """Return where the factor comes from."""
    table = entries("rows")[_ENTRY]
    return Provenance(origin=table["origin"], source=table["source"])
