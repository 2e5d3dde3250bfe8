"""The catalogue held against a table of plain decoding: errors of one device, and of tensor parallelism, apart."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from spdsim import __version__
from spdsim.evidence.plain import ALL_REDUCE_COLUMN, NUMBERS, PlainRow, PlainTable
from spdsim.evidence.sheet import Record
from spdsim.prediction.plain import predict_plain
from spdsim.validation.report import Status, error_sizes

SCHEMA_VERSION = 1

LIMITS = (
    "Catalogue figures, and what a row says of its engine (lm_head, all_reduce): nothing was fitted to the rows "
    "that count.",
    "Shards of tensor parallelism are smaller than most matrices in the published tables, and an engine may overlap "
    "or fuse its all-reduces: expect times that are too long at many devices.",
    "Context grows linearly in time; nothing is said of batches.",
)
"""What the figures cannot say."""


ONE_DEVICE = "one device"
"""The group that counts: nothing is shared between devices."""


@dataclass(frozen=True, slots=True)
class PlainLine:
    """A measurement and its prediction, seconds of a token."""

    record: Record
    row: PlainRow
    predicted_s: float | None

    @property
    def status(self) -> Status:
        """ok: compared; predicted: nothing measured to compare with; skipped: no figures for it."""
        if self.predicted_s is None:
            return "skipped"
        return "predicted" if self.row.token_s is None else "ok"

    @property
    def is_counted(self) -> bool:
        """Whether the row is a test: no figure of the catalogue follows from it."""
        return self.error is not None and self.row.use != "calibrate"

    @property
    def error(self) -> float | None:
        """Predicted over measured, less 1."""
        if self.predicted_s is None or self.row.token_s is None:
            return None
        return self.predicted_s / self.row.token_s - 1.0


@dataclass(frozen=True, slots=True)
class PlainGroup:
    """Errors of one device, or of several: mean, mean absolute, the largest with its sign."""

    name: str
    num_rows: int
    mean_error: float
    mean_absolute_error: float
    largest_error: float


@dataclass(frozen=True, slots=True)
class PlainValidation:
    """All that was found."""

    table: str
    lines: tuple[PlainLine, ...]
    groups: tuple[PlainGroup, ...]


def validate_plain(table: PlainTable) -> PlainValidation:
    """Predict every row and compare. Raises InputError for a model or a GPU that is not known."""
    lines = tuple(PlainLine(record, row, predict_plain(row)) for record, row in table.lines)
    apart = (
        (ONE_DEVICE, _errors(line for line in lines if not line.row.is_tensor_parallel)),
        ("tensor parallel", _errors(line for line in lines if line.row.is_tensor_parallel)),
    )
    return PlainValidation(
        table.path,
        lines,
        tuple(PlainGroup(name, len(errors), *error_sizes(errors)) for name, errors in apart if errors),
    )


def _errors(lines: Iterable[PlainLine]) -> list[float]:
    return [line.error for line in lines if line.is_counted and line.error is not None]


def plain_document(found: PlainValidation) -> dict[str, Any]:
    """Return the document of a validation of plain decoding."""
    return {
        "format": "spd-plain-validation",
        "schema_version": SCHEMA_VERSION,
        "tool_version": __version__,
        "table": {"path": found.table, "num_rows": len(found.lines)},
        "rows": [_line(line) for line in found.lines],
        "groups": [asdict(group) for group in found.groups],
        "limits": list(LIMITS),
    }


def _line(line: PlainLine) -> dict[str, Any]:
    cells = {
        column: (float(cell) if column in (*NUMBERS, ALL_REDUCE_COLUMN) else cell) if cell else None
        for column, cell in line.record.cells.items()
    }
    predicted_ms = None if line.predicted_s is None else 1e3 * line.predicted_s
    return {
        **cells,
        "status": line.status,
        "predicted_token_ms": predicted_ms,
        "error_fraction": line.error,
        "is_counted": line.is_counted,
    }
