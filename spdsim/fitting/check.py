"""The fitted profile held against the breakdowns: the engine's full cycle, with the profiler's factor back in."""

from dataclasses import dataclass, replace

from spdsim.evidence import Breakdown
from spdsim.fitting.fit import Fit
from spdsim.fitting.mechanisms import STAGE_FIXED
from spdsim.prediction import Case, cycles_of
from spdsim.scenario.profile_file import figure, with_figures


@dataclass(frozen=True, slots=True)
class ProfiledCycle:
    """One breakdown's full cycle, seconds, and what the engine gives with the profiler on."""

    stages: int
    draft_layers: int
    published_s: float
    predicted_s: float

    @property
    def error(self) -> float:
        """Predicted over published, less 1."""
        return self.predicted_s / self.published_s - 1.0


def profiled_cycles(fit: Fit) -> tuple[ProfiledCycle, ...]:
    """Return the full cycle of every breakdown of a fit."""
    return tuple(ProfiledCycle(b.stages, b.draft_layers, b["cycle_wall"], _profiled_s(fit, b)) for b in fit.breakdowns)


def _profiled_s(fit: Fit, breakdown: Breakdown) -> float:
    factor, posted_s = fit.parameters.profiler_factor, fit.readings.post_recv_s
    slowed = ("forward_per_layer", "draft_per_layer", "verify_per_byte_s", *STAGE_FIXED)
    figures = {key: factor * figure(fit.profile, key) for key in slowed}
    figures["draft_fixed"] = posted_s + factor * (figure(fit.profile, "draft_fixed") - posted_s)
    case = Case(fit.reference.model, breakdown.stages, breakdown.draft_layers, False, fit.reference.token_s)
    # A token that is slower by the factor has layers that are.
    return cycles_of(replace(case, token_s=factor * case.token_s), with_figures(fit.profile, figures)).full_s
