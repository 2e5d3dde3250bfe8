"""Durations taken from a profile, scaled to the cut: per-layer figures by layers, the whole LM head by shards.

What sampling adds comes on top of a draft and of a verification; what a task costs once, on top of its layers.
"""

from dataclasses import replace

from spdsim import distributions
from spdsim.distributions import Constant, Distribution
from spdsim.machine import Duration
from spdsim.scenario.durations import AnyTaskKind, duration
from spdsim.scenario.model import Scenario
from spdsim.scenario.placement import layers_of_stages
from spdsim.scenario.profile import Profile
from spdsim.scenario.target import TargetModel
from spdsim.schedules.ops import Task
from spdsim.schedules.spd import Layout
from spdsim.timing.tree import draft_of_levels, forward_of_level

_NOTHING = Duration(Constant(0.0))


def profile_duration(scenario: Scenario, layout: Layout, profile: Profile, worker: int, task: Task) -> Duration:
    """Return how long `worker` takes for `task`; 0 where the profile may leave it out and does."""
    match task:
        case "prefill" if layout.role(worker) != "stage":
            return _plain(profile.draft_prefill)
        case "prefill":
            return _of_stage(scenario, layout.stage_of(worker), profile.prefill, profile.prefill_per_layer)
        case "forward":
            stage = layout.stage_of(worker)
            layers = _of_stage(scenario, stage, profile.forward, profile.forward_per_layer)
            return forward_of_level(layout, stage, _together(layers, _plain(profile.forward_fixed)))
        case "draft":
            # Tokens that have left the stages are no rows of a draft: with a lag, a full pipeline has no more of them.
            whole = _together(*_draft(scenario, profile), _if_sampled(layout, profile.draft_sampling))
            by_depth = whole.by_fill_depth
            chain = replace(whole, by_fill_depth=None if by_depth is None else by_depth[: layout.num_stages])
            return draft_of_levels(layout, chain)
        case "verify":
            return _verification(scenario, layout, profile)
        case "combine":
            return _plain(profile.combine)
        case "commit":
            return _plain(profile.commit)
        case "rollback":
            return _plain(profile.rollback)


def verify_duration(model: TargetModel, profile: Profile) -> Duration:
    """Return how long the whole LM head takes for one token, greedy: as written, or by its bytes."""
    if profile.verify is not None:
        return _plain(profile.verify)
    return Duration(Constant((profile.verify_per_byte_s or 0.0) * model.head_bytes))


def _verification(scenario: Scenario, layout: Layout, profile: Profile) -> Duration:
    sampling = _if_sampled(layout, profile.verify_sampling)
    if layout.lm_head != "sharded" or layout.num_stages == 1:
        return _together(verify_duration(scenario.model, profile), sampling)
    if profile.verify_shard is not None:
        return _together(_plain(profile.verify_shard), sampling)
    return _scaled(_together(verify_duration(scenario.model, profile), sampling), 1.0 / layout.num_workers)


def _draft(scenario: Scenario, profile: Profile) -> tuple[Duration, ...]:
    written = profile.draft
    whole = _plain(profile.draft_per_layer, scenario.draft.layers) if written is None else _plain(written)
    return whole, _plain(profile.draft_fixed)


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


def _if_sampled(layout: Layout, written: AnyTaskKind | None) -> Duration:
    return _plain(written) if layout.sampled else _NOTHING


def _plain(written: AnyTaskKind | None, factor: float = 1.0) -> Duration:
    return _NOTHING if written is None else duration(written, factor)


def _together(*parts: Duration) -> Duration:
    """One part after the other."""
    parts = tuple(part for part in parts if part != _NOTHING)
    if len(parts) < 2:
        return parts[0] if parts else _NOTHING
    num_depths = max(len(part.by_fill_depth or ()) for part in parts)

    def at(depth: int) -> Distribution:
        return distributions.added(tuple(part.at_depth(depth) for part in parts))

    by_depth = tuple(at(depth) for depth in range(1, num_depths + 1))
    return Duration(at(0), sum(part.per_context_token_s for part in parts), by_depth or None)


def _scaled(whole: Duration, factor: float) -> Duration:
    by_depth = whole.by_fill_depth
    return Duration(
        distributions.scaled(whole.base, factor),
        whole.per_context_token_s * factor,
        None if by_depth is None else tuple(distributions.scaled(drawn, factor) for drawn in by_depth),
    )
