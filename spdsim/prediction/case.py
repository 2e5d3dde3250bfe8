"""A configuration of the published executor as a scenario.

The executor: eager mode, one message a tensor, receipts one after another, all ranks in lockstep, the verdict
sent after the draft rank's bookkeeping; one draft rank and one rank a stage, devices filled node by node,
eight in each.
"""

from dataclasses import dataclass
from math import ceil
from typing import Any

from spdsim.distributions import mean_s
from spdsim.errors import InputError
from spdsim.scenario import Scenario
from spdsim.scenario.build import build_scenario
from spdsim.scenario.profile import Profile
from spdsim.scenario.profile_file import MOST_S, figure, with_figures
from spdsim.scenario.target import TargetModel
from spdsim.timing.profile import verify_duration

PER_NODE = 8
"""Devices in a node: nine ranks ran as eight and one."""

ANCHORS = (0, 8, 16, 24, 31)
"""The hidden states that the draft module reads, of 32 layers; spread in the same way over other depths."""

_RUNTIME = {"launch": "eager", "control": "lockstep", "messages": "per_tensor", "receipts": "serial"}


def num_nodes(num_stages: int) -> int:
    """Return the nodes that so many stages and the draft rank fill."""
    return ceil((num_stages + 1) / PER_NODE)


@dataclass(frozen=True, slots=True)
class Case:
    """What decides the cycles of a run. token_s: seconds of a token in plain decoding on one GPU.

    has_early_exit: what drafts is a head behind the first stage, on its device and in series with it (PPSD,
    arXiv:2509.19368), so that there is a device for each stage and none besides.
    """

    model: TargetModel
    stages: int
    draft_layers: int
    is_sampled: bool
    token_s: float
    has_early_exit: bool = False

    @property
    def num_devices(self) -> int:
        """One for each stage, and one for the draft rank where it has its own."""
        return self.stages + (not self.has_early_exit)


def layer_s(case: Case, profile: Profile) -> float:
    """Return the seconds of one decoder layer in plain decoding: (token - LM head) / layers.

    Raises InputError where the LM head alone takes as long as the token.
    """
    head_s = _head_s(case, profile)
    if head_s >= case.token_s:
        most = 1.0 / head_s
        raise InputError(
            f"baseline_tokens_per_s is {1.0 / case.token_s:g}: must be below {most:.4g}, "
            "where the LM head alone takes all of a token"
        )
    return (case.token_s - head_s) / case.model.num_layers


def scaled_profile(case: Case, profile: Profile) -> Profile:
    """Return the profile with its layers as fast as the case's baseline says, those of the draft module too."""
    own_s, written_s = layer_s(case, profile), figure(profile, "forward_per_layer")
    if case.has_early_exit:
        profile = _with_early_exit(case, profile)
    changed = {"forward_per_layer": own_s}
    if profile.draft_per_layer is not None:
        draft_s = figure(profile, "draft_per_layer")
        # Parted so that nothing overflows: both are at most a million seconds.
        if not written_s > 0.0 or draft_s * own_s > MOST_S * written_s:
            raise InputError(
                f"forward_per_layer is {written_s:g}: must be more, for a draft layer of {draft_s:g} s "
                f"follows the baseline as a layer of {own_s:g} s does"
            )
        changed["draft_per_layer"] = draft_s * (own_s / written_s)
    return with_figures(profile, changed)


def scenario_of(case: Case, profile: Profile, accepted: str = "A", new_tokens: int = 2) -> Scenario:
    """Return the scenario of a case, its verdicts replayed from a text of A and R.

    Raises InputError where the profile, the model and the stages do not go together.
    """
    return build_scenario(_data(case, scaled_profile(case, profile), accepted, new_tokens))


def _with_early_exit(case: Case, profile: Profile) -> Profile:
    """Return the profile with the exit for a draft, whatever the number of its layers."""
    exit_s = figure(profile, "rivals.early_exit_s") / case.draft_layers
    others = {key: 0.0 for key in ("draft_fixed", "draft_sampling") if getattr(profile, key) is not None}
    kept = profile.model_copy(update={"draft": None})
    return with_figures(kept, {"draft_per_layer": exit_s, **others})


def _data(case: Case, profile: Profile, accepted: str, new_tokens: int) -> dict[str, Any]:
    last = case.model.num_layers - 1
    anchors: Any = ANCHORS if last == ANCHORS[-1] else min(len(ANCHORS), last)
    draft = {"layers": case.draft_layers, "anchors": anchors}
    if case.has_early_exit:
        draft = {"layers": case.draft_layers, "anchors": [0, case.model.num_layers // case.stages],
                 "placement": "stage_0"}  # fmt: skip
    return {
        "name": f"{case.model.name}, {case.stages} stages",
        "model": case.model,
        "devices": {"gpu": {"name": "gpu"}, "count": case.num_devices, "per_node": PER_NODE},
        "links": {"intra_node": "nvlink4", "inter_node": "infiniband-ndr"},
        "partition": {"stages": case.stages},
        "draft": draft,
        "acceptance": {"kind": "replay", "accepted": [accepted], "source": "made to order"},
        "workload": {"new_tokens": new_tokens},
        "timing": {"kind": "profile", "profile": profile},
        "runtime": {**_RUNTIME, "sampling": "sampled" if case.is_sampled else "greedy"},
    }


def _head_s(case: Case, profile: Profile) -> float:
    return mean_s(verify_duration(case.model, profile).base)
