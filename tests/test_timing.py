"""From scenario to machine: hand-computed roofline times, profiles, messages, links, memory."""

from pathlib import Path

import pytest

from spdsim.distributions import Constant, Gamma, mean_s
from spdsim.errors import ScenarioError
from spdsim.machine import Duration, Issue, Machine
from spdsim.scenario import load_scenario
from spdsim.scenario.model import Partition
from spdsim.scenario.placement import layout_of
from spdsim.schedules.ops import Compute, Recv, Send, Task, Verdict
from spdsim.schedules.spd import Layout, LmHead, advance, program, start
from spdsim.timing import machine_of
from spdsim.timing.needs import Needs, needs_of

SCENARIOS = Path(__file__).parent.parent / "scenarios"
HEADS: tuple[LmHead, ...] = ("draft_rank", "last_stage", "sharded", "own_device")

# A model and a device whose times can be worked out by hand. One layer: matrices of 10 x (20 + 2 x 10) = 400,
# 20 x 10 = 200, 10 x 80 = 800 and 40 x 10 = 400 weights, 3600 bytes; norms of 20 weights. KV: 2 x 1 x 10 x 2 = 40
# bytes a token. A table: 100 x 10 x 2 = 2000 bytes. Reached: 1e6 bytes/s, 1e7 floating-point operations/s.
# So a layer takes its device 4 x 1e-4 + 3.6e-3 + (10 - 4) x 1e-5 s.
BY_HAND = """\
model: {num_layers: 6, hidden_size: 10, intermediate_size: 40, num_heads: 2, num_kv_heads: 1, head_dim: 10,
        vocab_size: 100, dtype_bytes: 2}
devices: {gpu: {name: gpu, bandwidth_bytes_per_s: 2e6, flops_per_s: 4e7}, count: 4}
links: {intra_node: {name: wire, latency_s: 1e-3, bandwidth_bytes_per_s: 1e5, post_s: 2e-4}}
partition: {stages: 3}
draft: {layers: 2, anchors: [0, 2, 3, 6], draft_vocab_size: 50}
acceptance: {kind: bernoulli, p: 0.8}
workload: {prompt_tokens: 4, new_tokens: 8}
timing: {kind: roofline, bandwidth_fraction: 0.5, compute_fraction: 0.25, kernel_latency_s: 1e-4, small_kernel_s: 1e-5,
         host_per_op_s: 1e-6, host_per_task_s: 2e-5, attention_ops: 10, forward_ops: 2, draft_ops: 9, verify_ops: 3,
         verify_sampling_ops: 5, draft_sampling_ops: 4, commit_s: 3e-5, rollback_s: 2e-5}
"""
LAYER_S = 4.06e-3


@pytest.fixture(name="path")
def _path(tmp_path: Path) -> Path:
    path = tmp_path / "x.yaml"
    path.write_text(BY_HAND)
    return path


def expect(machine: Machine, worker: int, task: str, base_s: float, per_context_token_s: float = 0.0) -> None:
    """Assert that a task takes `base_s` and so much more for each token of context."""
    found = next(time for key, time in machine.tasks.items() if key == (worker, task))
    assert mean_s(found.base) == pytest.approx(base_s, rel=1e-12)
    assert found.per_context_token_s == pytest.approx(per_context_token_s, rel=1e-12)


# Roofline


def issue(machine: Machine, worker: int, task: Task) -> Issue:
    """Return the host's part of a task."""
    found = machine.tasks[worker, task].issue
    assert found is not None
    return found


def test_a_stage_reads_its_layers_and_their_cache(path: Path) -> None:
    """Two layers and two kernels beside them; 80 bytes of cache a token."""
    machine = machine_of(load_scenario(path))
    for worker in (1, 2, 3):
        expect(machine, worker, "forward", 2 * LAYER_S + 2e-5, 80e-6)


def test_the_draft_reads_projections_layers_and_its_head(path: Path) -> None:
    """Four projections of (1 + 2 + 3 + 4) x 100 weights, a head of 50 x 10, four kernels more, two layers."""
    draft_s = 5 * 1e-4 + 3e-3 + 4e-5 + 2 * LAYER_S
    expect(machine_of(load_scenario(path)), 0, "draft", draft_s, 80e-6)


@pytest.mark.parametrize(
    ("lm_head", "worker", "num_bytes"),
    [
        ("draft_rank", 0, 2000),
        ("last_stage", 3, 2000),
        ("own_device", 4, 2000),
        ("sharded", 0, 500),
        ("sharded", 3, 500),
    ],
)
def test_verification_reads_the_lm_head(path: Path, lm_head: str, worker: int, num_bytes: int) -> None:
    """2000 bytes wherever it is, or a quarter of them on each of the four ranks; norm and maximum."""
    machine = machine_of(load_scenario(path, [f"partition.lm_head={lm_head}"]))
    expect(machine, worker, "verify", 1e-4 + num_bytes / 1e6 + 2e-5)


def test_sampling_costs_more_than_the_maximum(path: Path) -> None:
    """Its operations are added to the verification's and to the draft's, on the device and on the host."""
    machine = machine_of(load_scenario(path, ["runtime.sampling=sampled"]))
    expect(machine, 0, "verify", 1e-4 + 2e-3 + 2e-5 + 5e-5)
    expect(machine, 0, "draft", 5 * 1e-4 + 3e-3 + 4e-5 + 4e-5 + 2 * LAYER_S, 80e-6)
    assert issue(machine, 0, "verify").total_s == pytest.approx(2e-5 + 8e-6)


def test_host_tasks_take_what_is_written(path: Path) -> None:
    """Commit and rollback; putting shards together is one kernel."""
    machine = machine_of(load_scenario(path, ["partition.lm_head=sharded"]))
    expect(machine, 0, "commit", 3e-5)
    expect(machine, 2, "rollback", 2e-5)
    expect(machine, 0, "combine", 1e-5)


def test_a_short_prefill_reads_weights_and_a_long_one_computes(path: Path) -> None:
    """Two layers of 3640 bytes: 4 tokens read longer, 100 tokens compute longer; six kernels a layer beside.

    100 tokens: 2 x 3600 x 100 operations and, for attention, 2 x 100^2 x 20 x 2 layers; 1e7 operations/s.
    Draft module: its last projection has 400 weights.
    """
    kernels_s = 12e-5
    short = machine_of(load_scenario(path))
    expect(short, 1, "prefill", 7.28e-3 + kernels_s)
    expect(short, 0, "prefill", 8.08e-3 + kernels_s)
    long = machine_of(load_scenario(path, ["workload.prompt_tokens=100"]))
    expect(long, 1, "prefill", (720e3 + 800e3) / 1e7 + kernels_s)
    expect(long, 0, "prefill", (800e3 + 800e3) / 1e7 + kernels_s)


def test_plain_decoding_runs_everything_on_one_worker(path: Path) -> None:
    """Six layers and the whole LM head; no draft, no message."""
    machine = machine_of(load_scenario(path, ["partition.stages=1", "partition.lm_head=sharded"]))
    assert {task for _, task in machine.tasks} == {"prefill", "forward", "verify", "commit"}
    assert machine.messages == {}
    expect(machine, 0, "forward", 6 * LAYER_S + 2e-5, 240e-6)
    expect(machine, 0, "verify", 2.12e-3)


def test_a_window_that_the_prompt_fills_is_read_whole(path: Path) -> None:
    """3 tokens of 4 in each of two layers, and no more as the context grows; a wider one grows with it."""
    filled = machine_of(load_scenario(path, ["model.sliding_window=3"]))
    expect(filled, 1, "forward", 2 * LAYER_S + 2e-5 + 2 * 3 * 40e-6, 0.0)
    expect(machine_of(load_scenario(path, ["model.sliding_window=5"])), 1, "forward", 2 * LAYER_S + 2e-5, 80e-6)


def test_operations_are_issued_one_by_one_and_a_graph_at_once(path: Path) -> None:
    """22 operations: eager, the device begins after the first of them; a graph, when all is launched."""
    whole_s = 2e-5 + 22e-6
    assert issue(machine_of(load_scenario(path)), 1, "forward") == Issue(whole_s, whole_s)
    for launch in ("eager", "compiled"):
        found = issue(machine_of(load_scenario(path, [f"runtime.launch={launch}"])), 1, "forward")
        assert (found.lead_s, found.total_s) == pytest.approx((2e-5 + 1e-6, whole_s))


def test_who_verifies_reads_the_result_and_nobody_else_does(path: Path) -> None:
    """A verdict decides what is done next; a shard's part goes on as data, and what is put together is read."""
    machine = machine_of(load_scenario(path))
    assert {key for key, time in machine.tasks.items() if time.issue and time.issue.is_read} == {(0, "verify")}
    sharded = machine_of(load_scenario(path, ["partition.lm_head=sharded"]))
    assert {key for key, time in sharded.tasks.items() if time.issue and time.issue.is_read} == {(0, "combine")}


def test_the_launch_mode_sets_what_is_not_written(path: Path) -> None:
    """One word turns a host-bound layer into one near its bytes."""
    settings = ["timing={kind: roofline}", "devices.gpu.bandwidth_bytes_per_s=1e9"]
    times = {}
    for launch in ("eager", "compiled", "cuda_graph"):
        machine = machine_of(load_scenario(path, [*settings, f"runtime.launch={launch}"]))
        times[launch] = issue(machine, 1, "forward").total_s
    assert times["eager"] == pytest.approx(50e-6 + (21 + 2 * 48) * 12e-6)
    assert times["eager"] > 5 * times["compiled"] > 25 * times["cuda_graph"]


@pytest.mark.parametrize(("launch", "layer_ms"), [("eager", 0.873), ("cuda_graph", 0.104)])
def test_a_qwen_layer_is_bound_by_the_host_or_near_its_bytes(launch: str, layer_ms: float) -> None:
    """Qwen3.5-4B on an H100, one word changed: 0.873 ms a layer as published, or near 0.067 ms of bytes."""
    settings = ["model=qwen3.5-4b", "partition.stages=1", f"runtime.launch={launch}", "devices.gpu=h100-sxm"]
    machine = machine_of(load_scenario(SCENARIOS / "rtx4090x4-pcie.yaml", settings))
    found = machine.tasks[0, "forward"]
    assert found.issue is not None
    device_s, host_s = mean_s(found.base), found.issue.total_s
    assert max(device_s, host_s) * 1e3 / 32 == pytest.approx(layer_ms, rel=0.05)


# Profiles


def profiled(path: Path, profile: str, *settings: str) -> Machine:
    """Return a machine whose times come from a profile."""
    return machine_of(load_scenario(path, [f"timing={{kind: profile, profile: {{{profile}}}}}", *settings]))


def test_one_duration_serves_all_stages_or_each_has_its_own(path: Path) -> None:
    """A list is by stage."""
    machine = profiled(path, "forward: 2, draft: 1, verify: 1")
    assert [mean_s(machine.tasks[worker, "forward"].base) for worker in (1, 2, 3)] == [2, 2, 2]
    machine = profiled(path, "forward: [1, 2, 3], draft: 1, verify: 1, prefill: [4, 5, 6]")
    assert [mean_s(machine.tasks[worker, "forward"].base) for worker in (1, 2, 3)] == [1, 2, 3]
    assert [mean_s(machine.tasks[worker, "prefill"].base) for worker in (1, 2, 3)] == [4, 5, 6]


def test_durations_for_a_layer_are_scaled_by_layers(path: Path) -> None:
    """Mean, context term and depths; the spread over mean stays."""
    layer = "{kind: gamma, mean_s: 1.0, cv: 0.1, per_context_token_s: 0.5, by_fill_depth: [2]}"
    machine = profiled(path, f"forward_per_layer: {layer}, draft_per_layer: 3, verify: 1", "partition.layers=[1, 2, 3]")
    assert machine.tasks[3, "forward"] == Duration(Gamma(3.0, 0.1), 1.5, (Constant(6.0),))
    assert machine.tasks[0, "draft"] == Duration(Constant(6.0))


def test_a_sharded_lm_head_takes_its_part_of_verify(path: Path) -> None:
    """Four ranks hold a shard each, unless the profile says what a shard takes."""
    machine = profiled(path, "forward: 2, draft: 1, verify: 1", "partition.lm_head=sharded")
    assert [mean_s(machine.tasks[worker, "verify"].base) for worker in range(4)] == [0.25] * 4
    machine = profiled(path, "forward: 2, draft: 1, verify_shard: 0.4", "partition.lm_head=sharded")
    assert mean_s(machine.tasks[2, "verify"].base) == 0.4


def test_tasks_that_a_profile_leaves_out_take_no_time(path: Path) -> None:
    """All but forward, draft and verify."""
    machine = profiled(path, "forward: 2, draft: 1, verify: 1", "partition.lm_head=sharded")
    free = {task for (_, task), time in machine.tasks.items() if time == Duration(Constant(0.0))}
    assert free == {"prefill", "commit", "rollback", "combine"}


def test_plain_decoding_needs_no_draft_in_the_profile(path: Path) -> None:
    """There is no draft rank."""
    assert (0, "draft") not in profiled(path, "forward: 2, verify: 1", "partition.stages=1").tasks


def test_a_profile_can_say_what_messages_cost(path: Path) -> None:
    """In the place of the link's figures; the link is still taken."""
    profile = "forward: 2, draft: 1, verify: 1, messages: {hidden: {post_s: 0.5, transit_s: 0.25, receive_s: 0.125}}"
    machine = profiled(path, profile, "runtime.posting=separate")
    hidden, features = machine.messages["hidden", 1, 2], machine.messages["features", 1, 0]
    assert (hidden.post, hidden.transit, hidden.prefill_transit) == (Constant(0.5), Constant(0.25), Constant(0.25))
    assert hidden.receive_s == 0.125
    assert (features.post, features.receive_s) == (Constant(2e-4), 0.0)
    assert hidden.link is not None


# Messages and links


def test_messages_have_the_bytes_of_what_they_carry(path: Path) -> None:
    """Hidden 2H + 16, features 2H for each anchor of the stage; a prompt of 4 tokens, its last one to the LM head."""
    messages = machine_of(load_scenario(path, ["runtime.messages=per_tensor"])).messages
    sizes = {edge: (message.num_bytes, message.prefill_bytes) for edge, message in messages.items()}
    assert sizes["hidden", 1, 2] == (36, 96)
    assert sizes["hidden", 3, 0] == (36, 36)
    assert sizes["features", 1, 0] == (20, 80)
    assert sizes["features", 2, 0] == (20, 80)
    assert sizes["draft", 0, 1] == sizes["verdict", 0, 3] == (16, 16)
    assert messages["hidden", 1, 2].transit == Constant(1e-3 + 36 / 1e5)
    assert messages["hidden", 1, 2].prefill_transit == Constant(1e-3 + 96 / 1e5)


def test_one_message_an_edge_carries_the_last_features_too(path: Path) -> None:
    """The last hidden state of 36 bytes and an anchor of 20; of the prompt, all four tokens' features."""
    messages = machine_of(load_scenario(path)).messages
    assert ("features", 3, 0) not in messages
    assert (messages["hidden", 3, 0].num_bytes, messages["hidden", 3, 0].prefill_bytes) == (56, 116)


def test_a_message_for_each_tensor_costs_its_hosts_and_its_link_more(path: Path) -> None:
    """Three anchors of stage 0: one message of 60 bytes, or three, each with its latency and its operations."""
    settings = ["draft.anchors=[0, 1, 2]", "partition.layers=[3, 2, 1]", "links.intra_node.receive_s=1e-5"]
    one = machine_of(load_scenario(path, [*settings, "runtime.posting=separate"])).messages["features", 1, 0]
    settings += ["runtime.posting=separate", "runtime.messages=per_tensor"]
    each = machine_of(load_scenario(path, settings)).messages["features", 1, 0]
    assert one.transit == Constant(1e-3 + 40 / 1e5)
    assert each.transit == Constant(2 * 1e-3 + 40 / 1e5)
    assert (one.post, each.post) == (Constant(2e-4), Constant(4e-4))
    assert (one.receive_s, each.receive_s) == (1e-5, 2e-5)


@pytest.mark.parametrize("lm_head", HEADS)
def test_what_is_posted_at_once_is_one_operation(path: Path, lm_head: str) -> None:
    """Of what a worker posts one after another, or receives in a cycle, only the first message costs its host."""
    settings = [f"partition.lm_head={lm_head}", "devices.count=5", "links.intra_node.receive_s=1e-5"]
    scenario = load_scenario(path, settings)
    machine, layout = machine_of(scenario), layout_of(scenario)
    receiving = {edge for edge, message in machine.messages.items() if message.receive_s}
    paying = {edge for edge, message in machine.messages.items() if message.post != Constant(0.0)}
    for source in range(layout.num_workers):
        assert sum(edge[:2] == ("verdict", source) for edge in paying) == (source == layout.verdict_source)
        assert sum(edge[2] == source for edge in receiving) == 1
        assert sum(edge[0] in ("hidden", "features") and edge[1] == source for edge in paying) == (0 < source < 4)


def test_an_operation_is_paid_by_the_first_message_that_leaves_the_device(path: Path) -> None:
    """Draft rank and stage 0 on one device: the verdict for stage 1 is the first that is posted."""
    machine = machine_of(load_scenario(path, ["draft.placement=stage_0"]))
    paying = {edge for edge, message in machine.messages.items() if message.post != Constant(0.0)}
    assert ("verdict", 0, 2) in paying
    assert not {("verdict", 0, 1), ("verdict", 0, 3)} & paying


def test_receipts_stop_the_host_in_turn_or_only_where_it_must_know(path: Path) -> None:
    """Posted ahead, only a verdict does; serially, all do."""
    posted = machine_of(load_scenario(path)).messages
    receipts = {edge[0]: message.receipt for edge, message in posted.items()}
    assert receipts == {"hidden": "posted", "features": "posted", "draft": "posted", "verdict": "read"}
    serial = machine_of(load_scenario(path, ["runtime.receipts=serial"])).messages
    assert {message.receipt for message in serial.values()} == {"serial"}


def test_control_is_paid_once_a_cycle_and_grows_with_workers_and_nodes(path: Path) -> None:
    """By the message that tells stage 0 what to run: 4 workers, and two nodes where three devices make one."""
    profile = "forward: 2, draft: 1, verify: 1, control: {per_cycle_s: 1, per_worker_s: 0.25, per_node_s: 4}"
    nodes = ["devices.per_node=3", "links.inter_node={latency_s: 1, bandwidth_bytes_per_s: 1}"]
    for settings, control_s in (([], 2.0), (nodes, 6.0)):
        messages = profiled(path, profile, *settings).messages
        paying = {edge: message.control_s for edge, message in messages.items() if message.control_s}
        assert paying == {("draft", 0, 1): control_s, ("verdict", 0, 1): control_s}


def test_posting_between_nodes_may_cost_more(path: Path) -> None:
    """Devices 0 to 2 are one node: stage 2 and the draft rank are apart."""
    profile = "forward: 2, draft: 1, verify: 1, messages: {hidden: {post_s: 0.5, inter_node_post_s: 0.75}}"
    nodes = ["devices.per_node=3", "links.inter_node={latency_s: 1, bandwidth_bytes_per_s: 1}"]
    messages = profiled(path, profile, *nodes).messages
    assert messages["hidden", 1, 2].post == Constant(0.5)
    assert messages["hidden", 3, 0].post == Constant(0.75)


@pytest.mark.parametrize(
    ("lm_head", "sizes"),
    [
        ("draft_rank", {("draft", 0, 1): 16, ("verdict", 0, 1): 16}),
        ("last_stage", {("draft", 0, 1): 16, ("draft", 0, 3): 216, ("verdict", 3, 0): 16}),
        ("own_device", {("draft", 0, 1): 16, ("draft", 0, 4): 216, ("verdict", 4, 1): 16}),
        (
            "sharded",
            {
                ("draft", 0, 1): 66,
                ("draft", 0, 3): 66,
                ("verdict", 0, 1): 66,
                ("verdict", 0, 3): 16,
                ("partial", 2, 0): 12,
            },
        ),
    ],
)
def test_with_sampling_who_verifies_gets_the_drafts_distribution(
    path: Path, lm_head: str, sizes: dict[tuple[str, int, int], int]
) -> None:
    """50 probabilities of 4 bytes, or the quarter that a shard needs; stage 0 gets its draft with a verdict."""
    machine = machine_of(load_scenario(path, ["runtime.sampling=sampled", f"partition.lm_head={lm_head}"]))
    found = {edge: message.num_bytes for edge, message in machine.messages.items()}
    assert {edge: found[edge] for edge in sizes} == sizes  # type: ignore[index]


def test_each_ordered_pair_of_devices_has_a_link_of_its_own(path: Path) -> None:
    """Two payloads on one way share it; the way back is another."""
    machine = machine_of(load_scenario(path, ["runtime.messages=per_tensor"]))
    assert machine.messages["hidden", 3, 0].link == machine.messages["features", 3, 0].link
    assert machine.messages["draft", 0, 1].link != machine.messages["features", 1, 0].link
    assert not any(link.is_shared for link in machine.links)
    assert len({link.name for link in machine.links}) == len(machine.links)


def test_a_shared_link_serves_all_that_leaves_a_node(path: Path) -> None:
    """A switch within each node, a network card out of each node."""
    settings = [
        "devices.per_node=2", "links.intra_node.shared=true",
        "links.inter_node={name: card, latency_s: 1e-2, bandwidth_bytes_per_s: 1e5, shared: true}",
    ]  # fmt: skip
    machine = machine_of(load_scenario(path, settings))
    ways = {(a, b): machine.links[m.link].name for (_, a, b), m in machine.messages.items() if m.link is not None}
    assert ways[0, 1] == "wire of node 0"
    assert ways[2, 3] == "wire of node 1"
    assert ways[0, 2] == ways[1, 2] == ways[0, 3] == "card of node 0"
    assert ways[3, 0] == ways[2, 0] == "card of node 1"
    assert all(link.is_shared for link in machine.links)


def test_workers_on_one_device_pay_nothing_for_messages(path: Path) -> None:
    """No link, no transit, no post."""
    machine = machine_of(load_scenario(path, ["devices.count=1"]))
    assert machine.links == ()
    free = Constant(0.0)
    assert {(m.link, m.transit, m.prefill_transit, m.post) for m in machine.messages.values()} == {
        (None, free, free, free)
    }


# What the schedule needs


def exhaustively(layout: Layout) -> Needs:
    """Return what a layout needs, from every cycle of runs with each verdict at each place."""
    tasks, edges = set(), set()
    num_verdicts = 2 * layout.capacity + 2
    for rejected in range(num_verdicts):
        state = start(layout, num_verdicts + 1)
        while not state.is_done:
            for worker in range(layout.num_workers):
                for op in program(state, worker):
                    match op:
                        case Compute(task, _):
                            tasks.add((worker, task))
                        case Send(payload, _, to):
                            edges.add((payload, worker, to))
                        case Recv(payload, _, source):
                            edges.add((payload, source, worker))
            state = advance(state, Verdict(state.committed != rejected) if state.is_full else None)
    return Needs(tuple(sorted(tasks)), tuple(sorted(edges)))


@pytest.mark.parametrize("sampled", [False, True])
@pytest.mark.parametrize("lag", [0, 1, 2, 3])
@pytest.mark.parametrize("lm_head", HEADS)
@pytest.mark.parametrize("stages", [1, 2, 3, 4, 6])
def test_no_task_and_no_edge_of_the_schedule_is_forgotten(
    stages: int, lm_head: LmHead, lag: int, sampled: bool
) -> None:
    """The few cycles that are looked at show all that a whole run asks for."""
    layout = Layout(stages, lm_head, lag if stages > 1 else 0, (0, stages - 1), sampled=sampled)
    assert needs_of(layout) == exhaustively(layout)


# Memory


def test_a_cut_that_overfills_a_device_is_refused_and_says_what_would_fit() -> None:
    """70B with all of its stages on one of two devices; together the two would have room enough."""
    path = Path(__file__).parent.parent / "scenarios" / "h100x8.yaml"
    with pytest.raises(ScenarioError) as caught:
        load_scenario(path, ["devices.count=2"])
    assert str(caught.value).endswith(
        "partition does not fit the devices: device 1 would need 139.2 GB and has 85.9 GB: 53.3 GB too much; "
        "3 devices would fit"
    )


def test_one_stage_that_overfills_a_device_is_hypothetical_and_says_what_would_fit() -> None:
    """70B on one of eight devices: 137.5 GB of layers and cache, twice 2.1 GB of tables."""
    path = Path(__file__).parent.parent / "scenarios" / "h100x8.yaml"
    machine = machine_of(load_scenario(path, ["partition.stages=1"]))
    assert machine.warnings == ("hypothetical: device 0 would need 141.3 GB, has 85.9 GB; 2 stages or more would fit",)
    assert not machine.fits_one_device


def test_a_record_that_is_too_short_or_too_small_is_told(path: Path) -> None:
    """8 tokens are asked for; a record of 3 verdicts gives 4, and two sequences share it."""
    full, short = "A" * 7, "AAR"
    for records, sequences, expected in (
        ([full, full], 2, ()),
        ([full, short], 2, ("the record of 1 of 2 sequences has verdicts for fewer than the 8 new tokens: "
                            "a sequence ends where its record ends",)),
        ([full], 2, ("1 recorded of 2 sequences to decode: records repeat, so the intervals are too narrow",)),
    ):  # fmt: skip
        settings = [f"acceptance={{kind: replay, accepted: {records}}}", f"workload.sequences={sequences}"]
        assert machine_of(load_scenario(path, settings)).warnings == expected


def test_a_device_of_unknown_memory_holds_anything(path: Path) -> None:
    """There is nothing to compare with."""
    machine = machine_of(load_scenario(path, ["devices.count=1"]))
    assert machine.fits_one_device
    assert machine.warnings == ()


def test_every_device_holds_weights_cache_and_tables(path: Path) -> None:
    """12 tokens of context: a layer is 3640 + 480 bytes.

    Draft rank: two layers, projections 2000, head 1000, embedding 2000 and the LM head 2000. Stage 0: two layers and
    the embedding. The rest: two layers.
    """
    from spdsim.scenario.memory import device_bytes, target_bytes

    assert device_bytes(load_scenario(path)) == [8240 + 7000, 8240 + 2000, 8240, 8240]
    assert target_bytes(load_scenario(path)) == 6 * 4120 + 4000
    assert device_bytes(load_scenario(path, ["partition.lm_head=last_stage"])) == [13240, 10240, 8240, 10240]
    assert device_bytes(load_scenario(path, ["partition.lm_head=sharded"])) == [13740, 10740, 8740, 8740]
    assert device_bytes(load_scenario(path, ["model.tied_embeddings=true"])) == [13240, 10240, 8240, 8240]
    assert device_bytes(load_scenario(path, ["devices.count=1"])) == [
        8240 + 3000 + 6 * 4120 + 4000,
    ]


# What the report needs


def test_every_figure_says_where_it_comes_from(path: Path) -> None:
    """A kind and a source in words for each; what the scenario gives is assumed."""
    shipped = Path(__file__).parent.parent / "scenarios" / "h100x8.yaml"
    kinds = {origin.what: origin.kind for origin in machine_of(load_scenario(shipped)).origins}
    assert kinds["gpu (h100-sxm) bandwidth_bytes_per_s"] == "datasheet"
    assert kinds["timing bandwidth_fraction"] == "published"
    assert kinds["links.intra_node (nvlink4) latency_s"] == "published"
    assert kinds["acceptance"] == "assumed"
    assert kinds["model (llama-3.1-70b)"] == "published"
    given = {origin.what: (origin.kind, origin.source) for origin in machine_of(load_scenario(path)).origins}
    assert given["gpu (gpu) flops_per_s"] == ("assumed", "given in the scenario")


def test_only_figures_that_count_are_listed(path: Path) -> None:
    """No operations of layers that the model has not, of sampling when greedy, of links that nobody uses."""

    def listed(*settings: str) -> set[str]:
        return {origin.what for origin in machine_of(load_scenario(path, settings)).origins}

    assert {"timing attention_ops", "timing draft_ops"} <= listed()
    assert not {"timing gated_delta_ops", "timing moe_ops", "timing verify_sampling_ops"} & listed()
    assert {"timing verify_sampling_ops", "timing draft_sampling_ops"} <= listed("runtime.sampling=sampled")
    assert "timing draft_ops" not in listed("partition.stages=1")
    assert not any(what.startswith("links") for what in listed("partition.stages=1"))
    assert "timing gated_delta_ops" in listed("model=qwen3.5-4b")


def test_a_scenario_bound_by_its_hosts_is_told(path: Path) -> None:
    """Both times, and the word that would change it; a graph needs no such advice."""
    settings = ["timing={kind: roofline}", "devices.gpu.bandwidth_bytes_per_s=1e9"]
    (warning,) = machine_of(load_scenario(path, [*settings, "runtime.launch=eager"])).warnings
    assert warning.startswith("launch eager: a host issues a stage in 1.45 ms, its device needs")
    assert machine_of(load_scenario(path, settings)).warnings == ()


def test_a_default_is_not_said_to_be_given(path: Path) -> None:
    """A reader looks in vain for what the scenario does not say."""
    scenario = load_scenario(path, ["links.intra_node={latency_s: 1e-3, bandwidth_bytes_per_s: 1e5}"])
    sources = {origin.what: origin.source for origin in machine_of(scenario).origins}
    assert sources["links.intra_node (link) latency_s"] == "given in the scenario"
    assert sources["links.intra_node (link) post_s"] == "0, since the scenario does not say"
    assert sources["timing rollback_s"] == "given in the scenario"
    shipped = load_scenario(Path(__file__).parent.parent / "scenarios" / "h100x8.yaml")
    sources = {origin.what: origin.source for origin in machine_of(shipped).origins}
    assert sources["timing rollback_s"] == "0, since the scenario does not say"


def test_a_scenario_changed_in_python_is_checked_too(path: Path) -> None:
    """Without a file there is no line, but the rule is the same."""
    scenario = load_scenario(path)
    wrong = scenario.model_copy(update={"partition": Partition(stages=7)})
    with pytest.raises(ScenarioError, match=r"^partition\.stages is 7: must be at most the model.s 6 layers$"):
        machine_of(wrong)
