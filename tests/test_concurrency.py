"""Methods with several sequences in flight: their figures, where SPD stops paying, and what the command says."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from spdsim.analysis.concurrent import together
from spdsim.analysis.report import Estimate
from spdsim.analysis.summary import summarize
from spdsim.choice.concurrency import (
    Cell,
    Turn,
    _Table,
    compare_concurrency,
    numbers_of,
    simulated,
    together_of,
    trace_of,
)
from spdsim.errors import InputError, ScenarioError, TraceError
from spdsim.evaluation.runs import EngineProducer
from spdsim.methods import concurrent
from spdsim.methods.concurrent import Arrangement, arrangements, machine_in_step, with_concurrency
from spdsim.methods.method import CannotBeHadError
from spdsim.methods.target import batch_factors, target_on
from spdsim.perfetto import write_perfetto
from spdsim.render.concurrency import sentence
from spdsim.render.timeline import timeline
from spdsim.scenario import Scenario, load_scenario, scenario_document, scenario_sha256
from spdsim.scenario.memory import context_tokens, device_bytes
from spdsim.scenario.times import Roofline
from spdsim.simulation import simulate
from spdsim.timing.plain import decode_times
from spdsim.tracefile import write_trace
from tests.commands import ROOT, TUTORIAL, spdsim
from tests.machines import empty_trace

SMALL = ("workload.new_tokens=24", "partition.stages=2", "devices.count=3")
RIVALS = (
    "rivals={eagle: {acceptance: {kind: constant, p: 0.7}}, "
    "draft_model: {step_s: 1e-3, acceptance: {kind: constant, p: 0.6}}}"
)


def tutorial(*settings: str) -> Scenario:
    return load_scenario(TUTORIAL, [*SMALL, *settings])


def roofline(*settings: str) -> Scenario:
    """A 70B model on eight GPUs, with times by the roofline."""
    return load_scenario(ROOT / "scenarios" / "h100x8.yaml", ["workload.new_tokens=24", *settings])


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("1", (1,)), ("1,2,4", (1, 2, 4)), ("1..32", (1, 2, 4, 8, 16, 32)), ("3..10,1", (1, 3, 6, 10)), ("5..5", (5,))],
)
def test_an_option_names_numbers_of_sequences(text: str, numbers: tuple[int, ...]) -> None:
    assert numbers_of(text) == numbers


@pytest.mark.parametrize("text", ["", "0", "a", "4..2", "1..", "1,,2", "2000"])
def test_other_options_are_refused_in_one_line(text: str) -> None:
    with pytest.raises(InputError, match=r"--concurrency is .*: must be numbers from 1 to 1024, such as"):
        numbers_of(text)


@pytest.mark.parametrize("key", ["plain", "plain_pipeline", "spd", "spd_sharded", "eagle"])
def test_one_sequence_has_the_times_that_it_has_elsewhere(key: str) -> None:
    """Bit for bit, sequence by sequence."""
    scenario = tutorial(RIVALS)
    (way,) = arrangements(scenario, key, 1)
    runs = EngineProducer(scenario, way.shares[0].machine, way.acceptance).runs(0, 3)
    for number in range(3):
        found = together_of(scenario, way, way.shares[0], number)
        assert found.times_s.tolist() == [runs.end_s[number] - runs.begin_s[number]]
        assert found.num_tokens.tolist() == [23]
        assert found.first_token_s == runs.begin_s[number] - runs.prompt_at_s[number]


# What several sequences take.


def test_weights_are_read_once_and_caches_by_each() -> None:
    scenario = roofline()
    model, gpu = scenario.model, scenario.devices.gpu
    one, rows, four = (
        decode_times(model, gpu, "cuda_graph", rows=rows, sequences=sequences)
        for rows, sequences in ((1, 1), (4, 1), (4, 4))
    )
    assert one is not None and rows is not None and four is not None
    assert four.context_token_s == 4 * one.context_token_s == 4 * rows.context_token_s
    # A model without recurrent states has nothing else of its own for a sequence.
    assert four.fixed_s == rows.fixed_s < 1.2 * one.fixed_s


def test_recurrent_states_are_read_and_written_by_each() -> None:
    scenario = load_scenario(ROOT / "scenarios" / "h100x8.yaml", ["model=qwen3.5-9b", "draft.anchors=5"])
    model, gpu = scenario.model, scenario.devices.gpu
    together, of_one = (decode_times(model, gpu, "cuda_graph", rows=4, sequences=number) for number in (4, 1))
    assert together is not None and of_one is not None
    states = sum(layer.state_bytes for layer in model.layers)
    fraction = _bandwidth(scenario)
    assert states and together.fixed_s - of_one.fixed_s == pytest.approx(3 * states / fraction)


def _bandwidth(scenario: Scenario) -> float:
    from spdsim.scenario.times import resolve
    from spdsim.timing.roofline import rates_of

    return rates_of(scenario.devices.gpu, resolve(Roofline(), scenario.devices.gpu, "cuda_graph")).bytes_per_s


def test_sequences_that_keep_step_take_a_step_of_all_their_rows() -> None:
    """On a tensor-parallel group, its all-reduces of that many hidden states included."""
    scenario = roofline()
    target = target_on(scenario, "tensor_parallel", 8)
    alone, six = machine_in_step(target, 1), machine_in_step(target, 6)
    forward, head = batch_factors(scenario, 6, 6, 8)
    assert 1.0 < forward < 1.5 and 1.0 < head < 1.5
    for task, factor in (("forward", forward), ("verify", head)):
        one, several = (cast("Any", machine.tasks)[0, task] for machine in (alone, six))
        assert several.base.value_s == pytest.approx(factor * one.base.value_s)
        assert several.per_context_token_s == 6 * one.per_context_token_s


def test_a_device_holds_the_caches_of_all_sequences() -> None:
    scenario = roofline()
    one, five = (sum(device_bytes(with_concurrency(scenario, number))) for number in (1, 5))
    layers = (*scenario.model.layers, *(scenario.model.draft_layer,) * scenario.draft.layers)
    assert five - one == 4 * context_tokens(scenario) * sum(layer.kv_bytes_per_token for layer in layers)


def test_more_sequences_than_the_memory_holds_cannot_be_had() -> None:
    scenario = roofline("workload.prompt_tokens=100000")
    assert list(arrangements(scenario, "spd", 2))
    with pytest.raises(CannotBeHadError, match="needs"):
        list(arrangements(scenario, "spd", 64))


def test_a_late_verdict_is_refused_with_several_sequences() -> None:
    scenario = tutorial("partition.verification_lag=1")
    with pytest.raises(CannotBeHadError, match="verification_lag is 1: must be 0 with several sequences"):
        list(arrangements(scenario, "spd", 2))


def test_a_method_without_a_law_for_several_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(concurrent, "KEYS", ("plain",))
    assert list(arrangements(tutorial(), "spd", 1))
    with pytest.raises(CannotBeHadError, match="not with several sequences in flight"):
        list(arrangements(tutorial(), "spd", 2))


def test_copies_share_the_sequences_as_evenly_as_can_be() -> None:
    (way,) = arrangements(tutorial(), "plain_copies", 7)
    assert [(share.copies, share.sequences) for share in way.shares] == [(1, 3), (2, 2)]
    cell = simulated(tutorial(), way, 1)
    few, many = (simulated(tutorial(), next(arrangements(tutorial(), "plain", number)), 1) for number in (2, 3))
    assert cell.tokens_per_s.mean == pytest.approx(many.tokens_per_s.mean + 2 * few.tokens_per_s.mean)
    assert cell.time_per_token_s.mean == pytest.approx(7 / cell.tokens_per_s.mean)


@pytest.mark.parametrize("key", ["spd", "spd_colocated", "spd_sharded", "plain_pipeline", "eagle", "draft_then_verify"])
def test_all_sequences_are_decoded_to_the_end_in_order(key: str) -> None:
    scenario = tutorial(RIVALS)
    for way in arrangements(scenario, key, 3):
        for share in way.shares:
            trace, stride = trace_of(scenario, way, share, 0)
            commits = [span.position for span in trace.spans() if span.op == "commit"]
            for sequence in range(share.shown):
                own = [number % stride for number in commits if number // stride == sequence]
                assert own == list(range(24))
            figures = together(trace, 0, share.shown, stride)
            assert all(0.0 < fraction <= 1.0 + 1e-12 for fraction in figures.busy_fraction)
            assert figures.tokens_per_s * figures.time_per_token_s == pytest.approx(share.shown)


def test_the_prompts_of_the_draft_module_are_no_part_of_decoding_either() -> None:
    """However long they take, the figures with several sequences are those of the cycles after them."""
    few, many = (
        simulated(scenario, next(arrangements(scenario, "spd", 3)), 1).time_per_token_s.mean
        for scenario in (tutorial(), tutorial("timing.profile.draft_prefill=5"))
    )
    assert few == pytest.approx(many, rel=0.05)


def test_a_trace_out_of_order_is_refused() -> None:
    scenario = tutorial()
    way = next(arrangements(scenario, "plain_pipeline", 2))
    trace, stride = trace_of(scenario, way, way.shares[0], 0)
    last = max(i for i in range(len(trace)) if trace.sites[trace.site[i]].op == "commit")
    trace.position[last] += 1
    with pytest.raises(TraceError, match="not committed in order"):
        together(trace, 0, 2, stride)
    with pytest.raises(TraceError, match="run 0 is not in the trace"):
        together(empty_trace(way.shares[0].machine), 0, 2, stride)


def test_what_reads_one_sequence_at_a_time_refuses_a_trace_of_several(tmp_path: Path) -> None:
    """Rather than tell the wrong tokens: the report, the timeline, the viewer and the file."""
    scenario = tutorial()
    way = next(arrangements(scenario, "spd", 2))
    trace, _ = trace_of(scenario, way, way.shares[0], 0)
    readers: list[Callable[[], object]] = [
        lambda: summarize(trace),
        lambda: timeline(trace, width=80),
        lambda: write_perfetto(trace, tmp_path / "a.json"),
        lambda: write_trace(trace, tmp_path / "a.jsonl"),
    ]
    for reader in readers:
        with pytest.raises(TraceError, match="concurrency is 2: must be one sequence at a time here"):
            reader()
    assert not list(tmp_path.iterdir())


# Where SPD stops paying.


class _Made(_Table):
    """A table whose times per token are made up: SPD's as they are, the plain method's ahead from 6 on."""

    def _work_out(self, key: str, number: int) -> Cell:
        time_s = 1.0 if key == "spd" else 6.5 / number
        way = Arrangement(key, key, (), cast("Any", None), 1, 0)
        return Cell(number, way, Estimate(time_s), Estimate(number / time_s), ())


@pytest.mark.parametrize(
    ("numbers", "turn"),
    [
        ((1, 4, 32), Turn("plain", 6, 7, "plain")),
        ((1, 2), Turn("plain", 2, None, None)),
        ((8, 16), Turn("plain", None, 8, "plain")),
    ],
)
def test_the_number_at_which_spd_falls_behind_is_found_between_those_asked_for(
    numbers: tuple[int, ...], turn: Turn
) -> None:
    table = _Made(tutorial(), 1)
    assert list(table.turns(("plain", "spd"), numbers)) == [turn]


def test_a_turn_is_told_in_a_sentence() -> None:
    assert sentence(Turn("plain", 3, 4, "tensor_parallel"), (1, 8)) == (
        "SPD pays over plain decoding up to 3 in flight; at 4 tensor_parallel is ahead."
    )
    assert "does not pay over other drafts at 1" in sentence(Turn("other drafts", None, 1, "eagle"), (1, 8))
    assert "up to 8 in flight" in sentence(Turn("plain", 8, None, None), (1, 8))


def test_lengths_that_are_drawn_are_refused() -> None:
    with pytest.raises(ScenarioError, match=r"workload.new_tokens is a distribution: must be a number"):
        compare_concurrency(tutorial("workload.new_tokens={kind: uniform, low: 4, high: 9}"), (1, 2))


# In a scenario, and on the command line.


def test_a_scenario_without_concurrency_is_the_scenario_that_it_was() -> None:
    assert "concurrency" not in scenario_document(tutorial())["workload"]
    several = with_concurrency(tutorial(), 4)
    assert scenario_document(several)["workload"]["concurrency"] == 4
    assert scenario_sha256(several) != scenario_sha256(tutorial())
    assert scenario_sha256(with_concurrency(several, 1)) == scenario_sha256(tutorial())


def test_what_decodes_one_sequence_at_a_time_refuses_several() -> None:
    with pytest.raises(ScenarioError, match=r"workload.concurrency is 4: must be 1 here.*compare --concurrency"):
        simulate(tutorial("workload.concurrency=4"))
    done = spdsim("simulate", TUTORIAL, "--set", "workload.concurrency=4", "--trace", "trace.jsonl")
    assert done.returncode == 2 and done.stdout == ""
    assert "workload.concurrency is 4: must be 1 here" in done.stderr and done.stderr.count("\n") == 1


def test_the_command_tells_both_tables_and_writes_them(tmp_path: Path) -> None:
    settings = [word for setting in SMALL for word in ("--set", setting)]
    several = ("--concurrency", "1,2", "--methods", "plain,plain_pipeline,spd")
    done = spdsim("compare", TUTORIAL, *settings, *several, "--json", "a.json", "--csv", "a.csv", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "SPD pays over plain decoding at every number looked at, up to 2 in flight." in done.stdout
    assert "Time per token of one sequence" in done.stdout
    document = json.loads((tmp_path / "a.json").read_text())
    assert document["concurrency"] == [1, 2] and document["missing"] == []
    assert document["turns"] == [{"rivals": "plain", "last": 2, "first_lost": None, "winner": None}]
    rows = list(csv.DictReader((tmp_path / "a.csv").read_text().splitlines()))
    assert [(row["method"], row["concurrency"]) for row in rows] == [
        (key, number) for number in "12" for key in ("plain", "plain_pipeline", "spd")
    ]
    for row, cell in zip(rows, document["cells"], strict=True):
        assert float(row["tokens_per_s"]) == cell["tokens_per_s"] == int(row["concurrency"]) / cell["time_per_token_s"]


def test_a_scenario_with_concurrency_is_compared_at_its_own() -> None:
    settings = [word for setting in (*SMALL, "workload.concurrency=3") for word in ("--set", setting)]
    done = spdsim("compare", TUTORIAL, *settings, "--methods", "plain,spd", "--json", "-")
    assert done.returncode == 0 and json.loads(done.stdout)["concurrency"] == [3]


def test_a_wrong_option_writes_nothing(tmp_path: Path) -> None:
    done = spdsim("compare", TUTORIAL, "--concurrency", "0..4", "--csv", "a.csv", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "") and done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())
