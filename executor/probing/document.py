"""The JSON document of the probes: on what machine, of what run, when, and every figure."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from executor.plan import Plan
from executor.probing.findings import Measured, Skipped

FORMAT, VERSION = "spd-probes", 1


def probes_document(
    plan: Plan, model_name: str, machine: Mapping[str, Any], measured: tuple[Measured, ...],
    skipped: tuple[Skipped, ...],
) -> dict[str, Any]:  # fmt: skip
    """Return all that was found as plain data, keys in a fixed order. machine: as `executor.machine_info` tells it."""
    return {
        "format": FORMAT,
        "version": VERSION,
        "machine": dict(machine),
        "run": {
            "model": model_name,
            "dtype": plan.dtype,
            "launch": plan.launch,
            "backend": plan.backend,
            "device": plan.device,
            "threads": plan.threads,
            "stages": plan.layout.num_stages,
            "layers": list(plan.layers),
            "draft_layers": None if plan.layout.num_stages == 1 else plan.draft.num_layers,
        },
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "probes": [each.to_document() for each in measured],
        "skipped": [{"what": each.what, "why": each.why} for each in skipped],
    }
