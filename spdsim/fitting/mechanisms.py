"""The profile that three fitted parameters and the readings of the breakdowns make together."""

from typing import TYPE_CHECKING, NamedTuple

from spdsim.errors import InputError
from spdsim.fitting.reading import Readings
from spdsim.prediction import Case
from spdsim.scenario.profile import Profile
from spdsim.scenario.profile_file import figure, made_profile

if TYPE_CHECKING:
    from typing import Any

STAGE_FIXED = ("messages.verdict.receive_s", "messages.draft.receive_s")
"""Where a profile has what a stage takes once a cycle: the verdict tells it in a full cycle, the draft in others."""

DRAFT_SAMPLING_PART = 1.0 / 3.0
"""What sampling adds to a draft, over what it adds to a verification: assumed, for the stages hide it so far."""


class Parameters(NamedTuple):
    """What is fitted.

    stage_fixed_s: seconds that a stage takes once a cycle beside its layers. profiler_factor: by how much the
    profiler stretches what computes. sampling_s: what sampling adds to a verification.
    """

    stage_fixed_s: float
    profiler_factor: float
    sampling_s: float


def profile_of(parameters: Parameters, readings: Readings, reference: Case, source: str) -> Profile:
    """Return the profile, with the layers of the reference's baseline: (token - LM head) / layers.

    Raises InputError where the evidence and the parameters make no profile.
    """
    factor = parameters.profiler_factor
    verify_s = readings.verify_s / factor
    sampling_s = max(0.0, parameters.sampling_s)
    layer_s = (reference.token_s - verify_s) / reference.model.num_layers
    if layer_s <= 0.0:
        raise InputError(
            f"verify of the breakdown takes {1e3 * verify_s:.4g} ms: must be less than a token in plain decoding, "
            f"{1e3 * reference.token_s:.4g} ms by the rows' baselines"
        )
    # Plain decoding pays no such thing, so it is no part of a pass: a stage pays it when it is told what to run.
    told = {"post_s": 0.0, "transit_s": 0.0, "receive_s": max(0.0, parameters.stage_fixed_s)}
    data: dict[str, Any] = {
        "origin": "published",
        "source": source,
        "forward_per_layer": layer_s,
        "draft_per_layer": max(0.0, readings.draft_layer_s / factor),
        "draft_fixed": max(0.0, readings.post_recv_s + readings.draft_layers_fixed_s / factor),
        "draft_sampling": sampling_s * DRAFT_SAMPLING_PART,
        "verify_per_byte_s": verify_s / reference.model.head_bytes,
        "verify_sampling": sampling_s,
        "commit": readings.commit_s,
        # A prefill is not published. In eager mode a short prompt costs what a token costs: assumed.
        "prefill_per_layer": layer_s,
        "control": {
            "per_cycle_s": max(0.0, readings.control_s),
            "per_worker_s": max(0.0, readings.control_per_worker_s),
            "per_node_s": max(0.0, readings.control_per_node_s),
        },
        "messages": {
            "hidden": {
                "post_s": readings.hidden_post_s, "inter_node_post_s": readings.hidden_inter_node_post_s,
                "transit_s": 0.0, "receive_s": 0.0,
            },
            "features": {"post_s": 0.0, "transit_s": 0.0, "receive_s": readings.feature_receive_s},
            "draft": told,
            "verdict": told,
        },
    }  # fmt: skip
    return made_profile(data)


def profiled_forward_s(parameters: Parameters, profile: Profile, layers: float) -> float:
    """Return the seconds of a stage's pass with the profiler on; what it takes once a cycle is recorded with it."""
    plain_s = figure(profile, "forward_per_layer") * layers + figure(profile, STAGE_FIXED[0])
    return parameters.profiler_factor * plain_s
