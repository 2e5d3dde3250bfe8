"""Methods on a scenario's devices: each against its law, and against what it needs."""

from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from spdsim import theory
from spdsim.acceptance import Bernoulli, ByFillDepth
from spdsim.analysis.report import Report
from spdsim.analysis.summary import summarize
from spdsim.evaluation import evaluate, evaluate_method
from spdsim.methods import METHODS, Method, Missing, methods_of
from spdsim.methods.drafters import accept_length
from spdsim.methods.durations import in_series
from spdsim.scenario import Scenario, load_scenario
from spdsim.scenario.rivals import AcceptLength, accepted_model
from spdsim.simulation import simulate, simulate_method
from tests.commands import ROOT

H100X8 = ROOT / "scenarios" / "h100x8.yaml"
KEYS = [entry.key for entry in METHODS]


@cache
def scenario(*settings: str) -> Scenario:
    return load_scenario(H100X8, ["replications=4", *settings])


def method(key: str, *settings: str) -> Method:
    found = next(iter(methods_of(scenario(*settings), (key,))))
    assert isinstance(found, Method), found
    return found


def missing(key: str, *settings: str) -> str:
    found = next(iter(methods_of(scenario(*settings), (key,))))
    assert isinstance(found, Missing), found
    return found.reason


def report_of(key: str, *settings: str) -> Report:
    each = method(key, *settings)
    return summarize(simulate_method(scenario(*settings), key, each.machine, each.acceptance))


@pytest.mark.parametrize("key", [key for key in KEYS if key != "plain"])
def test_every_method_gives_a_sound_trace_and_uses_no_more_than_there_is(key: str) -> None:
    """Of h100x8, on which all but one device alone can be had; `summarize` refuses traces that cannot be whole runs."""
    each, found = method(key), report_of(key)
    assert found.num_tokens == 4 * 512
    assert found.speedup is not None
    assert sum(worker.useful_fraction for worker in found.workers) > 0.5
    assert 1 <= each.num_devices <= 8
    assert 0 < each.device_bytes <= 80 * 1024**3
    evaluated = evaluate_method(scenario(), each.machine, each.acceptance)
    assert found.time_per_token_s is not None
    assert evaluated.time_per_token_s.mean == pytest.approx(found.time_per_token_s.mean, rel=0.02)


@pytest.mark.parametrize(
    "key", ["tensor_parallel", "plain_pipeline", "draft_then_verify", "eagle", "one_pass", "asynchronous", "ssd", "dsi"]
)
def test_a_method_with_a_closed_form_takes_what_it_says(key: str) -> None:
    """Within the interval of the simulation, and a half per cent for hosts and for the ends of the sequences."""
    each = method(key)
    found = evaluate_method(scenario(), each.machine, each.acceptance, precision=0.01).time_per_token_s
    assert each.law_s is not None
    assert found.mean == pytest.approx(each.law_s, rel=0.016)


def test_spd_as_written_is_the_scenario_itself() -> None:
    """To the bit: the same machine, the same coins."""
    each = method("spd")
    assert evaluate_method(scenario(), each.machine, each.acceptance).time_per_token_s == (
        evaluate(scenario()).time_per_token_s
    )


@pytest.mark.parametrize("key", ["draft_then_verify", "eagle", "one_pass"])
def test_the_best_number_of_drafts_is_the_one_with_the_least_time(key: str) -> None:
    """Among those that are tried, by simulation."""
    name = "draft_model" if key == "draft_then_verify" else key
    best = method(key)
    tried = [method(key, f"rivals.{name}.draft_tokens={count}") for count in (1, 2, 3, 4, 5, 6, 8, 12)]
    times_s = [each.law_s for each in tried]
    assert best.law_s is not None
    assert best.law_s <= min(time_s for time_s in times_s if time_s is not None)


@pytest.mark.parametrize(
    ("key", "setting", "reason"),
    [
        ("draft_then_verify", "rivals.draft_model=null", "give rivals.draft_model"),
        ("asynchronous", "rivals.draft_model=null", "give rivals.draft_model"),
        ("specpipe", "rivals.draft_model=null", "give rivals.draft_model"),
        ("eagle", "rivals.eagle=null", "give rivals.eagle"),
        ("one_pass", "rivals.one_pass=null", "give rivals.one_pass"),
        ("ppsd", "rivals.ppsd=null", "give rivals.ppsd"),
        ("ssd", "rivals.ssd=null", "give rivals.ssd.hit_rate"),
        ("specpipe", "rivals.specpipe=null", "give rivals.specpipe"),
        ("tensor_parallel", "devices.gpu.name=mine", "links.all_reduce_s is missing"),
        ("dsi", "rivals.draft_model.acceptance={kind: by_position, p: [0.8, 0.7]}", "one acceptance for all drafts"),
    ],
)
def test_a_method_that_cannot_be_had_says_what_to_add(key: str, setting: str, reason: str) -> None:
    """By the key of the scenario."""
    assert reason in missing(key, setting)


def test_a_profile_of_whole_stages_is_not_cut_anew() -> None:
    """What another number of them would take is not known; SPD as it is written is."""
    whole = load_scenario(ROOT / "scenarios" / "tutorial.yaml", ["timing.profile.forward=2e-3",
                                                                "timing.profile.forward_per_layer=null"])  # fmt: skip
    found = {each.key: each for each in methods_of(whole)}
    assert [key for key, each in found.items() if isinstance(each, Method)] == ["spd", "spd_sharded"]
    for key in ("plain", "plain_pipeline", "spd_colocated"):
        each = found[key]
        assert isinstance(each, Missing) and "give forward_per_layer in place of forward" in each.reason


def test_a_target_that_fits_no_device_is_not_decoded_on_one() -> None:
    """And the reason says how much it lacks."""
    assert "141.3 GB" in missing("plain")


def test_one_device_has_plain_decoding_and_drafts_in_rounds_only() -> None:
    """What needs a second device says so."""
    small = load_scenario(
        ROOT / "scenarios" / "rtx4090x4-pcie.yaml",
        ["devices.count=1", "partition.stages=1", "links.intra_node.shared=false"],
    )
    found = {each.key: each for each in methods_of(small)}
    had = {key for key, each in found.items() if isinstance(each, Method)}
    assert had == {"plain", "draft_then_verify", "eagle"}
    assert all(each.reason for each in found.values() if isinstance(each, Missing))


@pytest.mark.parametrize("draft_tokens", [1, 3, 8])
@pytest.mark.parametrize("p", [0.0, 0.3, 0.8, 1.0])
def test_an_accept_length_is_the_acceptance_that_gives_it(p: float, draft_tokens: int) -> None:
    """Each is worked out from the other; constant acceptance is acceptance by position that does not change."""
    tokens = theory.accept_length(p, draft_tokens)
    model = accepted_model(AcceptLength(kind="accept_length", tokens=tokens, draft_tokens=draft_tokens))
    assert isinstance(model, Bernoulli)
    assert model.p == pytest.approx(p, abs=1e-9)
    assert accept_length(ByFillDepth((p,)), draft_tokens) == pytest.approx(tokens)


def test_an_accept_length_beyond_the_drafts_is_refused() -> None:
    """With the key and the rule."""
    with pytest.raises(ValueError, match="must be 1 to 4"):
        theory.acceptance_of_accept_length(4.5, 3)


def test_all_reduces_are_messages_of_the_same_length_as_in_the_time_of_a_group() -> None:
    """Tensor-parallel workers, one by one, take as long as the group that they are as one stage of n = 1."""
    each = method("tensor_parallel")
    group = load_scenario(H100X8, ["replications=4", "partition.stages=1", "partition.tensor_parallel=8"])
    together = evaluate(group).time_per_token_s.mean
    apart = evaluate_method(scenario(), each.machine, each.acceptance).time_per_token_s.mean
    assert apart == pytest.approx(together, rel=2e-3)


def test_tasks_in_series_take_as_long_as_one_after_another() -> None:
    """On the device and on the host; the first decides when the device can begin."""
    machine = method("eagle").machine
    forward, verify = machine.tasks[1, "forward"], machine.tasks[1, "verify"]
    both = in_series(forward, verify)
    assert forward.issue and verify.issue and both.issue
    assert both.issue.total_s == forward.issue.total_s + verify.issue.total_s
    assert both.issue.lead_s == forward.issue.lead_s
    assert in_series(forward, replace(verify, issue=None)).issue is None


TUTORIAL = ROOT / "scenarios" / "tutorial.yaml"
RTX = ROOT / "scenarios" / "rtx4090x4-pcie.yaml"
SMALL = ("model=llama-3.1-8b", "partition.stages=6", "workload.new_tokens=64")


def of(file: Path, key: str, *settings: str) -> Method | Missing:
    return next(iter(methods_of(load_scenario(file, ["replications=4", *settings]), (key,))))


@pytest.mark.parametrize("key", ["plain", "eagle", "draft_then_verify", "asynchronous", "spd"])
def test_what_hosts_do_between_cycles_is_paid_by_every_method(key: str) -> None:
    """A millisecond of it makes every method slower."""
    rivals = ["rivals.eagle={acceptance: {p: 0.75}}", "rivals.draft_model={step_s: 1e-3, acceptance: {p: 0.7}}"]
    times_s = []
    for between_s in ("0.0", "1e-3"):
        whole = load_scenario(TUTORIAL, [*rivals, f"timing.profile.control={{between_cycles_s: {between_s}}}"])
        each = next(iter(methods_of(whole, (key,))))
        assert isinstance(each, Method)
        times_s.append(evaluate_method(whole, each.machine, each.acceptance).time_per_token_s.mean)
    assert times_s[1] > times_s[0] + 0.2e-3


def test_replicas_are_as_many_as_decode_soonest_and_not_as_there_are_devices() -> None:
    """With a slow drafter a restart over many replicas costs more than they give."""
    each = of(RTX, "dsi", "devices.count=8", "rivals.draft_model={step_s: 6e-3, acceptance: {p: 0.5}}",
              "links.intra_node.shared=false")  # fmt: skip
    assert isinstance(each, Method)
    assert each.num_devices < 8
    assert each.law_s is not None and each.law_s < 15e-3


@pytest.mark.parametrize("key", ["dsi", "ssd", "asynchronous"])
def test_a_drafter_on_another_node_is_reached_over_the_link_between_nodes(key: str) -> None:
    """Where every device is a node there is no other link at all; a slow one is felt."""
    apart = (*SMALL, "devices.per_node=1", "links.intra_node=null", "workload.new_tokens=32")
    times_s = []
    for latency_s in ("1e-6", "1e-2"):
        link = f"links.inter_node={{latency_s: {latency_s}, bandwidth_bytes_per_s: 50e9}}"
        whole = load_scenario(H100X8, ["replications=2", *apart, link])
        each = next(iter(methods_of(whole, (key,))))
        assert isinstance(each, Method), each
        times_s.append(evaluate_method(whole, each.machine, each.acceptance).time_per_token_s.mean)
    assert times_s[1] > times_s[0] + 1e-3


def test_a_drafter_that_does_not_fit_beside_the_target_is_no_drafter() -> None:
    """Two models of 16 GB on one device of 25.8 GB."""
    each = of(RTX, "draft_then_verify", "rivals.draft_model.model=llama-3.1-8b")
    assert isinstance(each, Missing)
    assert "a device would need 32" in each.reason


def test_an_lm_head_of_its_own_keeps_its_device_beside_a_colocated_draft() -> None:
    """And every stage has one, too."""
    each = of(H100X8, "spd_colocated", *SMALL, "partition.lm_head=own_device")
    assert isinstance(each, Method)
    stages = [worker.device for worker in each.machine.workers if worker.role == "stage"]
    assert len(set(stages)) == len(stages) == 7


def test_variants_of_a_scenario_in_groups_are_cut_into_single_devices() -> None:
    """The same devices, one for each stage."""
    for key in ("spd_colocated", "spd_sharded"):
        assert isinstance(of(H100X8, key, *SMALL, "partition.tensor_parallel=2", "partition.stages=3"), Method)


def test_an_all_reduce_given_for_one_size_says_nothing_of_another() -> None:
    """The table serves the others."""
    settings = (*SMALL, "partition.tensor_parallel=2", "partition.stages=3")
    told, table = (of(H100X8, "tensor_parallel", *settings, *more) for more in (("links.all_reduce_s=1e-9",), ()))
    assert isinstance(told, Method) and isinstance(table, Method)
    assert told.num_devices == table.num_devices == 8
    assert told.law_s == table.law_s


def test_every_method_decodes_what_a_record_has() -> None:
    """Plain decoding, too, although nothing of it is recorded."""
    replay = "acceptance={kind: replay, accepted: [AAAAAAR, AAARAAAA]}"
    whole = load_scenario(H100X8, ["replications=2", *SMALL, replay])
    for key in ("spd", "tensor_parallel"):
        each = next(iter(methods_of(whole, (key,))))
        assert isinstance(each, Method)
        trace = simulate_method(whole, key, each.machine, each.acceptance)
        assert summarize(trace).num_tokens == 8 + 9


def test_a_speedup_over_groups_is_the_same_in_a_sweep_and_in_a_report() -> None:
    """Both are over the plain pipeline of the groups."""
    whole = load_scenario(H100X8, [*SMALL, "partition.tensor_parallel=2", "partition.stages=3", "replications=40"])
    evaluated, report = evaluate(whole), summarize(simulate(whole))
    assert evaluated.speedup is not None and report.speedup is not None
    assert evaluated.speedup.mean == pytest.approx(report.speedup.mean, rel=0.05)
