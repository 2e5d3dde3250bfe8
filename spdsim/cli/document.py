"""The JSON document of a run: what was run, and every figure of the report."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spdsim import __version__

if TYPE_CHECKING:
    from spdsim.analysis.report import Report
    from spdsim.cli.outputs import Outputs
    from spdsim.machine import Machine, Origin
    from spdsim.scenario import Scenario

STDOUT = Path("-")
"""The file name that stands for standard output."""


def run_document(
    report: "Report", scenario: "Scenario | None" = None, machine: "Machine | None" = None
) -> dict[str, Any]:
    """Return the document of `report` as plain data, keys in a fixed order.

    `scenario`, `seed`, `replications` and `origins` are None where only the trace is known.
    """
    figures = report.to_document()
    return {
        "schema_version": figures.pop("schema_version"),
        "tool_version": __version__,
        **_run(scenario),
        "origins": None if machine is None else [origin_document(origin) for origin in machine.origins],
        "warnings": [] if machine is None else list(machine.warnings),
        **figures,
    }


def document_text(document: dict[str, Any]) -> str:
    """Return `document` as strict JSON: what is not a finite number is null."""
    return json.dumps(_finite(document), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


class JsonOutput:
    """Where a command's JSON document goes: a file that is reserved at once, standard output, or nowhere.

    has_stdout: standard output holds the document, and nothing else.
    """

    def __init__(self, outputs: "Outputs", path: Path | None) -> None:
        self.has_stdout = path == STDOUT
        self._file = None if self.has_stdout else outputs.reserve(path)

    def write(self, make: Callable[[], dict[str, Any]]) -> None:
        """Write what `make` returns where it was asked for, if it was."""
        if self._file:
            self._file.write_text(document_text(make()), encoding="utf-8")
        elif self.has_stdout:
            from spdsim.cli.screen import print_text

            print_text(document_text(make()))


def _run(scenario: "Scenario | None") -> dict[str, Any]:
    if scenario is None:
        return {"scenario": None, "seed": None, "replications": None}
    from spdsim.scenario import scenario_document

    return {
        "scenario": scenario_document(scenario),
        "seed": scenario.seed,
        "replications": scenario.replications,
    }


def origin_document(origin: "Origin") -> dict[str, str]:
    """Return an origin as plain data."""
    return {"figure": origin.what, "origin": origin.kind, "source": origin.source}


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
