"""Trees of drafts in scenarios and in the simulator: what wider stages cost, and what a chain never notices."""

from itertools import product
from typing import Any

import pytest

from spdsim.distributions import mean_s
from spdsim.errors import ScenarioError, ScheduleError
from spdsim.scenario import Scenario, acceptance_of, layout_of, scenario_document, scenario_sha256
from spdsim.scenario.build import build_scenario
from spdsim.scenario.rows import rows_factor
from spdsim.schedules.ops import Send
from spdsim.schedules.spd import Layout, PipelineState, program
from spdsim.simulation import simulate
from spdsim.timing import machine_of
from tests.machines import PLACEMENTS

PROFILE = {"kind": "profile", "profile": {"forward": 1e-3, "draft": 1e-3, "verify": 1e-4}}
ROOFLINE = {"kind": "roofline"}


def scenario(width: int | None = None, stages: int = 4, **parts: Any) -> Scenario:
    """Return a scenario on H100s; width None: it says nothing of trees."""
    draft = {} if width is None else {"width": width}
    data: dict[str, Any] = {
        "model": "llama-3.1-8b",
        "devices": {"gpu": "h100-sxm", "count": stages + 2},
        "links": {"intra_node": "nvlink4"},
        "partition": {"stages": stages},
        "acceptance": {"kind": "by_width", "p": {1: 0.8, 2: 0.87, 4: 0.91}},
        "workload": {"prompt_tokens": 16, "new_tokens": 24},
        "timing": ROOFLINE,
    }
    for key, part in parts.items():
        data[key] = {**data[key], **part} if isinstance(part, dict) and key in ("partition",) else part
    return build_scenario({**data, "draft": {"layers": 2, **draft}})


def test_a_scenario_of_width_one_is_the_one_that_says_nothing_of_trees() -> None:
    """Its document, its hash, its machine and its trace, to the last bit."""
    for timing in (PROFILE, ROOFLINE):
        silent, said = scenario(timing=timing), scenario(1, timing=timing)
        assert "width" not in scenario_document(said)["draft"]
        assert scenario_sha256(silent) == scenario_sha256(said)
        assert machine_of(silent) == machine_of(said)
        assert list(simulate(silent).spans(0)) == list(simulate(said).spans(0))
    assert scenario_document(scenario(2))["draft"]["width"] == 2


@pytest.mark.parametrize(("width", "p"), [(1, 0.8), (2, 0.87), (3, 0.89), (4, 0.91), (9, 0.91)])
def test_acceptance_by_width_is_read_between_the_widths_of_its_table(width: int, p: float) -> None:
    accepted = acceptance_of(scenario(width))
    assert mean_acceptance_p(accepted) == pytest.approx(p)


def mean_acceptance_p(accepted: Any) -> float:
    return float(accepted.p)


@pytest.mark.parametrize(("timing", "head", "sampling"), [
    *product((PROFILE, ROOFLINE), PLACEMENTS, ("greedy", "sampled")),
])  # fmt: skip
def test_for_the_same_verdicts_wider_levels_never_take_less_time(
    timing: dict[str, Any], head: str, sampling: str
) -> None:
    """Every op of every worker is there, in its order, and none ends sooner.

    Sampled chains send their drafts to the shards of an LM head too: they are no measure of trees, which do not.
    """
    fixed = {"kind": "replay", "accepted": ["ARAAARRAAAAAARAAAAAAAAA"]}
    parts: dict[str, Any] = {"timing": timing, "partition": {"lm_head": head}, "runtime": {"sampling": sampling}}
    widths = (2, 4, 16) if (head, sampling) == ("sharded", "sampled") else (1, 2, 4, 16)
    traces = [simulate(scenario(width, acceptance=fixed, **parts)) for width in widths]
    ops = [[(s.worker, s.cycle, s.op, s.position, s.peer) for s in trace.spans(0)] for trace in traces]
    ends = [trace_end_s(trace) for trace in traces]
    assert all(sorted(each, key=str) == sorted(ops[0], key=str) for each in ops)
    assert ends == sorted(ends) and ends[-1] > ends[0]


def trace_end_s(trace: Any) -> float:
    return max(float(span.end_s) for span in trace.spans(0))


def test_stages_are_priced_by_their_rows_and_the_last_one_runs_the_right_node_only() -> None:
    chain, tree = (machine_of(scenario(width, timing=PROFILE)) for width in (1, 4))
    for stage in range(3):
        assert mean_s(tree.tasks[stage + 1, "forward"].base) == pytest.approx(1e-3 * rows_factor(4))
    assert tree.tasks[4, "forward"] == chain.tasks[4, "forward"]
    assert tree.tasks[0, "verify"] == chain.tasks[0, "verify"]


def test_a_draft_is_priced_by_the_levels_in_flight() -> None:
    """Its rows: a completed token, the oldest in flight, and the nodes of every younger level."""
    tree = machine_of(scenario(4, timing=PROFILE)).tasks[0, "draft"]
    rows = [layout_of(scenario(4)).draft_rows(depth) for depth in (1, 2, 3, 4)]
    assert rows == [2, 6, 10, 14]
    for depth, num_rows in enumerate(rows, start=1):
        factor = rows_factor(num_rows) / rows_factor(depth + 1)
        assert mean_s(tree.at_depth(depth)) == pytest.approx(1e-3 * factor)


def test_a_mixture_of_experts_reads_more_of_them_for_a_level() -> None:
    parts: dict[str, Any] = {"model": "qwen3-30b-a3b", "devices": {"gpu": "h100-sxm", "count": 5}}
    chain, tree = (mean_s(machine_of(scenario(width, **parts)).tasks[1, "forward"].base) for width in (1, 4))
    assert tree > 1.5 * chain


def test_messages_carry_the_rows_of_their_stage_and_the_tree() -> None:
    """Hidden size 4096 and 2 bytes: 8192 bytes a node; parents, tokens and the right node are 8 each."""
    chain, tree = (machine_of(scenario(width, timing=PROFILE)).messages for width in (1, 4))
    more = {edge: tree[edge].num_bytes - chain[edge].num_bytes for edge in tree}
    assert more["hidden", 1, 2] == 3 * 8192 + 4 * 8
    assert more["hidden", 3, 4] == 3 * 8192
    assert more["hidden", 4, 0] == 0
    assert more["draft", 0, 1] == 7 * 8
    assert more["verdict", 0, 1] == 8 + 8 * 8
    assert more["verdict", 0, 4] == 8
    for edge, message in tree.items():
        assert message.prefill_bytes == chain[edge].prefill_bytes or edge[0] in ("draft", "verdict")
        assert edge[0] != "features" or message.num_bytes == 4 * chain[edge].num_bytes


def test_with_sampling_a_tree_sends_no_distribution() -> None:
    """The target draws its own token, and looks whether a node has it."""
    parts: dict[str, Any] = {"partition": {"lm_head": "last_stage"}, "runtime": {"sampling": "sampled"}}
    chain, tree = (machine_of(scenario(width, **parts)).messages["draft", 0, 4].num_bytes for width in (1, 2))
    assert chain > 4 * 128_000 and tree < 100


WRONG = [
    ({"partition": {"verification_lag": 1}}, "draft.width is 2: must be 1 with partition.verification_lag 1"),
    ({"workload": {"concurrency": 3}}, "draft.width is 2: must be 1 with workload.concurrency 3"),
]


@pytest.mark.parametrize(("parts", "complaint"), WRONG, ids=str)
def test_what_a_tree_cannot_do_is_told(parts: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ScenarioError, match=complaint):
        scenario(2, **parts)


def test_with_one_stage_there_is_no_tree() -> None:
    alone = scenario(4, stages=1, devices={"gpu": "h100-sxm", "count": 1})
    assert layout_of(alone) == layout_of(scenario(1, stages=1))
    assert simulate(alone).header.num_stages == 1


@pytest.mark.parametrize("options", [{"width": 0}, {"width": 2, "num_stages": 1}, {"width": 2, "verification_lag": 1}])
def test_a_layout_that_cannot_be_is_refused(options: Any) -> None:
    with pytest.raises(ScheduleError, match="must be"):
        Layout(**{"num_stages": 3, **options})


def test_a_level_narrower_than_the_table_is_told() -> None:
    """Held constant below its end, the table would promise a chain what a tree has."""
    wide = {"kind": "by_width", "p": {2: 0.87, 4: 0.91}}
    assert any("begins at a width of 2" in each for each in machine_of(scenario(1, acceptance=wide)).warnings)
    alone = scenario(1, stages=1, acceptance=wide, devices={"gpu": "h100-sxm", "count": 1})
    for quiet in (scenario(2, acceptance=wide), scenario(9, acceptance=wide), scenario(1), alone):
        assert not any("begins at" in each for each in machine_of(quiet).warnings)


def test_shards_of_the_lm_head_hear_of_no_level() -> None:
    """The draft rank puts their parts together, and knows the tree; a level is sent to the first stage alone."""
    full = PipelineState(Layout(3, "sharded", sampled=True, width=4), 9, in_flight=range(3, 0, -1), cycle=5)
    assert not [op for op in program(full, 0) if isinstance(op, Send) and op.payload == "draft"]
    fill = full._replace(in_flight=range(2, 0, -1))
    assert [op.to for op in program(fill, 0) if isinstance(op, Send) and op.payload == "draft"] == [1]


def test_what_a_trees_acceptance_rests_on_is_told() -> None:
    """A probability that is the same at every width, and a model whose states cannot branch."""
    guess = {"kind": "bernoulli", "p": 0.8}
    assert any("by_width" in warning for warning in machine_of(scenario(4, acceptance=guess)).warnings)
    assert not any("draft.width" in warning for warning in machine_of(scenario(1, acceptance=guess)).warnings)
    assert not any("draft.width" in warning for warning in machine_of(scenario(4)).warnings)
    hybrid = machine_of(scenario(4, model="qwen3.5-9b"))
    assert any("recurrent states" in warning for warning in hybrid.warnings)
    assert any(origin.what == "several rows at once" for origin in hybrid.origins)
