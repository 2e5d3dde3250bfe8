"""Calibration: what is fitted to simulated runs is what they were simulated with, and nothing else goes in."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spdsim.calibration import Calibration, Observed, campaign, fit_traces, observe, predict, prove
from spdsim.calibration.campaign import Config, Done, Wanted, arguments, noise, perform, undisturbed
from spdsim.calibration.contention import Spans, fit_curve, work_s
from spdsim.calibration.families import choose
from spdsim.calibration.kept import LIST, Kept
from spdsim.calibration.noise import noise_of
from spdsim.calibration.probed import context_slope
from spdsim.cli import calibrate as cli_calibrate
from spdsim.distributions import Constant, Distribution, Empirical, Gamma, LogNormal, draw, mean_s
from spdsim.errors import InputError, RunError
from spdsim.evidence import Probe, Probes
from spdsim.fitting import profile_text
from spdsim.machine import total_speed
from spdsim.scenario import Scenario
from spdsim.scenario.profile_file import figure, load_profile, with_figures
from spdsim.simulation import simulate
from spdsim.trace import Trace
from spdsim.tracefile import read_trace

MODEL = {"name": "tiny", "num_layers": 8, "hidden_size": 64, "intermediate_size": 128, "vocab_size": 258,
         "num_heads": 4, "num_kv_heads": 2, "head_dim": 16, "dtype_bytes": 4}  # fmt: skip
TRUTH: dict[str, Any] = {
    "forward_fixed": 4e-4,
    "forward_per_layer": {"kind": "lognormal", "mean_s": 1e-3, "cv": 0.1},
    "prefill_per_layer": 2e-3,
    "draft": {"kind": "gamma", "mean_s": 1.5e-3, "cv": 0.05},
    "draft_prefill": 1e-3,
    "verify": {"kind": "empirical", "samples_s": [1e-4, 1.2e-4, 4e-4]},
    "commit": 2e-5,
    "rollback": 1e-5,
    "runtime": {"posting": "separate", "receipts": "taken", "departure": "posting"},
    "control": {"between_cycles_s": 3e-5},
    "messages": {
        payload: {"post_s": 1e-5, "transit_s": transit_s, "receive_s": 5e-6}
        for payload, transit_s in {
            "hidden": {"kind": "lognormal", "mean_s": 1e-4, "cv": 0.3},
            "features": 8e-5,
            "draft": 6e-5,
            "verdict": 7e-5,
        }.items()
    },
}
ACCEPTANCES: list[dict[str, Any]] = [
    {"kind": "bernoulli", "p": 0.8},
    {"kind": "by_fill_depth", "p": [0.9, 0.7]},
    {"kind": "markov", "p": [0.95, 0.5], "stay": [0.9, 0.8]},
    {"kind": "beta", "p": 0.7, "concentration": 6.0},
    {"kind": "replay", "accepted": ["AARA" * 40]},
]


def scenario(stages: int, timing: dict[str, Any], seed: int = 0, **changes: Any) -> Scenario:
    """Return a scenario with a device for each worker."""
    return Scenario.model_validate({
        "name": "tiny", "model": MODEL, "devices": {"gpu": {}, "count": stages + 1 if stages > 1 else 1},
        "links": {"intra_node": {"latency_s": 0.0, "bandwidth_bytes_per_s": 1e12},
                  "inter_node": {"latency_s": 0.0, "bandwidth_bytes_per_s": 1e12}},
        "partition": {"stages": stages}, "draft": {"layers": 1, "anchors": 3},
        "acceptance": {"kind": "bernoulli", "p": 0.8}, "workload": {"prompt_tokens": 8, "new_tokens": 120},
        "timing": {"kind": "profile", "profile": timing}, "seed": seed, **changes,
    })  # fmt: skip


def runs(
    timing: dict[str, Any], stages: Sequence[int] = (1, 2, 4), first_seed: int = 180, **changes: Any
) -> list[Trace]:
    return [simulate(scenario(n, timing, seed=first_seed + n, **changes)) for n in stages]


def fitted(traces: Sequence[Trace]) -> Calibration:
    return fit_traces([observe(trace, f"run {index}") for index, trace in enumerate(traces)], "simulated runs")


def errors_in_std(found: Calibration, truth: dict[str, float]) -> dict[str, float]:
    """Return how many standard errors each figure is off, those below a part in a thousand left out."""
    by_key = {each.key: each for each in found.figures}
    return {
        key: abs(by_key[key].mean - true) / max(by_key[key].std_error, 1e-12)
        for key, true in truth.items()
        if abs(by_key[key].mean - true) > 1e-3 * true
    }


MEANS = {
    "forward_fixed": 4e-4, "forward_per_layer": 1e-3, "prefill_per_layer": 2e-3, "draft": 1.5e-3,
    "draft_prefill": 1e-3, "verify": 6.2e-4 / 3, "commit": 2e-5, "rollback": 1e-5,
    "control.between_cycles_s": 3e-5, "messages.hidden.transit_s": 1e-4, "messages.features.transit_s": 8e-5,
    "messages.verdict.transit_s": 7e-5, "messages.hidden.post_s": 1e-5,
    "messages.hidden.receive_s": 5e-6, "messages.verdict.receive_s": 5e-6,
}  # fmt: skip


@pytest.mark.parametrize("first_seed", [0, 30, 60, 180])
@pytest.mark.parametrize("acceptance", ACCEPTANCES, ids=lambda written: written["kind"])
def test_a_fit_to_simulated_runs_gives_the_profile_back(acceptance: dict[str, Any], first_seed: int) -> None:
    """Every figure within four standard errors, whatever the acceptance was.

    All but what the message of a draft takes on its way: here nobody ever waits for one, so nothing tells.
    """
    found = fitted(runs(TRUTH, acceptance=acceptance, first_seed=first_seed))
    assert max(errors_in_std(found, MEANS).values(), default=0.0) < 4.0
    assert found.curve == ()


def test_families_are_told_apart() -> None:
    """Each kind of duration is found again by name."""
    timing = TRUTH | {"draft": {"kind": "gamma", "mean_s": 1.5e-3, "cv": 0.25}}
    workload = {"prompt_tokens": 8, "new_tokens": 120, "sequences": 4}
    figures = fitted(runs(timing, first_seed=0, acceptance=ACCEPTANCES[0], workload=workload)).figures
    found = {each.key: each.family for each in figures}
    assert found["verify"] == "empirical"
    assert found["messages.hidden.transit_s"] == "lognormal"
    assert found["draft"] in ("gamma", "lognormal")
    assert found["messages.verdict.transit_s"] == found["commit"] == "constant"


def test_a_draft_by_its_rows_and_one_duration_for_all_stages() -> None:
    """A line in the rows gives every fill depth; stages that take the same whatever their layers are no line."""
    by_depth = [1e-3 + 2e-4 * (depth + 1) for depth in range(1, 5)]
    timing = TRUTH | {"draft": {"mean_s": 2e-3, "by_fill_depth": by_depth}, "forward": 5e-3}
    timing = {key: value for key, value in timing.items() if key not in ("forward_fixed", "forward_per_layer")}
    profile = fitted(runs(timing, (2, 4))).profile
    assert figure(profile, "forward") == pytest.approx(5e-3, rel=1e-3)
    drawn = profile.draft
    assert drawn is not None and drawn.by_fill_depth is not None
    found = [mean_s(distribution_of(each)) for each in drawn.by_fill_depth]
    assert found[:4] == pytest.approx(by_depth, rel=0.02)
    assert found[7] == pytest.approx(1e-3 + 2e-4 * 9, rel=0.02)


def test_modules_of_several_sizes_give_a_line_in_their_layers() -> None:
    """So that a third size can be predicted."""
    timing = TRUTH | {"draft_fixed": 5e-4, "draft_per_layer": {"kind": "lognormal", "mean_s": 1e-3, "cv": 0.05}}
    timing = {key: value for key, value in timing.items() if key != "draft"}
    traces = [simulate(scenario(2, timing, draft={"layers": layers, "anchors": 3})) for layers in (1, 3)]
    found = {each.key: each.mean for each in fitted(traces).figures}
    assert found["draft_per_layer"] == pytest.approx(1e-3, rel=0.02)
    assert found["draft_fixed"] == pytest.approx(5e-4, rel=0.05)


def test_probes_tell_how_a_layer_depends_on_its_context() -> None:
    """Traces of about one length do not; the profile then has a slope, and less where there is no context."""
    slope_s = 2e-6
    timing = TRUTH | {"forward_per_layer": {"mean_s": 1e-3, "per_context_token_s": slope_s}}
    cases = [
        Probe("layer", {"context_tokens": context, "launch": "eager", "kind": "full_attention"}, "s", 50,
              time_s, time_s, 0.999 * time_s, 1.001 * time_s)
        for context in (16, 256, 1024)
        for time_s in (1e-3 + slope_s * context,)
    ]  # fmt: skip
    probes = Probes("probes.json", {}, {"launch": "eager", "backend": "local"}, "2026-01-01", tuple(cases), ())
    observed = [observe(trace, f"run {index}") for index, trace in enumerate(runs(timing))]
    profile = fit_traces(observed, "simulated runs", probes=probes).profile
    assert figure(profile, "forward_per_layer") == pytest.approx(1e-3, rel=0.02)
    assert figure(profile, "forward_per_layer.per_context_token_s") == pytest.approx(slope_s, rel=0.01)
    long = {"prompt_tokens": 3000, "new_tokens": 60}
    one, other = (simulate(scenario(4, TRUTH | times, workload=long)) for times in (timing, {}))
    assert one.end_s[-1] > 3.0 * other.end_s[-1]
    predicted = predict(scenario(4, TRUTH, workload=long), profile)
    assert predicted.end_s[-1] == pytest.approx(one.end_s[-1], rel=0.03)
    hybrid = replace(probes, probes=(*cases, replace(cases[0], params=dict(cases[0].params) | {"kind": "linear"})))
    assert context_slope(hybrid) is None


LATENCY_S, BANDWIDTH = 5e-5, 1e7


def message_probes(backend: str = "socket") -> Probes:
    """Return probes of a link that takes LATENCY_S, and carries BANDWIDTH bytes a second."""
    sizes_s = {size: LATENCY_S + size / BANDWIDTH for size in (2048, 16384, 131072)}
    cases = tuple(
        Probe("message", {"size_bytes": size, "backend": "socket"}, "s", 50, way_s, way_s, 0.999 * way_s, 1.001 * way_s)
        for size, way_s in sizes_s.items()
    )
    return Probes("probes.json", {}, {"launch": "eager", "backend": backend}, "2026-01-01", cases, ())


def test_probes_tell_how_a_message_depends_on_its_size() -> None:
    """So that a model of another hidden size, and the long messages of a prefill, are predicted."""
    timing = TRUTH | {"messages": {}}
    link = {"latency_s": LATENCY_S, "bandwidth_bytes_per_s": BANDWIDTH, "receive_s": 5e-6, "post_s": 1e-5}
    links = {"intra_node": link, "inter_node": link}
    observed = [observe(trace, f"run {index}") for index, trace in enumerate(runs(timing, links=links))]
    profile = fit_traces(observed, "simulated runs", probes=message_probes()).profile
    assert figure(profile, "link.latency_s") == pytest.approx(LATENCY_S, rel=0.02)
    assert figure(profile, "link.bandwidth_bytes_per_s") == pytest.approx(BANDWIDTH, rel=0.01)
    wide: dict[str, Any] = {
        "links": links,
        "model": MODEL | {"hidden_size": 1024},
        "workload": {"prompt_tokens": 64, "new_tokens": 60},
    }
    there = simulate(scenario(4, timing, **wide))
    figures = {key: value for key, value in profile.figures.items() if not key.startswith("link.")}
    blind = predict(scenario(4, TRUTH, **wide), profile.model_copy(update={"link": None, "figures": figures}))
    assert blind.end_s[-1] < 0.9 * there.end_s[-1]
    predicted = predict(scenario(4, TRUTH, **wide), profile)
    assert predicted.end_s[-1] == pytest.approx(there.end_s[-1], rel=0.03)
    other = fit_traces(observed, "simulated runs", probes=message_probes("gloo")).profile
    assert other.link is None and other.messages.hidden.measured_bytes is None


def distribution_of(written: Any) -> Distribution:
    from spdsim.scenario.durations import distribution

    return distribution(written)


def test_links_within_a_node_and_between_nodes_are_told_apart() -> None:
    """And workers on one device cross nothing."""
    messages = {
        payload: each | {"inter_node_post_s": 4e-5, "inter_node_transit_s": 5e-4}
        for payload, each in TRUTH["messages"].items()
    }
    devices = {"gpu": {}, "count": 4, "per_node": 2, "workers": [0, 0, 1, 2, 3]}
    trace = simulate(scenario(4, TRUTH | {"messages": messages}, devices=devices, workload={"new_tokens": 300}))
    found = {each.key: each.mean for each in fitted([trace]).figures}
    assert found["messages.hidden.transit_s"] == pytest.approx(1e-4, rel=0.05)
    assert found["messages.hidden.inter_node_transit_s"] == pytest.approx(5e-4, rel=0.05)
    assert found["messages.hidden.inter_node_post_s"] == pytest.approx(4e-5, rel=1e-6)
    assert found["forward_per_layer"] == pytest.approx(1.2e-3, rel=0.02)


def test_crossings_that_grow_with_the_workers_are_predicted_for_more_of_them() -> None:
    """From runs with three and five workers."""
    messages = {payload: each | {"transit_per_worker_fraction": 0.2} for payload, each in TRUTH["messages"].items()}
    profile = fitted(runs(TRUTH | {"messages": messages})).profile
    assert profile.messages.hidden.transit_per_worker_fraction == pytest.approx(0.2, rel=0.3)
    assert profile.messages.verdict.transit_per_worker_fraction == pytest.approx(0.2, rel=0.1)


@pytest.mark.parametrize("curve", [(1.0, 1.75, 1.75), (1.0, 1.9, 2.6, 3.0)])
def test_workers_that_slow_each_other_down_are_found_out(curve: tuple[float, ...]) -> None:
    """From how long computations take beside one, two and more others.

    Within a tenth: which of two computations has company for longer depends on how long it happens to take, which the
    fit does not know. So where durations are random speeds come out somewhat too high, and works somewhat too long.
    """
    workload = {"prompt_tokens": 8, "new_tokens": 120, "sequences": 4}
    found = fitted(runs(TRUTH | {"contention": list(curve)}, (1, 2, 4), workload=workload))
    reached = [total_speed(found.curve, together) for together in (2, 3, 4)]
    assert reached == pytest.approx([total_speed(curve, together) for together in (2, 3, 4)], rel=0.1)
    by_key = {each.key: each.mean for each in found.figures}
    whole_s = by_key.get("forward_fixed", 0.0) + 4 * by_key["forward_per_layer"]
    assert whole_s == pytest.approx(4.4e-3, rel=0.05)


@pytest.mark.parametrize("head", ["sharded", "last_stage", "own_device"])
def test_every_placement_of_the_lm_head_is_fitted_and_predicted(head: str) -> None:
    """A shard is a part of the whole, whatever the number of shards; plain decoding has the whole."""
    placed = {"partition": {"stages": 0, "lm_head": head}}

    def at(stages: int, seed: int) -> Trace:
        count = 1 if stages == 1 else stages + 1 + (head == "own_device")
        changes = {"partition": placed["partition"] | {"stages": stages}, "devices": {"gpu": {}, "count": count}}
        return simulate(scenario(stages, TRUTH | {"verify": 2e-3}, seed, **changes))

    found = fitted([simulate(scenario(1, TRUTH | {"verify": 2e-3})), at(2, 2), at(4, 4)])
    assert figure(found.profile, "verify") == pytest.approx(2e-3, rel=0.01)
    proof = prove(found.profile, [Done(Config(8, 0.8, 1, is_held_out=True), observe(at(8, 77), "held out"))])
    assert proof is not None and proof.graded_error < 0.03


@pytest.mark.parametrize("lag", [1, 2])
def test_drafts_of_a_lagging_pipeline_have_no_more_rows_than_its_stages(lag: int) -> None:
    """A profile gives its own runs back: tokens that have left the stages are no rows."""
    timing = TRUTH | {"draft": {"mean_s": 5e-3, "by_fill_depth": [3e-3 + 1e-3 * depth for depth in range(1, 9)]}}
    partition = {"verification_lag": lag}
    traces = [
        simulate(scenario(n, timing, seed=n, partition=partition | {"stages": n})) for n in (2, 4)
    ]  # fmt: skip
    held_out = simulate(scenario(3, timing, seed=77, partition=partition | {"stages": 3}))
    proof = prove(fitted(traces).profile, [Done(Config(3, 0.8, 1, is_held_out=True), observe(held_out, "held out"))])
    assert proof is not None and proof.graded_error < 0.02


def test_what_takes_no_time_is_fitted_too() -> None:
    """Spans of no length tell nothing of contention, and are no reason to stop."""
    found = fitted(runs(TRUTH | {"draft": 0.0, "contention": [1.0, 1.6]}))
    assert figure(found.profile, "draft") == 0.0
    assert total_speed(found.curve, 2) == pytest.approx(1.6, rel=0.05)


def test_context_and_contention_are_told_apart() -> None:
    """With probes that know the context; and where stages are no line in their layers, their slope is not used."""
    slope_s = 1e-6
    cases = tuple(
        Probe("layer", {"context_tokens": context, "launch": "eager", "kind": "full_attention"}, "s", 50,
              1e-3 + slope_s * context, 1e-3, 1e-3 + slope_s * context, 1e-3 + slope_s * context)
        for context in (16, 1024)
    )  # fmt: skip
    probes = Probes("probes.json", {}, {"launch": "eager", "backend": "local"}, "2026-01-01", cases, ())
    curve, long = [1.0, 1.2, 1.3, 1.35, 1.4], {"prompt_tokens": 900, "new_tokens": 100}
    by_layers = {"forward_per_layer": {"mean_s": 1e-3, "per_context_token_s": slope_s}, "contention": curve}
    flat = {key: value for key, value in TRUTH.items() if key not in ("forward_fixed", "forward_per_layer")}
    for timing in (TRUTH | by_layers, flat | {"forward": 5e-3}):
        traces = runs(timing, workload=long)
        observed = [observe(trace, "run") for trace in traces]
        profile = fit_traces(observed, "simulated runs", probes=probes).profile
        for trace in traces[1:]:
            again = prove(profile, [Done(Config(2, 0.8, 1, is_held_out=True), observe(trace, "run"))])
            assert again is not None and again.graded_error < 0.05


def test_work_is_what_a_span_would_take_alone() -> None:
    """At half speed for two thirds of its time, a span of 3 s did the work of 2."""
    assert work_s(np.array([[1.0, 2.0]]), (1.0, 1.0)).tolist() == [2.0]
    assert work_s(np.array([[1.0, 2.0]]), ()).tolist() == [3.0]
    assert fit_curve([Spans("forward", 4, np.zeros((0, 3)), np.zeros(0))]) == ()


def test_a_prediction_of_the_same_machine_is_right() -> None:
    """Stages that were not fitted, with the verdicts of the run, to two per cent; and anew, to what chance allows."""
    found = fitted(runs(TRUTH))
    for stages in (3, 8):
        measured = simulate(scenario(stages, TRUTH, seed=77))
        proof = prove(found.profile, [Done(Config(stages, 0.8, 1, is_held_out=True), observe(measured, "held out"))])
        assert proof is not None and len(proof.cells) == 1
        assert proof.worst.comparison.has_same_verdicts
        assert proof.graded_error < 0.02 and proof.grade == "A"


def test_a_profile_that_is_slower_in_one_task_is_caught_by_name() -> None:
    """Ten per cent on a layer."""
    profile = fitted(runs(TRUTH)).profile
    slower = with_figures(profile, {"forward_per_layer": 1.1 * figure(profile, "forward_per_layer")})
    measured = simulate(scenario(3, TRUTH, seed=77, workload={"new_tokens": 400}))
    proof = prove(slower, [Done(Config(3, 0.8, 1, is_held_out=True), observe(measured, "held out"))])
    assert proof is not None
    culprit = proof.worst.comparison.culprit
    assert culprit is not None and culprit.name.startswith("forward")


def test_nothing_of_a_held_out_run_goes_into_its_prediction() -> None:
    """With spans three times as long the prediction is the same to the last bit, and the error is not."""
    profile = fitted(runs(TRUTH)).profile
    measured = simulate(scenario(3, TRUTH, seed=77))
    poisoned = simulate(scenario(3, TRUTH, seed=77))
    for times_s in (poisoned.start_s, poisoned.end_s):
        for i in range(len(times_s)):
            times_s[i] *= 3.0
    config = Config(3, 0.8, 1, is_held_out=True)
    clean, other = (prove(profile, [Done(config, observe(trace, "run"))]) for trace in (measured, poisoned))
    assert clean is not None and other is not None
    assert clean.worst.predicted.end_s == other.worst.predicted.end_s
    assert other.graded_error > 0.5


def test_nothing_of_a_held_out_run_goes_into_the_profile() -> None:
    """Not even into how sure its figures are, which the rounds of a noisy machine have a say in."""

    def fitted_beside(held_out_s: Sequence[float]) -> Calibration:
        layers_s = {Config(2, 0.8, 1): (1e-3, 1.06e-3, 0.97e-3), Config(3, 0.8, 1, is_held_out=True): held_out_s}
        made = [
            Done(config, observe(simulate(scenario(config.stages, TRUTH | {"forward_per_layer": each_s}, seed)), "run"))
            for config, rounds_s in layers_s.items() for seed, each_s in enumerate(rounds_s)
        ]  # fmt: skip
        return cli_calibrate._fitted(made, None)[0]

    honest, poisoned = fitted_beside((1e-3, 1e-3, 1e-3)), fitted_beside((1e-3, 1.09e-3, 0.999e-3))
    assert honest.noise.is_large
    assert profile_text(honest.profile, "") == profile_text(poisoned.profile, "") and honest.figures == poisoned.figures


def test_a_profile_survives_its_file(tmp_path: Path) -> None:
    """What is read back predicts what the profile did, to the digits that are written."""
    profile = fitted(runs(TRUTH | {"contention": [1.0, 1.8]})).profile
    file = tmp_path / "profile.yaml"
    file.write_text(profile_text(profile, "calibrated"), encoding="utf-8")
    one, other = (predict(scenario(3, TRUTH), each).end_s[-1] for each in (profile, load_profile(file)))
    assert one == pytest.approx(other, rel=1e-4)


def test_traces_that_do_not_belong_together_are_refused() -> None:
    """In one line that names the trace."""
    trace, other = runs(TRUTH, (2, 4))
    assert other.header.scenario is not None
    renamed = replace(other.header, scenario=dict(other.header.scenario) | {"model": MODEL | {"name": "huge"}})
    with pytest.raises(InputError, match="run 1: model is huge: must be tiny as in run 0"):
        fitted([trace, Trace(renamed, other.sites, other.site, other.cycle, other.position, other.start_s,
                             other.end_s, other.sequence_starts)])  # fmt: skip
    bare = replace(trace.header, scenario=None)
    with pytest.raises(InputError, match="has no scenario in its header"):
        observe(Trace(bare), "bare")
    with pytest.raises(InputError, match="no trace is given"):
        fit_traces([], "nothing")
    broken = replace(trace.header, scenario={"model": MODEL})
    with pytest.raises(InputError, match="bad: scenario in its header: devices: field required"):
        observe(Trace(broken), "bad")


def test_a_round_in_which_the_machine_was_busy_is_left_out() -> None:
    """Of what is fitted and of what is held out alike, by its own cycles only."""
    slow = TRUTH | {"forward_per_layer": 2e-3}
    done = [
        Done(config, observe(simulate(scenario(config.stages, timing, seed)), "run"))
        for seed, timing in enumerate((TRUTH, slow, TRUTH))
        for config in (Config(2, 0.8, 1), Config(3, 0.8, 1, is_held_out=True))
    ]
    assert undisturbed(done) == [*done[:2], *done[4:]]
    # Where hardly two rounds are alike, half of them are left.
    lengths = [1e-3, 1.5e-3, 2e-3, 2.5e-3]
    several = [
        Done(Config(2, 0.8, 1), observe(simulate(scenario(2, TRUTH | {"forward_per_layer": each_s})), "run"))
        for each_s in lengths
    ]
    assert undisturbed(several) == several[:2]


def test_a_noisy_machine_widens_the_intervals_of_what_runs_tell() -> None:
    """A tenth up and down from round to round; on a quiet one they stay as they are."""
    lengths = {2: (0.9, 1.1, 1.0), 3: (1.1, 0.9, 1.0)}
    done = [
        Done(Config(stages, 0.8, 1), observe(simulate(scenario(stages, TRUTH | {"forward_per_layer": each_s})), ""))
        for stages, several in lengths.items() for each_s in (1e-2 * length for length in several)
    ]  # fmt: skip
    found = noise(done)
    assert found.is_large and found.fraction == pytest.approx(0.1, abs=0.02) and found.rounds == 3
    observed = [each.observed for each in done]
    plain, noisy = (
        {figure.key: figure for figure in fit_traces(observed, "a test", noise=given).figures}
        for given in (None, found)
    )
    for key, known in plain.items():
        wider = (found.fraction / 3**0.5) * known.mean
        assert noisy[key].std_error == pytest.approx((known.std_error**2 + wider**2) ** 0.5)
    quiet = noise_of([(1.0, 1.01, 0.99), (2.0,)])
    assert quiet.fraction == pytest.approx(0.01) and not quiet.is_large and quiet.std_error_fraction == 0.0
    assert noise_of([(1.0,)]).fraction == 0.0


@pytest.mark.parametrize(
    "law", [LogNormal(1e-3, 0.2), Gamma(1e-3, 0.5), Constant(2e-3), Empirical((1e-3, 1e-3, 9e-3))], ids=str
)
def test_samples_are_given_the_simplest_law_that_fits(law: Distribution) -> None:
    """With their mean, and its error."""
    samples = draw(law, np.random.default_rng(3), 900)
    chosen = choose(samples)
    assert mean_s(chosen.distribution) == pytest.approx(samples.mean(), rel=1e-6)
    assert abs(chosen.mean_s - mean_s(law)) <= 4.0 * max(chosen.std_error_s, 1e-12)
    family = {"constant": ("constant",), "empirical": ("empirical",)}.get(type(law).__name__.lower())
    assert chosen.family in (family or ("lognormal", "gamma", "normal"))


WANTED = Wanted((2, 4), (0.9, 0.6), (1, 2), (3,), (0.8,), 16, 2, 5, ("--device", "cpu"), (), ("--backend", "gloo"))


class Executor:
    """Writes simulated traces. lasts_s: of each run, on a clock of its own. fails_at: the run that ends in an error."""

    def __init__(self, lasts_s: float = 1.0, fails_at: int | None = None) -> None:
        self.asked: list[list[str]] = []
        self.now_s = 0.0
        self._lasts_s, self._fails_at = lasts_s, fails_at

    def __call__(self, given: Sequence[str]) -> None:
        from spdsim.tracefile import write_trace

        if len(self.asked) == self._fails_at:
            raise RunError("spdsim-exec: rank 2 is gone")
        self.asked.append(list(given))
        self.now_s += self._lasts_s
        stages = int(given[given.index("--stages") + 1])
        write_trace(simulate(scenario(stages, TRUTH)), given[given.index("--trace") + 1])

    @property
    def traces(self) -> list[str]:
        """What was written, by name."""
        return [Path(given[given.index("--trace") + 1]).name for given in self.asked]


def no_progress(*_: object) -> None:
    """Look away."""


def test_rounds_run_everything_in_turn_and_held_out_runs_have_seeds_of_their_own(tmp_path: Path) -> None:
    """The executor is asked for each by its arguments, and only its traces are read."""
    executor = Executor()
    steps: list[tuple[int, int, str]] = []
    done, probes = perform(WANTED, Kept(tmp_path, resume=False), lambda *step: steps.append(step), executor)
    asked = executor.asked
    assert probes is None
    assert [each.config.stages for each in done] == [1, 2, 2, 4, 4, 2, 3] * 2
    seeds = [int(given[given.index("--seed") + 1]) for given in asked]
    held_out = [each.config.is_held_out for each in done]
    assert {seed for seed, is_held in zip(seeds, held_out, strict=True) if not is_held} == {5, 6}
    assert not {5, 6} & {seed for seed, is_held in zip(seeds, held_out, strict=True) if is_held}
    assert "--backend" not in asked[0] and "--backend" in asked[1]
    assert steps[0] == (0, 14, "plain decoding") and steps[-1] == (14, 14, "done")
    assert "--no-baseline" in arguments(replace(WANTED, is_emulated=True), Config(2, 0.9, 1), 0)
    assert executor.traces[:2] == ["plain-0.jsonl", "stages2-p0.9-layers1-0.jsonl"]
    assert executor.traces[6] == "stages3-p0.8-layers1-held-out-0.jsonl" and len(set(executor.traces)) == 14


@pytest.mark.parametrize(("lasts_s", "rounds"), [(1.0, 8), (5.0, 5), (20.0, 3)])
def test_short_runs_are_made_more_often(
    lasts_s: float, rounds: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nobody says how often: seven configurations, three rounds at the least, and eight at the most."""
    executor = Executor(lasts_s)
    monkeypatch.setattr(campaign, "monotonic", lambda: executor.now_s)
    done, _ = perform(replace(WANTED, rounds=None), Kept(tmp_path, resume=False), no_progress, executor)
    assert len(done) == 7 * rounds == len(executor.asked)


def test_what_was_measured_before_it_was_cut_short_serves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what else is asked for, but not where the arguments are others; and not unless it is asked for."""
    failing = Executor(fails_at=9)
    with pytest.raises(RunError):
        perform(WANTED, Kept(tmp_path, resume=False), no_progress, failing)
    rest = Executor()
    done, _ = perform(WANTED, Kept(tmp_path, resume=True), no_progress, rest)
    assert len(done) == 14 and failing.traces + rest.traces == names_of_two_rounds()
    more = Executor()
    perform(replace(WANTED, rounds=3), Kept(tmp_path, resume=True), no_progress, more)
    assert len(more.asked) == 7
    # As many rounds as there was time for before, though there is less now.
    slow = Executor(100.0)
    monkeypatch.setattr(campaign, "monotonic", lambda: slow.now_s)
    perform(replace(WANTED, rounds=4), Kept(tmp_path, resume=True), no_progress, slow)
    slow.asked.clear()
    assert len(perform(replace(WANTED, rounds=None), Kept(tmp_path, resume=True), no_progress, slow)[0]) == 28
    assert not slow.asked
    other = Executor()
    perform(replace(WANTED, seed=6), Kept(tmp_path, resume=True), no_progress, other)
    assert len(other.asked) == 14
    anew = Executor()
    perform(WANTED, Kept(tmp_path, resume=False), no_progress, anew)
    assert len(anew.asked) == 14


def names_of_two_rounds() -> list[str]:
    """The traces of two rounds."""
    return [config.trace_name(number) for number in range(2) for config in WANTED.configs()]


def test_pipelines_whose_messages_went_other_ways_are_not_fitted_together(tmp_path: Path) -> None:
    """As when there are devices for a worker each up to some number of stages; plain decoding has no messages."""

    def run(given: Sequence[str]) -> None:
        from spdsim.tracefile import write_trace

        stages = int(given[given.index("--stages") + 1])
        trace = simulate(scenario(stages, TRUTH))
        trace.header = replace(trace.header, machine={"backend": "nccl" if stages in (2, 3) else "local"})
        write_trace(trace, given[given.index("--trace") + 1])

    with pytest.raises(
        InputError, match=r"4 stages, p = 0.9, 1 draft layers: ran over local, and 2 stages.* over nccl"
    ):
        perform(WANTED, Kept(tmp_path, resume=False), no_progress, run)
    alike = replace(WANTED, stages=(2,))
    done, _ = perform(alike, Kept(tmp_path, resume=False), no_progress, run)
    observed = [each.observed for each in done]
    assert fitted_alike(observed[:2]) and observed[0].transport == "local"
    run(["--stages", "4", "--trace", str(tmp_path / "four.jsonl")])
    other = observe(read_trace(tmp_path / "four.jsonl"), "four.jsonl")
    with pytest.raises(InputError, match=r"four.jsonl: backend is local: must be nccl as in"):
        fit_traces([*observed, other], "a test")


def fitted_alike(observed: Sequence[Observed]) -> bool:
    """Whether they can be fitted together."""
    return bool(fit_traces(observed, "a test").figures)


def test_what_was_measured_before_stays_until_there_is_something_new(tmp_path: Path) -> None:
    """A wrong option costs nothing that was there; the first run that is made does."""
    before = Executor()
    perform(WANTED, Kept(tmp_path, resume=False), no_progress, before)
    wrong = Kept(tmp_path, resume=False)
    with pytest.raises(RunError):
        perform(replace(WANTED, seed=6), wrong, no_progress, Executor(fails_at=0))
    wrong.forget()
    again = Executor()
    perform(WANTED, Kept(tmp_path, resume=True), no_progress, again)
    assert not again.asked
    fewer = replace(WANTED, rounds=1, predicted_stages=())
    perform(fewer, Kept(tmp_path, resume=False), no_progress, Executor())
    assert {path.name for path in tmp_path.iterdir()} == {LIST, *(each.trace_name(0) for each in fewer.configs())}


def test_only_what_a_calibration_wrote_is_removed(tmp_path: Path) -> None:
    """A list that is none, or that names a file elsewhere, is refused."""
    where = tmp_path / "runs"
    kept = Kept(where, resume=False)
    (where / "a.jsonl").touch()
    (where / "mine.txt").touch()
    kept.keep("a.jsonl", ["generate"])
    # Whoever was to make it was stopped, and made it all the same.
    kept.begin("b.jsonl").touch()
    assert len(Kept(where, resume=True)) == 1 and not Kept(where, resume=True).has("b.jsonl", ())
    kept.forget()
    kept.leave()
    assert [path.name for path in where.iterdir()] == ["mine.txt"]
    for text in ("[]", '{"../mine.txt": []}', "{"):
        (where / LIST).write_text(text)
        with pytest.raises(InputError, match=LIST):
            Kept(where, resume=False)
