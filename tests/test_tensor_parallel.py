"""Stages on groups of devices: one law of time, shards in memory, groups on nodes, and what is refused."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from executor.planning.place import Place
from executor.planning.planner import plan_run
from executor.planning.request import Request
from spdsim import load_scenario, simulate, summarize
from spdsim.cli import describe
from spdsim.distributions import mean_s
from spdsim.errors import InputError, ScenarioError
from spdsim.evidence import read_plain_table
from spdsim.evidence.plain import PlainRow
from spdsim.machine import Machine
from spdsim.scenario import Scenario
from spdsim.scenario.build import gpu_named
from spdsim.scenario.collectives import all_reduce_s
from spdsim.scenario.memory import device_bytes
from spdsim.scenario.model import Launch
from spdsim.scenario.placement import devices_needed, devices_of, place, units_of
from spdsim.scenario.rows import rows_factor, rows_provenance
from spdsim.scenario.target_files import load_model
from spdsim.schedules.ops import Task
from spdsim.timing import machine_of
from spdsim.timing.plain import DecodeTimes, decode_times, plain_token_s
from tests.test_timing import BY_HAND, LAYER_S

SCENARIOS = Path(__file__).parent.parent / "scenarios"
H100S = SCENARIOS / "h100x8.yaml"
ROWS = [row for _, row in read_plain_table(SCENARIOS / "published" / "plain-decoding.csv").lines]
GPT_FAST = [row for row in ROWS if row.gpu == "a100-sxm-80g"]


def by_hand(tmp_path: Path, *settings: str, size: int = 2) -> Machine:
    """Return the machine of the scenario that can be worked out by hand, an all-reduce taking 1 ms."""
    path = tmp_path / "x.yaml"
    path.write_text(BY_HAND)
    wide = [f"partition.tensor_parallel={size}", "devices.count=12", "links.all_reduce_s=1e-3"]
    return machine_of(load_scenario(path, [*wide, *settings]))


def seconds(machine: Machine, worker: int, task: Task) -> float:
    return mean_s(machine.tasks[worker, task].base)


def h100s(*settings: str) -> Scenario:
    """Return Llama-3.1-8B on H100s, in two stages of two devices and a draft rank."""
    base = ["model=llama-3.1-8b", "devices.count=5", "partition.stages=2", "partition.tensor_parallel=2"]
    return load_scenario(H100S, [*base, "replications=1", "links.inter_node=infiniband-ndr", *settings])


# One law


@pytest.mark.parametrize("row", GPT_FAST, ids=lambda row: f"{row.model}-{row.devices}")
def test_a_stage_on_several_devices_decodes_as_the_formula_says_and_as_was_measured(row: PlainRow) -> None:
    """gpt-fast on A100s, with kernels of its own for all-reduces: catalogue figures only, through a simulated token."""
    changes = [
        f"model={row.model}", f"devices.gpu={row.gpu}", "partition.stages=1", "devices.count=8",
        f"partition.tensor_parallel={row.devices}", f"workload.prompt_tokens={row.context_tokens}",
        "workload.new_tokens=2", "timing.commit_s=0", "replications=1", "links.all_reduce=one_shot",
    ]  # fmt: skip
    simulated = summarize(simulate(load_scenario(H100S, changes))).time_per_token_s
    formula_s = plain_token_s(
        load_model(row.model), gpu_named(row.gpu), row.launch, row.context_tokens, row.devices, "one_shot"
    )
    assert simulated is not None
    assert simulated.mean == pytest.approx(formula_s, rel=1e-9)
    assert row.token_s is not None
    assert abs(simulated.mean / row.token_s - 1.0) < 0.15


@pytest.mark.parametrize("launch", ["eager", "compiled", "cuda_graph"])
@pytest.mark.parametrize("model", ["llama-3.1-8b", "qwen3.5-4b", "qwen3-30b-a3b"])
def test_the_tasks_of_a_single_stage_are_those_of_a_forward_and_a_verification(model: str, launch: Launch) -> None:
    """Dense, hybrid and mixture of experts; a context that both know."""
    changes = [
        f"model={model}", "partition.stages=1", "partition.tensor_parallel=4", f"runtime.launch={launch}",
        "workload.prompt_tokens=70", "runtime.sampling=sampled",
    ]  # fmt: skip
    tasks = machine_of(load_scenario(H100S, changes)).tasks
    times = decode_times(
        load_model(model), gpu_named("h100"), launch, context_tokens=70, num_devices=4, is_sampled=True
    )
    assert times is not None
    for task, duration in (("forward", times.forward), ("verify", times.verify)):
        found = next(time for (_, name), time in tasks.items() if name == task)
        assert mean_s(duration.base) == pytest.approx(mean_s(found.base), rel=1e-12)
        assert duration.per_context_token_s == pytest.approx(found.per_context_token_s, rel=1e-12)
        assert duration.issue == found.issue


def test_a_group_halves_what_is_read_and_meets_twice_a_layer(tmp_path: Path) -> None:
    """A layer of 3600 bytes in shards of 1800; its four matrices keep their latencies, its six kernels their times."""
    machine = by_hand(tmp_path)
    assert seconds(machine, 1, "forward") == pytest.approx(2 * (LAYER_S - 1.8e-3) + 2e-5 + 2 * 2 * 1e-3, rel=1e-12)
    assert machine.tasks[1, "forward"].per_context_token_s == pytest.approx(2 * 40 / 2 / 1e6, rel=1e-12)
    # 2 layers of 10 operations, 2 beside them, and 4 all-reduces, issued as a graph.
    issue = machine.tasks[1, "forward"].issue
    assert issue is not None
    assert issue.lead_s == pytest.approx(4.6e-5)
    assert issue.total_s == pytest.approx(4.6e-5)


def test_the_draft_rank_has_one_device_whatever_the_stages_have(tmp_path: Path) -> None:
    """And its LM head with it."""
    one, two = by_hand(tmp_path, size=1), by_hand(tmp_path)
    for task in ("draft", "verify", "prefill", "commit"):
        assert one.tasks[0, task] == two.tasks[0, task]


def test_the_last_stage_cuts_its_lm_head_and_meets_once_more(tmp_path: Path) -> None:
    """A table of 2000 bytes; norm and maximum are kernels without a matrix."""
    machine = by_hand(tmp_path, "partition.lm_head=last_stage")
    assert seconds(machine, 3, "verify") == pytest.approx(1e-4 + 1e-3 + 2e-5 + 1e-3, rel=1e-12)


def test_a_sharded_lm_head_is_cut_over_all_devices(tmp_path: Path) -> None:
    """Seven of them; those of a stage meet, the draft rank's is alone."""
    machine = by_hand(tmp_path, "partition.lm_head=sharded")
    assert seconds(machine, 0, "verify") == pytest.approx(1e-4 + 2e-3 / 7 + 2e-5, rel=1e-12)
    assert seconds(machine, 2, "verify") == pytest.approx(1e-4 + 2e-3 / 7 + 2e-5 + 1e-3, rel=1e-12)


def test_a_prefill_is_cut_too_and_its_all_reduces_grow_with_the_prompt(tmp_path: Path) -> None:
    """4 tokens: 3600 weights each way, causal attention, and three more hidden states of 20 bytes around a ring."""
    one, two = by_hand(tmp_path, size=1), by_hand(tmp_path)
    kernels_s = 2 * 6 * 1e-5
    arithmetic_s = seconds(one, 1, "prefill") - kernels_s
    meeting_s = 1e-3 + 3 * 20 / 1e5
    assert seconds(two, 1, "prefill") == pytest.approx(arithmetic_s / 2 + kernels_s + 4 * meeting_s, rel=1e-12)


def test_one_hidden_state_goes_from_group_to_group(tmp_path: Path) -> None:
    """Every device has the whole of it, so all send at once; messages cost what they cost from device to device."""
    one, two = by_hand(tmp_path, size=1), by_hand(tmp_path)
    # Only the names of the links tell devices, of which there are others.
    assert {edge: replace(message, link=None) for edge, message in one.messages.items()} == {
        edge: replace(message, link=None) for edge, message in two.messages.items()
    }
    assert {link.name for link in two.links if link.name.endswith("to 3")} == {"wire 0 to 3", "wire 1 to 3"}


def test_a_sampled_draft_sends_each_group_its_shards_of_the_distribution(tmp_path: Path) -> None:
    """50 probabilities of 4 bytes over seven devices, two of them a stage's, after a head of 16 bytes."""
    machine = by_hand(tmp_path, "partition.lm_head=sharded", "runtime.sampling=sampled")
    assert machine.messages["draft", 0, 2].num_bytes == 16 + 2 * 200 // 7


# Several rows


def times_of(model: str, rows: int, **changes: int | float) -> DecodeTimes:
    found = decode_times(load_model(model), gpu_named("h100"), "cuda_graph", rows=rows, **changes)  # type: ignore[arg-type]
    assert found is not None
    return found


@pytest.mark.parametrize(("rows", "factor"), [(1, 1.0), (8, 1.01), (16, 1.02), (40, 1.04), (64, 1.06), (128, 1.12)])
def test_rows_cost_what_was_published(rows: int, factor: float) -> None:
    """Linear between the published numbers of rows."""
    assert rows_factor(rows) == pytest.approx(factor, rel=1e-12)
    assert rows_provenance().origin == "published"


@settings(max_examples=60, deadline=None)
@given(rows=st.integers(1, 2000), model=st.sampled_from(["llama-3.1-8b", "qwen3.5-4b", "qwen3-30b-a3b"]))
def test_more_rows_are_never_quicker_and_never_dearer_than_one_by_one(rows: int, model: str) -> None:
    """Nor quicker than the arithmetic's peak rate allows."""
    one, some, more = (times_of(model, count, context_tokens=300) for count in (1, rows, rows + 1))
    assert one.forward_s <= some.forward_s <= more.forward_s
    assert one.head_s <= some.head_s <= more.head_s
    assert some.forward_s <= rows * one.forward_s * (1 + 1e-12)
    flops = 2 * rows * sum(layer.active_params for layer in load_model(model).layers)
    assert some.forward_s >= flops / 989e12
    assert (some.forward_issue, some.context_token_s) == (one.forward_issue, one.context_token_s)


def test_a_long_draft_is_verified_for_a_few_per_cent() -> None:
    """Up to 64 rows of a dense model; beyond, arithmetic counts."""
    one, many = times_of("llama-3.1-8b", 1), times_of("llama-3.1-8b", 64)
    assert 1.03 < (many.forward_s + many.head_s) / (one.forward_s + one.head_s) < 1.06
    assert times_of("llama-3.1-8b", 2000).forward_s > 4 * one.forward_s


def test_rows_of_a_mixture_of_experts_read_experts_of_their_own() -> None:
    """Eight of 128 experts a row: two rows are expected to read 15.5, and thousands read all."""
    one, two = times_of("qwen3-30b-a3b", 1), times_of("qwen3-30b-a3b", 2)
    model = load_model("qwen3-30b-a3b")
    held = zip(model.layers[0].matrix_names, model.layers[0].matrices_bytes, strict=True)
    experts_s = 48 * sum(num for name, num in held if name.startswith("experts'")) / (3350e9 * 0.89)
    assert two.forward_s - one.forward_s == pytest.approx((15.5 / 8 - 1) * experts_s, rel=0.02)


def test_rows_of_a_gated_delta_layer_write_a_state_each() -> None:
    """Read once, so that nine rows take five times the reading and writing of one."""
    model, rates_s = load_model("qwen3.5-4b"), 3350e9 * 0.89
    one, nine = times_of("qwen3.5-4b", 1), times_of("qwen3.5-4b", 9)
    states_s = 8 * sum(layer.state_bytes for layer in model.layers) / rates_s
    matrices_s = sum(4 * 3.6e-6 + layer.read_bytes / rates_s for layer in model.layers) * (rows_factor(9) - 1)
    assert nine.forward_s - one.forward_s == pytest.approx(states_s + matrices_s, rel=1e-9)


def test_an_all_reduce_that_is_given_takes_the_place_of_the_catalogue() -> None:
    """Without it, nothing is known of 16 devices; with it, 2 meetings a layer and one of the head."""
    model, gpu = load_model("llama-3.1-8b"), gpu_named("h100")
    assert decode_times(model, gpu, "cuda_graph", num_devices=16) is None
    slow, quick = (decode_times(model, gpu, "cuda_graph", num_devices=16, all_reduce_s=s) for s in (1e-4, 1e-5))
    assert slow is not None and quick is not None
    assert slow.forward_s - quick.forward_s == pytest.approx(64 * 9e-5, rel=1e-9)
    assert slow.head_s - quick.head_s == pytest.approx(9e-5, rel=1e-9)
    alone = decode_times(model, gpu, "cuda_graph", all_reduce_s=1.0)
    assert alone == decode_times(model, gpu, "cuda_graph")


def test_all_reduces_of_many_rows_go_on_beyond_the_table() -> None:
    """Nine hidden states of Llama-3.1-70B are more than 128 KiB."""
    known = [all_reduce_s("h100-sxm", 8, size, is_extrapolated=True) for size in (16384, 131072, 131072 + 114688)]
    seconds = [found[0] for found in known if found is not None]
    assert seconds == pytest.approx([16.6e-6, 19.0e-6, 21.4e-6])
    assert all_reduce_s("h100-sxm", 8, 131073) is None
    assert times_of("llama-3.1-70b", 9, num_devices=8).forward_s > times_of("llama-3.1-70b", 8, num_devices=8).forward_s


# Placement


@pytest.mark.parametrize(
    ("changes", "workers", "units"),
    [
        ((), [0, 1, 3], ["0", "1-2", "3-4"]),
        (("draft.placement=stage_0",), [0, 0, 2], ["0-1", "2-3", "4"]),
        (("partition.lm_head=own_device", "devices.count=6"), [0, 1, 3, 5], ["0", "1-2", "3-4", "5"]),
        (("partition.stages=1", "devices.count=2"), [0], ["0-1"]),
        # A group that would reach over the end of a node begins with the next.
        (("devices={gpu: h100, count: 8, per_node: 4}",), [0, 1, 4], ["0", "1-2", "3", "4-5", "6", "7"]),
        (("devices={gpu: h100, count: 5, workers: [4, 2, 0]}",), [4, 2, 0], ["0-1", "2-3", "4"]),
        (("devices={gpu: h100, count: 3, workers: [2, 0, 0]}",), [2, 0, 0], ["0-1", "2"]),
        (("devices={gpu: h100, count: 4, workers: [3, 0, 2]}",), [3, 0, 2], ["0-1", "2-3"]),
    ],
)
def test_a_stage_has_a_group_of_neighbours_on_one_node(
    changes: tuple[str, ...], workers: list[int], units: list[str]
) -> None:
    """By the rule, or as listed; the engine knows a group as one device, and so do traces."""
    scenario = h100s(*changes)
    machine, placed = machine_of(scenario), place(scenario)
    assert [worker.device for worker in placed] == workers
    assert [name.removeprefix("h100-sxm ") for name in machine.devices] == units
    for worker, there in zip(machine.workers, placed, strict=True):
        assert there.device in units_of(scenario)[worker.device]
        assert set(devices_of(scenario, there)) <= set(units_of(scenario)[worker.device])
    assert len(machine.nodes) == len(machine.devices)


@settings(max_examples=80, deadline=None)
@given(
    stages=st.integers(1, 6), size=st.integers(2, 6), per_node=st.integers(2, 9), placement=st.booleans(),
    head=st.booleans(),
)  # fmt: skip
def test_the_rule_gives_each_stage_devices_of_its_own(
    stages: int, size: int, per_node: int, placement: bool, head: bool
) -> None:
    """In one node each, whatever the counts; and no more than are needed are asked for."""
    size = min(size, per_node)
    scenario = h100s("devices={gpu: h100, count: 99, per_node: 9}")
    partition = scenario.partition.model_copy(
        update={"stages": stages, "tensor_parallel": size, "lm_head": "own_device" if head else "draft_rank"}
    )
    devices = scenario.devices.model_copy(update={"per_node": per_node})
    draft = scenario.draft.model_copy(update={"placement": "stage_0" if placement else "own_device"})
    cut = scenario.model_copy(update={"partition": partition, "devices": devices, "draft": draft})
    groups = [devices_of(cut, worker) for worker in place(cut) if worker.role == "stage"]
    used = [device for group in groups for device in group]
    assert len(set(used)) == stages * size
    assert all(devices.node_of(group.start) == devices.node_of(group.stop - 1) for group in groups)
    least = stages * size + (stages > 1) * ((not placement) + head)
    assert least <= devices_needed(cut) <= least + (stages + 1) * (per_node - 1)


def test_a_draft_rank_on_a_group_takes_turns_with_all_of_it() -> None:
    """A cycle is then as long as both; messages between the two cost nothing."""
    apart, together = h100s(), h100s("draft.placement=stage_0")
    machine = machine_of(together)
    assert machine.workers[0].device == machine.workers[1].device
    assert machine.messages["draft", 0, 1].link is None
    assert machine.messages["hidden", 1, 2].link is not None
    cycles = [summarize(simulate(scenario)).cycle_s for scenario in (apart, together)]
    assert cycles[0] is not None and cycles[1] is not None
    stage_s, draft_s = seconds(machine, 1, "forward"), seconds(machine, 0, "draft")
    assert cycles[0].fill_mean < stage_s + draft_s < cycles[1].fill_mean  # type: ignore[operator]


def test_workers_on_whatever_devices_of_one_group_cross_no_link() -> None:
    """Draft rank on the second device, both stages on the two: nothing rests on the link's figures."""
    machine = machine_of(h100s("devices={gpu: h100, count: 2, workers: [1, 0, 0]}"))
    assert machine.links == ()
    assert {worker.device for worker in machine.workers} == {0}
    assert not [origin.what for origin in machine.origins if origin.what.startswith("links")]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            ("devices.count=4",),
            "devices.count is 4: must be at least 5, for 2 stages of 2 devices each and the draft rank; "
            "draft.placement=stage_0 or partition.tensor_parallel=1 would fit",
        ),
        (
            ("partition.stages=3",),
            "devices.count is 5: must be at least 7, for 3 stages of 2 devices each and the draft rank; "
            "partition.stages=2 or partition.tensor_parallel=1 would fit",
        ),
        (
            ("devices={gpu: h100, count: 5, per_node: 4}",),
            "devices.count is 5: must be at least 6, for 2 stages of 2 devices each and the draft rank, no stage on "
            "two nodes of 4; draft.placement=stage_0 or partition.tensor_parallel=1 would fit",
        ),
        (
            ("devices={gpu: h100, nodes: 4, per_node: 2}", "partition.tensor_parallel=4"),
            "partition.tensor_parallel is 4: must be at most devices.per_node, 2: the devices of a stage are in one "
            "node",
        ),
        (
            ("devices={gpu: h100, count: 5, workers: [0, 1, 4]}",),
            "devices.workers[2] puts stage 1 on devices 4 to 5: there are 5 devices, 0 to 4",
        ),
        (
            ("devices={gpu: h100, nodes: 2, per_node: 4, workers: [0, 1, 3]}",),
            "devices.workers[2] puts stage 1 on devices 3 to 4: must be in one node, which has 4",
        ),
        (
            ("devices={gpu: h100, count: 5, workers: [0, 1, 2]}",),
            "devices.workers[1] puts stage 0 on devices 1 to 2: must be apart from devices 2 to 3 of another stage, "
            "or the same",
        ),
        (
            ("timing={kind: profile, profile: {forward_per_layer: 1e-3, draft: 1e-3, verify: 1e-3}}",),
            "partition.tensor_parallel is 2: a profile has the times of stages on one device each: must be 1, or "
            "timing of kind roofline",
        ),
        (
            ("devices.gpu=rtx-4090", "model=qwen3.5-4b"),
            "links.all_reduce_s is missing: must be given: the catalogue has no all-reduce over 2 rtx-4090",
        ),
        (
            ("devices.gpu=l40s", "model=qwen3.5-4b", "links.all_reduce=one_shot"),
            "links.all_reduce_s is missing: must be given: the catalogue has no one-shot all-reduce over 2 l40s",
        ),
        (("links.all_reduce=ring",), 'links.all_reduce is "ring": must be `nccl` or `one_shot`'),
        (("partition.tensor_parallel=0",), "partition.tensor_parallel is 0: must be at least 1"),
        (("partition.tensor_parallel=2.5",), "partition.tensor_parallel is 2.5: must be a whole number"),
        (("links.all_reduce_s=-1",), "links.all_reduce_s is -1: must be at least 0"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(changes: tuple[str, ...], said: str) -> None:
    """Where, value, rule, and how to mend it."""
    with pytest.raises(ScenarioError) as caught:
        h100s(*changes)
    told = str(caught.value).removesuffix(" (and 1 more)")
    assert told.endswith(f": {said}")
    assert "\n" not in told


def test_an_all_reduce_that_is_given_lets_any_device_do() -> None:
    """And it is told where it comes from."""
    scenario = h100s("devices.gpu=rtx-4090", "model=qwen3.5-4b", "links.all_reduce_s=2e-5")
    found = {origin.what: origin for origin in machine_of(scenario).origins}
    assert found["all-reduce over 2 (rtx-4090)"].source == "given in the scenario"
    known = {origin.what: origin for origin in machine_of(h100s()).origins}
    assert known["all-reduce over 2 (h100-sxm)"].kind == "published"
    assert all(not what.startswith("all-reduce") for what in (o.what for o in machine_of(load_scenario(H100S)).origins))


# Memory


def test_the_devices_of_a_group_share_weights_and_cache_and_hold_the_embedding() -> None:
    """Together as much as a device alone, but for the embedding, which each of the first group has whole."""
    one, two = h100s("partition.tensor_parallel=1"), h100s()
    alone, shared = device_bytes(one), device_bytes(two)
    table = two.model.embedding_bytes
    assert shared[0] == alone[0]
    assert shared[1] == shared[2] == pytest.approx((alone[1] - table) / 2 + table, abs=1)
    assert shared[3] == shared[4] == pytest.approx(alone[2] / 2, abs=1)


def test_a_tied_table_is_there_once_whole_or_in_shards() -> None:
    """With one stage the shards of the LM head are in the embedding that each device has; a last stage has shards."""
    tied = "model={base: llama-3.1-8b, tied_embeddings: true}"
    one = h100s(tied, "partition.stages=1", "partition.lm_head=last_stage")
    layers = sum(layer.weight_bytes for layer in one.model.layers)
    cache = 131072 * (128 + 512)
    assert device_bytes(one)[:2] == [pytest.approx((layers + cache) / 2 + one.model.table_bytes, abs=1)] * 2
    last = device_bytes(h100s(tied, "partition.lm_head=last_stage"))[3]
    assert last == pytest.approx((layers + cache) / 4 + one.model.table_bytes / 2, abs=1)


def test_groups_make_room_for_a_model_that_its_devices_alone_have_not() -> None:
    """Half of Llama-3.1-70B: 71 GB on a device, or 36 GB on each of two; what is short says what would fit."""
    model, forty = "model=llama-3.1-70b", "devices.gpu={base: h100, memory_bytes: 4e10}"
    alone = r"device 1 would need 70\.7 GB and has 40\.0 GB: 30\.7 GB too much; 4 stages or 10 devices would fit$"
    with pytest.raises(ScenarioError, match=alone):
        h100s(model, forty, "partition.tensor_parallel=1", "devices.count=9")
    assert max(device_bytes(h100s(model, forty))) < 4e10
    with pytest.raises(ScenarioError, match=r"device 1 would need 36\.4 GB and has 35\.0 GB.*; 7 devices would fit$"):
        h100s(model, "devices.gpu={base: h100, memory_bytes: 3.5e10}")
    h100s(model, "devices.gpu={base: h100, memory_bytes: 3.5e10}", "devices.count=7", "partition.stages=3")


# What is told


def test_heads_that_cannot_be_dealt_out_evenly_are_warned_of() -> None:
    """Llama-3.1-8B has 32 query heads and 8 of keys and values."""
    three = machine_of(h100s("partition.tensor_parallel=3", "devices.count=7")).warnings
    assert [warning.split(":")[0] for warning in three] == [
        "tensor_parallel 3 does not divide the model's 32 query heads",
        "tensor_parallel 3 does not divide the model's 8 key and value heads",
    ]
    sixteen = machine_of(h100s("partition.tensor_parallel=16", "devices.count=33", "links.all_reduce_s=3e-5")).warnings
    assert [warning.split(":")[0] for warning in sixteen] == [
        "tensor_parallel 16 is more than the model's 8 key and value heads"
    ]
    assert machine_of(h100s()).warnings == ()


def test_reports_tell_the_groups_and_compare_with_one_device_and_with_the_groups_in_turn() -> None:
    """Plain decoding on one device is what it is without groups; counts are of devices, not of groups."""
    scenario = h100s()
    trace = simulate(scenario)
    report = summarize(trace)
    assert describe.lines(scenario, machine_of(scenario))[0].startswith(
        "llama-3.1-8b on 5 devices (h100-sxm), 3 workers; 2 stages of 2 devices, LM head"
    )
    assert describe.recorded(trace.header) == ["spd: 2 stages, verification lag 0; 3 workers on 5 devices"]
    assert [worker.device for worker in trace.header.workers] == ["h100-sxm 0", "h100-sxm 1-2", "h100-sxm 3-4"]
    plain = {line.name: line.time_per_token_s for line in report.baselines}
    assert report.speedup is not None
    assert report.speedup.over == "plain pipeline on these devices"
    alone = summarize(simulate(h100s("partition.tensor_parallel=1"))).baselines
    one_device = {line.name: line.time_per_token_s for line in alone}["plain decoding on one device"]
    assert plain["plain decoding on one device"] == pytest.approx(one_device, rel=1e-12)


def test_more_devices_a_stage_are_quicker_until_all_reduces_take_over() -> None:
    """In simulated time, at the catalogue's all-reduces; with dear ones, groups do not pay."""

    def token_s(*changes: str) -> float:
        per_token = summarize(simulate(h100s("workload.new_tokens=64", *changes))).time_per_token_s
        assert per_token is not None
        return per_token.mean

    one, two = token_s("partition.tensor_parallel=1"), token_s()
    four = token_s("partition.tensor_parallel=4", "devices.count=9")
    assert four < two < one
    assert token_s("links.all_reduce_s=1e-4") > one


def test_the_executor_refuses_groups() -> None:
    """One line, before anything is started."""
    with pytest.raises(InputError, match=r"partition\.tensor_parallel is 2: must be 1: a stage of the executor"):
        plan_run(
            Request(scenario=H100S, settings=("partition.stages=2", "partition.tensor_parallel=2")),
            Place(8, lambda: 0, None),
        )


def test_the_catalogue_of_all_reduces_is_what_a_group_pays() -> None:
    """Two a layer and one for the LM head, of one hidden state."""
    known = all_reduce_s("h100-sxm", 2, 8192)
    assert known is not None
    free, paid = machine_of(h100s("links.all_reduce_s=0")), machine_of(h100s())
    assert seconds(paid, 1, "forward") - seconds(free, 1, "forward") == pytest.approx(32 * known[0], rel=1e-9)
