"""Many replications: figures from all of them, of which only the first have spans."""

import json
from pathlib import Path

import pytest

from spdsim.analysis.report import Estimate, Report
from spdsim.analysis.summary import summarize
from spdsim.evaluation import complete
from spdsim.methods import Method, methods_of
from spdsim.scenario import load_scenario, scenario_sha256
from spdsim.simulation import TRACED_REPLICATIONS, simulate, simulate_method
from spdsim.timing import machine_of
from spdsim.tracefile import read_trace
from tests.commands import TUTORIAL, spdsim

COUNTED = (
    "num_sequences", "num_tokens", "num_cycles", "num_rejections", "measured_acceptance", "tokens_per_cycle",
    "equivalent_accept_length",
)  # fmt: skip
ESTIMATED = ("tokens_per_s", "time_to_first_token_s", "time_per_token_s")


def bounds(estimate: Estimate | None) -> tuple[float | None, ...]:
    assert estimate is not None
    return estimate.mean, estimate.low, estimate.high


def assert_agree(found: Report, whole: Report) -> None:
    """All that needs no spans is what spans of everything say."""
    for name in COUNTED:
        expected = getattr(whole, name)
        assert getattr(found, name) == (expected if expected is None else pytest.approx(expected, rel=1e-12)), name
    for name in ESTIMATED:
        assert bounds(getattr(found, name)) == pytest.approx(bounds(getattr(whole, name)), rel=1e-9), name
    # What plain decoding takes is read off spans, of few sequences or of all.
    assert bounds(found.speedup) == pytest.approx(bounds(whole.speedup), rel=1e-3)
    for line, of_all in zip(found.baselines, whole.baselines, strict=True):
        assert line.name == of_all.name
        assert line.speedup == pytest.approx(of_all.speedup, rel=1e-3)


@pytest.mark.parametrize(
    "settings",
    [
        (),
        ("workload.sequences=2",),
        ("workload.new_tokens={kind: uniform, low: 1, high: 20}",),
        ("partition.stages=1",),
        # Its devices are shared, so that the engine runs them all.
        ("devices.workers=[0, 1, 1, 2, 3]", "devices.count=4"),
    ],
    ids=str,
)
def test_figures_of_all_replications_are_those_that_spans_of_all_give(settings: tuple[str, ...]) -> None:
    """With durations that are constant, so that plain decoding takes the same in all."""
    scenario = load_scenario(TUTORIAL, ["replications=30", *settings])
    machine = machine_of(scenario)
    trace = simulate(scenario, replications=4)
    first, whole = summarize(trace), summarize(simulate(scenario))
    assert trace.num_sequences == 4 * scenario.workload.sequences
    calls: list[tuple[int, int]] = []
    found = complete(first, trace, scenario, machine, progress=lambda *both: calls.append(both))
    assert_agree(found, whole)
    assert (found.num_traced, whole.num_traced) == (first.num_sequences, whole.num_sequences)
    assert (found.waterfall, found.workers, found.cycle_s) == (first.waterfall, first.workers, first.cycle_s)
    assert calls[-1] == (30, 30)


@pytest.mark.parametrize("key", ["eagle", "ppsd", "tensor_parallel"])
def test_so_are_those_of_another_method(key: str) -> None:
    """Over one device, or over the stages one after another."""
    scenario = load_scenario(
        Path(str(TUTORIAL)).parent / "rtx4090x4-pcie.yaml", ["replications=24", "workload.new_tokens=40"]
    )
    scenario = scenario.model_copy(update={"links": scenario.links.model_copy(update={"all_reduce_s": 2e-5})})
    (method,) = methods_of(scenario, (key,))
    assert isinstance(method, Method)
    few, whole = (
        simulate_method(scenario, key, method.machine, method.acceptance, replications=count) for count in (3, None)
    )
    found = complete(summarize(few), few, scenario, method.machine, method.acceptance)
    assert_agree(found, summarize(whole))


def test_nothing_decoded_has_counts_only() -> None:
    """A single token has no time per token in however many replications."""
    scenario = load_scenario(TUTORIAL, ["replications=30", "workload.new_tokens=1"])
    trace = simulate(scenario, replications=2)
    found = complete(summarize(trace), trace, scenario, machine_of(scenario))
    assert (found.num_sequences, found.num_tokens, found.time_per_token_s, found.speedup) == (30, 30, None, None)


def test_the_command_says_of_what_its_tables_are() -> None:
    """Beyond 20 replications."""
    words = ("simulate", TUTORIAL, "--no-timeline", "--replications")
    some, many = (" ".join(spdsim(*words, str(count)).stdout.split()) for count in (TRACED_REPLICATIONS, 500))
    told = "of the first 20 sequences: percentiles, cycle, and the tables below"
    assert told in many and "500 sequences" in many
    assert told not in some
    document = json.loads(spdsim(*words, "500", "--json", "-").stdout)
    assert (document["num_sequences"], document["num_traced"], document["replications"]) == (500, 20, 500)
    assert document["time_per_token_s"]["high"] / document["time_per_token_s"]["low"] < 1.1


def test_a_trace_file_names_the_scenario_that_was_asked_for(tmp_path: Path) -> None:
    """With all of its replications, of which the file holds the first."""
    path = tmp_path / "trace.jsonl"
    spdsim("simulate", TUTORIAL, "--quiet", "--replications", "30", "--trace", str(path))
    header = read_trace(path).header
    scenario = load_scenario(TUTORIAL, ["replications=30"])
    assert header.scenario_sha256 == scenario_sha256(scenario)
