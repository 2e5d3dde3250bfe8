"""A published breakdown of one steady cycle: seconds of every phase, recorded with a profiler on.

The authors' executor has one draft rank and one rank a stage. Phases of the draft rank, in their order:
tell the stages what to run (ctrl_prepare, ctrl_broadcast), post receipts (post_recv), draft (pdm_forward),
wait, verify, take in the features (recv_features), book-keep (driver_update), meet the others (cycle_sync).
Of a stage: its layers (last_stage_forward), pass the hidden state on (send_hidden) and the features (send_features).
"""

from dataclasses import dataclass
from os import PathLike, fspath
from types import MappingProxyType

from spdsim.errors import InputError
from spdsim.evidence.sheet import read_sheet
from spdsim.evidence.table import MOST_DRAFT_LAYERS, MOST_STAGES

_COLUMNS = ("stages", "draft_layers", "phase", "duration_ms")

PHASES = (
    "ctrl_prepare", "ctrl_broadcast", "post_recv", "pdm_forward", "verify", "recv_features", "driver_update",
    "cycle_sync", "last_stage_forward", "send_hidden", "cycle_wall",
)  # fmt: skip
"""The phases that a fit needs; others may be there."""

_NOT_ZERO = ("pdm_forward", "verify", "last_stage_forward", "cycle_wall")
"""The phases that always take time."""

_MOST_MS = 1e5
"""A phase of more than a hundred seconds is a mistake of units."""


@dataclass(frozen=True, slots=True)
class Breakdown:
    """One configuration's phases, seconds each."""

    stages: int
    draft_layers: int
    phases: MappingProxyType[str, float]

    def __getitem__(self, phase: str) -> float:
        return self.phases[phase]


def read_breakdown(path: str | PathLike[str]) -> tuple[Breakdown, ...]:
    """Return the breakdowns in a CSV file, by rising number of stages.

    Raises InputError, one line: file and line, column, value and rule; or the phase that is missing.
    """
    _, records = read_sheet(path, _COLUMNS)
    found: dict[tuple[int, int], dict[str, float]] = {}
    for record in records:
        which = record.whole("stages", 2, MOST_STAGES), record.whole("draft_layers", 1, MOST_DRAFT_LAYERS)
        phases = found.setdefault(which, {})
        phase = record.text("phase")
        if phase in phases:
            raise record.error("phase", "is given twice for this configuration: must be once")
        phases[phase] = record.number("duration_ms", is_above=phase in _NOT_ZERO, most=_MOST_MS) / 1e3
    for (stages, layers), phases in found.items():
        for phase in PHASES:
            if phase not in phases:
                case = f"{stages} stages and {layers} draft layers"
                raise InputError(f"{fspath(path)}: phase {phase} of {case} is missing: must be given")
    return tuple(Breakdown(n, layers, MappingProxyType(found[n, layers])) for n, layers in sorted(found))
