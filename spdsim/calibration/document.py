"""A calibration as plain data, for `--json`."""

from typing import Any

from spdsim.acceptance_fit import fit_document
from spdsim.calibration.fit import Calibration
from spdsim.calibration.proof import Cell, Proof
from spdsim.comparison import to_document
from spdsim.evidence import Probe

SCHEMA_VERSION = 1


def calibration_document(calibration: Calibration, proof: Proof | None) -> dict[str, Any]:
    """Return figures, contention and every held-out configuration with its comparison."""
    return {
        "schema_version": SCHEMA_VERSION,
        "machine": dict(calibration.profile.machine),
        "runs": list(calibration.names),
        "num_disturbed": calibration.num_disturbed,
        "noise_fraction": calibration.noise.fraction,
        "figures": [
            {
                "figure": figure.key, "mean": figure.mean, "std_error": figure.std_error, "samples": figure.count,
                "family": figure.family, "how": figure.how,
            }
            for figure in calibration.figures
        ],
        "contention": list(calibration.curve),
        "acceptances": [fit_document(fit) for fit in calibration.acceptances],
        "probes": [] if calibration.probes is None else [_probe(probe) for probe in calibration.probes.probes],
        "grade": None if proof is None else proof.grade,
        "graded_error": None if proof is None else proof.graded_error,
        "mean_cycle_error": None if proof is None else proof.mean_cycle_error,
        "held_out": [] if proof is None else [_cell(cell) for cell in proof.cells],
    }  # fmt: skip


def _probe(probe: Probe) -> dict[str, Any]:
    return {
        "what": probe.what, "params": dict(probe.params), "unit": probe.unit, "samples": probe.count,
        "median": probe.median, "p05": probe.p05, "p95": probe.p95,
    }  # fmt: skip


def _cell(cell: Cell) -> dict[str, Any]:
    return {
        "stages": cell.config.stages,
        "acceptance": cell.config.acceptance,
        "draft_layers": cell.config.draft_layers,
        "timing": to_document(cell.comparison),
        "whole_model": to_document(cell.whole),
    }
