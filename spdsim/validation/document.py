"""A validation as plain data for JSON, keys in a fixed order."""

from dataclasses import asdict
from typing import Any

from spdsim import __version__
from spdsim.evidence.table import NUMBERS
from spdsim.fitting import LeftOut
from spdsim.scenario.profile import VERSION
from spdsim.validation.report import Line, Validation

SCHEMA_VERSION = 1


def validation_document(found: Validation) -> dict[str, Any]:
    """Return the document of a validation: header, grade, rows, groups, limits, leave-one-out."""
    graded = found.graded
    return {
        "format": "spd-validation",
        "schema_version": SCHEMA_VERSION,
        "tool_version": __version__,
        "profile": {
            "path": found.profile, "version": VERSION, "origin": found.profile_origin, "source": found.profile_source,
        },
        "table": {"path": found.table, "num_rows": len(found.lines)},
        "grade": found.grade,
        "graded_group": None if graded is None else {"by": graded.by, "value": graded.value},
        "rows": [_line(line, has_interval=found.has_intervals) for line in found.lines],
        "groups": [asdict(group) for group in found.groups],
        "leave_one_out": [_left_out(out) for out in found.left_out],
        "limits": list(found.limits),
    }  # fmt: skip


def _line(line: Line, *, has_interval: bool) -> dict[str, Any]:
    cells = {column: _value(column, cell) for column, cell in line.record.cells.items()}
    prediction = line.prediction
    cycles = prediction.cycles if prediction else None
    return {
        **cells,
        "status": line.status,
        "predicted_wall_speedup": prediction.wall_speedup if prediction else None,
        "interval": [prediction.low, prediction.high] if prediction and has_interval else None,
        "error_fraction": line.error,
        "is_counted": line.is_counted,
        "full_cycle_s": cycles.full_s if cycles else None,
        "refill_s": cycles.refill_s if cycles else None,
        "is_draft_bound": cycles.is_draft_bound if cycles else None,
        "beyond_evidence": list(prediction.outside) if prediction else [],
        "rule_wall_speedup": prediction.rule_speedup if prediction else None,
        "rule_error_fraction": line.rule_error,
    }


def _value(column: str, cell: str) -> float | int | str | None:
    """A cell as JSON has it: a number in a column of numbers, null where it is empty."""
    if not cell:
        return None
    if column not in NUMBERS:
        return cell
    number = float(cell)
    return int(number) if number.is_integer() and "." not in cell else number


def _left_out(out: LeftOut) -> dict[str, Any]:
    return {
        "stages": out.stages,
        "num_rows": len(out.errors),
        "mean_error": out.mean_error,
        "mean_absolute_error": out.mean_absolute_error,
        "largest_error": max((error for _, error in out.errors), key=abs),
        "no_evidence_error_fractions": [error for _, error in out.no_evidence],
    }
