"""Profiles of mechanisms: what each figure does to a task, and where a profile holds."""

from typing import Any

import pytest

from spdsim.distributions import mean_s, variance_s2
from spdsim.scenario import Scenario
from spdsim.scenario.build import build_scenario
from spdsim.scenario.profile import Profile
from spdsim.scenario.profile_file import figure, with_figures
from spdsim.timing import machine_of
from spdsim.timing.profile_range import outside

BASE: dict[str, Any] = {"forward_per_layer": 1e-3, "draft_per_layer": 0.5e-3, "verify": 0.4e-3}


def scenario(profile: dict[str, Any], **runtime: str) -> Scenario:
    """Return a small scenario (8 layers, 4 stages, 2 draft layers) with this profile."""
    return build_scenario({
        "model": "tiny",
        "devices": {"gpu": {"name": "gpu"}, "count": 5},
        "links": {"intra_node": "nvlink4"},
        "partition": {"stages": 4, "lm_head": runtime.pop("lm_head", "draft_rank")},
        "draft": {"layers": 2},
        "acceptance": {"kind": "bernoulli", "p": 0.8},
        "timing": {"kind": "profile", "profile": {key: value for key, value in profile.items() if value is not None}},
        "runtime": runtime,
    })  # fmt: skip


def seconds(profile: dict[str, Any], worker: int, task: Any, **runtime: str) -> float:
    """Return the mean of a task."""
    return mean_s(machine_of(scenario(profile, **runtime)).tasks[worker, task].base)


def test_what_a_task_costs_once_comes_on_top_of_its_layers() -> None:
    """Two layers in each stage, two in the draft module."""
    profile = BASE | {"forward_fixed": 0.3e-3, "draft_fixed": 0.2e-3}
    assert seconds(profile, 1, "forward") == pytest.approx(2.3e-3)
    assert seconds(profile, 0, "draft") == pytest.approx(1.2e-3)
    assert seconds(BASE | {"draft_per_layer": None, "draft": 2e-3, "draft_fixed": 0.2e-3}, 0, "draft") == 2.2e-3


@pytest.mark.parametrize(("sampling", "added"), [("greedy", 0.0), ("sampled", 1.0)])
def test_sampling_costs_only_where_tokens_are_sampled(sampling: str, added: float) -> None:
    """A draft and a verification."""
    profile = BASE | {"draft_sampling": 0.1e-3, "verify_sampling": 0.6e-3}
    assert seconds(profile, 0, "draft", sampling=sampling) == pytest.approx(1e-3 + added * 0.1e-3)
    assert seconds(profile, 0, "verify", sampling=sampling) == pytest.approx(0.4e-3 + added * 0.6e-3)


def test_a_verification_by_its_bytes_is_that_of_the_lm_head() -> None:
    """512 token ids, 64 wide, two bytes each; over the shards where it is sharded."""
    profile = BASE | {"verify": None, "verify_per_byte_s": 1e-9}
    assert seconds(profile, 0, "verify") == pytest.approx(512 * 64 * 2 * 1e-9)
    assert seconds(profile, 0, "verify", lm_head="sharded") == pytest.approx(512 * 64 * 2 * 1e-9 / 5)


def test_parts_that_are_drawn_add_their_means_and_variances() -> None:
    """With the spread of each, at every depth that one of them names."""
    layer = {"kind": "gamma", "mean_s": 1e-3, "cv": 0.5, "by_fill_depth": [3e-3], "per_context_token_s": 1e-6}
    profile = BASE | {"forward_per_layer": layer, "forward_fixed": {"kind": "gamma", "mean_s": 1e-3, "cv": 0.2}}
    task = machine_of(scenario(profile)).tasks[1, "forward"]
    assert mean_s(task.base) == pytest.approx(3e-3)
    assert variance_s2(task.base) == pytest.approx((2e-3 * 0.5) ** 2 + 0.2e-3**2)
    assert mean_s(task.at_depth(1)) == pytest.approx(7e-3)
    assert task.per_context_token_s == pytest.approx(2e-6)


def test_a_figure_is_named_by_its_dotted_key() -> None:
    """Read and changed; a key that is none is refused."""
    profile = Profile.model_validate(BASE)
    changed = with_figures(profile, {"control.per_node_s": 2e-6, "forward_per_layer": 2e-3, "verify": -1.0})
    assert [figure(changed, key) for key in ("control.per_node_s", "forward_per_layer", "verify")] == [2e-6, 2e-3, 0.0]
    assert figure(profile, "control.per_node_s") == 0.0
    for key in ("control", "control.per_nod_s", "draft", "origin"):
        with pytest.raises(KeyError):
            figure(profile, key)


def test_a_scenario_beyond_the_range_of_its_profile_is_told_so() -> None:
    """Each property by itself, in a machine's warnings too; nothing where the profile names no range."""
    known = {
        "models": ["Tiny"], "stages": [8, 8], "sampled_stages": [8], "draft_layers": [3, 4], "nodes": [2, 3],
        "launch": ["eager"],
    }  # fmt: skip
    written = scenario(BASE | {"range": known}, sampling="sampled")
    profile = Profile.model_validate(BASE | {"range": known})
    assert list(outside(written, profile)) == [
        "4 stages: the profile was measured with 8",
        "sampling with 4 stages: measured with 8",
        "2 draft layers: the profile was measured with 3 to 4",
        "1 node: the profile was measured with 2 to 3",
        "launch cuda_graph: the profile was measured with eager",
    ]
    assert set(outside(written, profile)) <= set(machine_of(written).warnings)
    assert machine_of(scenario(BASE)).warnings == ()
