"""The JSON document of a run: what was run, and every figure of the report."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spdsim import __version__

if TYPE_CHECKING:
    from spdsim.analysis.report import Report
    from spdsim.scenario import Scenario

STDOUT = Path("-")
"""The file name that stands for standard output."""


def run_document(report: "Report", scenario: "Scenario | None" = None, warnings: Sequence[str] = ()) -> dict[str, Any]:
    """Return the document of `report` as plain data, keys in a fixed order.

    `scenario`, `seed` and `replications` are None where only the trace is known.
    warnings: what may be wrong with the scenario, a sentence each.
    """
    figures = report.to_document()
    return {
        "schema_version": figures.pop("schema_version"),
        "tool_version": __version__,
        **_run(scenario),
        "warnings": list(warnings),
        **figures,
    }


def document_text(document: dict[str, Any]) -> str:
    """Return `document` as strict JSON: what is not a finite number is null."""
    return json.dumps(_finite(document), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _run(scenario: "Scenario | None") -> dict[str, Any]:
    if scenario is None:
        return {"scenario": None, "seed": None, "replications": None}
    from spdsim.scenario import scenario_document

    return {
        "scenario": scenario_document(scenario),
        "seed": scenario.seed,
        "replications": scenario.replications,
    }


def _finite(value: Any) -> Any:
    match value:
        case float():
            return value if math.isfinite(value) else None
        case dict():
            return {key: _finite(entry) for key, entry in value.items()}
        case list() | tuple():
            return [_finite(entry) for entry in value]
        case _:
            return value
