"""Durations taken from a profile, scaled to the cut: per-layer figures by layers, the whole LM head by shards."""

from spdsim.distributions import Constant
from spdsim.machine import Duration
from spdsim.scenario.durations import AnyTaskKind, duration
from spdsim.scenario.model import Scenario
from spdsim.scenario.placement import layers_of_stages
from spdsim.scenario.profile import Profile
from spdsim.schedules.ops import Task
from spdsim.schedules.spd import Layout

_NOTHING = Duration(Constant(0.0))


def profile_duration(scenario: Scenario, layout: Layout, profile: Profile, worker: int, task: Task) -> Duration:
    """Return how long `worker` takes for `task`; 0 where the profile may leave it out and does."""
    match task:
        case "prefill" if layout.role(worker) != "stage":
            return _plain(profile.draft_prefill)
        case "prefill":
            return _of_stage(scenario, layout.stage_of(worker), profile.prefill, profile.prefill_per_layer)
        case "forward":
            return _of_stage(scenario, layout.stage_of(worker), profile.forward, profile.forward_per_layer)
        case "draft" if profile.draft is None:
            return _plain(profile.draft_per_layer, scenario.draft.layers)
        case "draft":
            return _plain(profile.draft)
        case "verify" if layout.lm_head == "sharded" and layout.num_stages > 1:
            if profile.verify_shard is not None:
                return _plain(profile.verify_shard)
            return _plain(profile.verify, 1.0 / layout.num_workers)
        case "verify":
            return _plain(profile.verify)
        case "combine":
            return _plain(profile.combine)
        case "commit":
            return _plain(profile.commit)
        case "rollback":
            return _plain(profile.rollback)


def _of_stage(
    scenario: Scenario,
    stage: int,
    whole: AnyTaskKind | tuple[AnyTaskKind, ...] | None,
    per_layer: AnyTaskKind | None,
) -> Duration:
    if isinstance(whole, tuple):
        return _plain(whole[stage])
    if whole is not None:
        return _plain(whole)
    return _plain(per_layer, layers_of_stages(scenario)[stage])


def _plain(written: AnyTaskKind | None, factor: float = 1.0) -> Duration:
    return _NOTHING if written is None else duration(written, factor)
