"""The best design for some devices: as good as trying everything, sure for a reason, and to be had from its file."""

import csv
import json
from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations, pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as settings_of_hypothesis
from hypothesis import strategies as st

from spdsim.analysis.summary import summarize
from spdsim.choice.plan import Plan, flags_of, plan
from spdsim.choice.plan_balance import balanced
from spdsim.choice.plan_design import Design, cut_words, design_of, with_design
from spdsim.choice.plan_race import Runner, is_tie, sureness
from spdsim.choice.plan_space import TOO_FEW, TOO_FULL, Space, families
from spdsim.evaluation import evaluate
from spdsim.scenario import Scenario, acceptance_of, load_scenario, scenario_document
from spdsim.scenario.edit import edited_text, file_of, flow
from spdsim.scenario.memory import device_bytes
from spdsim.scenario.source import parse_yaml
from spdsim.simulation import simulate
from tests.commands import ROOT, TUTORIAL
from tests.commands import spdsim as run

H100 = str(ROOT / "scenarios" / "h100x8.yaml")
SMALL = ("model={base: tiny, num_layers: 5}", "devices.count=3", "workload.new_tokens=16", "partition.stages=2")
RECORD = "acceptance={kind: replay, accepted: [AARAAAARAARAAAA, AAAARRAAARAAAAA, ARAAAAARAAAARAA]}"
REJECTING = (
    "model={base: tiny, num_layers: 8}", "devices.count=2", "draft.placement=stage_0",
    "acceptance={kind: replay, accepted: [ARRARRRARRARRRR, RRARRRARRRARRAR]}",
)  # fmt: skip
"""Stage 0 is best with fewer layers than even its device's share, for every refill waits for all of them."""

SLOW_HEAD = "timing.profile.verify=0.8e-3"
SLOW_DRAFT = "timing.profile.draft=2.5e-3"
SLOW_LINKS = "links.intra_node.latency_s=400e-6"


def small(*settings: str) -> Scenario:
    return load_scenario(TUTORIAL, [*SMALL, *settings])


def words(*settings: str) -> list[str]:
    return [word for setting in settings for word in ("--set", setting)]


def cuts(num_layers: int, num_stages: int) -> Iterator[tuple[int, ...]]:
    for inner in combinations(range(1, num_layers), num_stages - 1):
        yield tuple(stop - first for first, stop in pairwise((0, *inner, num_layers)))


@settings_of_hypothesis(max_examples=50, deadline=None)
@given(st.data())
def test_a_balanced_cut_is_the_best_of_all_cuts(data: st.DataObject) -> None:
    """The slowest stage is as fast, and the squares add up to as little, as in any cut that has room."""
    num_layers = data.draw(st.integers(1, 8))
    num_stages = data.draw(st.integers(1, min(4, num_layers)))
    # Sums of powers of two are exact, so that a tie is one.
    times = st.integers(0, 6).map(lambda number: number * 2.0**-12)
    layers_s = data.draw(st.lists(times, min_size=num_layers, max_size=num_layers))
    beside_s = data.draw(st.lists(times, min_size=num_stages, max_size=num_stages))
    sizes = data.draw(st.lists(st.integers(1, 3), min_size=num_layers, max_size=num_layers))
    room = data.draw(st.lists(st.integers(1, 12), min_size=num_stages, max_size=num_stages))

    def cost(cut: tuple[int, ...]) -> tuple[float, float] | None:
        first, stages_s = 0, []
        for count, beside, has in zip(cut, beside_s, room, strict=True):
            if sum(sizes[first : first + count]) > has:
                return None
            stages_s.append(sum(layers_s[first : first + count]) + beside)
            first += count
        return max(stages_s), sum(time_s**2 for time_s in stages_s)

    costs = [found for cut in cuts(num_layers, num_stages) if (found := cost(cut)) is not None]
    cut = balanced(tuple(layers_s), tuple(beside_s), tuple(sizes), tuple(room))
    assert (cut is None) == (not costs)
    if cut is not None:
        assert cost(cut) == pytest.approx(min(costs), rel=1e-9, abs=1e-15)


@pytest.mark.parametrize("settings", [(RECORD, SLOW_DRAFT, SLOW_LINKS), REJECTING], ids=["draft", "rejecting"])
def test_the_search_finds_what_trying_everything_finds(settings: tuple[str, ...]) -> None:
    """Every design with every cut, simulated with the same verdicts: none is faster than the plan's first."""
    scenario = small(*settings)
    found = plan(scenario, top=1).best[0]
    everything = [
        replace(family, layers=cut)
        for family in families(scenario, [])
        for cut in cuts(scenario.model.num_layers, family.stages)
    ]
    assert len(everything) > 60
    times_s = {}
    for design in everything:
        runner = Runner.of(design, with_design(scenario, design), 0.0)
        runner.go_on(found.replications)
        times_s[design] = runner.time_s.mean
    assert found.time_per_token_s.mean == pytest.approx(min(times_s.values()), rel=1e-9)
    assert times_s[found.design] == pytest.approx(found.time_per_token_s.mean, rel=1e-12)


def test_the_ranking_is_close_to_the_simulation_and_the_reasons_multiply_to_the_speedup() -> None:
    """The short run tells the time per token to a hundredth; steps and whole are of the same sequences."""
    found = plan(small(SLOW_HEAD, "partition.layers=[1, 4]"), top=3, min_acceptance=0.2)
    assert found.searched.estimate_error < 0.01 and found.reason is not None
    product = 1.0
    for step in found.reason.steps:
        product *= step.factor
    assert product == pytest.approx(found.reason.factor, rel=1e-9)
    assert found.best[0].speedup is not None and found.best[0].speedup.mean == pytest.approx(product, rel=0.02)
    robust = found.robust
    assert robust is not None and robust.time_per_token_s <= robust.first_s
    at_little = load_scenario(TUTORIAL, [*SMALL, SLOW_HEAD, "acceptance.p=0.2"])
    there = evaluate(with_design(at_little, robust.design), precision=0.01).time_per_token_s
    assert robust.time_per_token_s == pytest.approx(there.mean, rel=0.01)


def test_who_is_ahead_is_told_by_the_difference_over_the_same_sequences() -> None:
    """A design against itself is a tie; a slower one is surely behind, from whichever side it is asked."""
    scenario = small()
    first = Design(2, 1, "draft_rank", 0, "own_device", 1, (3, 2))
    runners = [
        Runner.of(design, with_design(scenario, design), 0.0)
        for design in (first, first, Design(2, 1, "draft_rank", 2, "own_device", 1, (1, 4)))
    ]
    for runner in runners:
        runner.go_on(8)
    same, again, slow = runners
    assert sureness(same, again) == 0.5 and is_tie(same, again)
    assert sureness(same, slow) > 0.999 and sureness(slow, same) < 0.001 and not is_tie(same, slow)
    over = same.over(slow)
    assert over.low is not None and over.high is not None and 1.0 < over.low <= over.mean <= over.high
    assert over.mean == pytest.approx(slow.time_s.mean / same.time_s.mean, rel=1e-3)


def test_files_and_commands_give_the_figures_that_were_told(tmp_path: Path) -> None:
    """Each file loads and has the very time per token of its design; the command's settings make the same scenario."""
    settings = [*SMALL, "acceptance.p=0.7", "acceptance.source=a test"]
    files = ("--out", "designs", "--json", "a.json", "--csv", "a.csv")
    options = ("plan", TUTORIAL, *words(*settings), "--top", "3", *files)
    done, again = run(*options, cwd=tmp_path), run(*options, cwd=tmp_path)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    assert done.stdout == again.stdout and "designs/1-" in done.stdout
    document = json.loads((tmp_path / "a.json").read_text())
    rows = list(csv.DictReader((tmp_path / "a.csv").read_text().splitlines()))
    assert len(document["designs"]) == len(rows) == len(list((tmp_path / "designs").iterdir())) == 3
    for design, row in zip(document["designs"], rows, strict=True):
        loaded = load_scenario(tmp_path / design["file"])
        assert "A machine of round numbers" in (tmp_path / design["file"]).read_text()
        figures = evaluate(loaded).time_per_token_s
        assert figures.mean == design["time_per_token_s"] == float(row["time_per_token_s"])
        told = summarize(simulate(loaded)).time_per_token_s
        assert told is not None and told.mean == pytest.approx(figures.mean, rel=0.1)
        changes = [f"{key}={flow(value)}" for key, value in design["settings"].items()]
        made = load_scenario(TUTORIAL, [*settings, *changes])
        same, whole = scenario_document(made), scenario_document(loaded)
        assert [key for key in same if same[key] != whole[key]] == ["name", "description"]
        assert "--set partition." in design["command"] or not design["settings"]


def test_a_file_that_names_others_is_written_out_whole(tmp_path: Path) -> None:
    """A profile beside the scenario is not beside the design: what it says is in the file instead."""
    head = "format: spd-profile\nversion: 1\norigin: assumed\nsource: a test\n"
    (tmp_path / "mine.yaml").write_text(f"{head}forward_per_layer: 1e-3\ndraft: 1e-3\nverify: 1e-4\n")
    text = (ROOT / "scenarios" / "tutorial.yaml").read_text()
    own = tmp_path / "own.yaml"
    own.write_text(text[: text.index("timing:")] + "timing: {kind: profile, profile: mine.yaml}\n")
    scenario = with_design(load_scenario(own), Design(2, 1, "sharded", 0, "own_device", 1, (3, 5)))
    settings = [("partition.stages", 2), ("partition.layers", [3, 5]), ("partition.lm_head", "sharded")]
    for place, has_comments in ((tmp_path, True), (tmp_path / "designs", False)):
        place.mkdir(exist_ok=True)
        made = place / "made.yaml"
        made.write_text(file_of(scenario, own.read_text(), settings, name=str(made), header="# a test\n"))
        found, wanted = scenario_document(load_scenario(made)), scenario_document(scenario)
        assert [key for key in wanted if found[key] != wanted[key]] in (["name"], [])
        assert ("A machine of round numbers" in made.read_text()) == has_comments


@pytest.mark.parametrize(
    ("text", "settings", "changed"),
    [
        ("a: {b: 1, c: 2} # x\n", [("a.b", 3)], "a: {b: 3, c: 2} # x\n"),
        ("a:\n  b: 1   # one\n  c: 2\n", [("a.b", [1, 2])], "a:\n  b: [1, 2]  # was 1\n  c: 2\n"),
        ("a:\n  b: 1\n", [("a.c", "d_e")], "a:\n  c: d_e\n  b: 1\n"),
        ("a: {}\n", [("a.b.c", None)], "a: {b: {c: null}}\n"),
        ("a: 1\n", [("b.c", "two words")], 'a: 1\nb: {c: "two words"}\n'),
        ("a:\n", [("a", 1)], "a: 1\n"),
        ("a: 1\n", [("a.b", 2)], None),
        ("a:\n  b: 1\n", [("a", 2)], None),
    ],
)
def test_a_setting_changes_its_own_place_in_a_text_only(
    text: str, settings: list[tuple[str, object]], changed: str | None
) -> None:
    """Comments stay, save one on the changed line; what has no place of its own is not forced in."""
    assert edited_text(text, settings) == changed


TEXTS = st.text(st.characters(max_codepoint=0xFFFF, exclude_categories=("Cc", "Cs", "Cn", "Co")), max_size=6)
PLAIN = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS


@settings_of_hypothesis(max_examples=60)
@given(st.recursive(PLAIN, lambda inner: st.lists(inner, max_size=3)))
def test_a_value_on_one_line_is_read_back(value: object) -> None:
    """What is written into a file is what is meant, also where words look like something else."""
    assert parse_yaml(f"key: {flow(value)}", "text").data == {"key": value}


def test_depths_of_the_draft_module_are_tried_where_their_acceptance_is_known() -> None:
    """A deeper module that is accepted more often, and costs nothing more here, is the better one."""
    table = "acceptance={kind: by_draft_layers, p: {1: 0.5, 3: 0.9}}"
    scenario = small(table, "draft.layers=2", "timing.profile.draft=null", "timing.profile.draft_per_layer=1e-6")
    assert acceptance_of(scenario).p == pytest.approx(0.7)  # type: ignore[union-attr]
    found = plan(scenario, top=1)
    assert found.best[0].design.draft_layers == 3 and found.best[0].speedup is not None
    assert not any("draft module" in sentence for sentence in found.searched.kept)
    assert any("by_draft_layers" in sentence for sentence in plan(small(), top=1).searched.kept)


@pytest.mark.parametrize(
    ("layers", "told"),
    [((5,), "5"), ((2, 3, 3), "2-3-3"), ((12, 12, 12, 11, 11, 11, 11), "3x12 4x11"), ((9, *[3] * 6), "9 6x3")],
)
def test_a_cut_is_told_stage_by_stage_or_in_runs(layers: tuple[int, ...], told: str) -> None:
    """As long as it is short; then so many stages with so many layers each."""
    assert cut_words(layers) == told


def test_what_is_taken_for_granted_is_flagged() -> None:
    """Acceptance told for other stages or another cut; a table by stages is believed within its ends."""
    scenario = small("partition.layers=[3, 2]")
    written = design_of(scenario)
    assert flags_of(scenario, written) == ()
    other = Design(2, 1, "draft_rank", 0, "own_device", 1, (2, 3))
    assert flags_of(scenario, other) == ("acceptance told for another cut",)
    three = Design(3, 1, "draft_rank", 0, "stage_0", 1, (1, 2, 2))
    assert flags_of(scenario, three) == ("acceptance told for 2 stages",)
    table = small("acceptance={kind: by_stages, p: {2: 0.9, 3: 0.8}}")
    assert flags_of(table, three) == ()
    assert flags_of(small("acceptance={kind: by_stages, p: {2: 0.9}}"), three) == ("acceptance told for 2 to 2 stages",)


def test_designs_stay_within_memory_and_nodes() -> None:
    """No design of a large model overfills a device; groups of four do not fit nodes of three."""
    scenario = load_scenario(H100, ["devices.count=2", "partition.stages=2", "draft.placement=stage_0"])
    space = Space(scenario)
    assert scenario.devices.gpu.memory_bytes is not None
    assert max(num_bytes for num_bytes, _ in found_in(space)) <= scenario.devices.gpu.memory_bytes
    space = Space(load_scenario(H100, ["devices.gpu.memory_bytes=60e9", "devices.count=4", "partition.stages=3"]))
    assert max(num_bytes for num_bytes, _ in found_in(space)) <= 60e9 and space.infeasible[TOO_FULL] > 5
    assert space.nearest is not None and space.nearest[0] > 0
    space = Space(load_scenario(H100, ["devices.count=6", "devices.per_node=3", "links.inter_node=infiniband-ndr"]))
    assert max(width for _, width in found_in(space)) == 2 and space.infeasible[TOO_FEW] > 0


def found_in(space: Space) -> list[tuple[int, int]]:
    """Bytes of the fullest device, and devices of a stage, of each design that can be had."""
    designs = [design for design in space.designs() if design is not None]
    return [(max(device_bytes(with_design(space.scenario, each))), each.tensor_parallel) for each in designs]


def test_times_of_one_cut_are_not_used_for_another() -> None:
    """A profile that has whole stages says nothing of other stages, so they stay."""
    profile = "timing.profile={origin: assumed, source: a test, forward: 1e-3, draft: 1e-3, verify: 1e-4}"
    found = plan(small(profile, "devices.count=4"), top=9)
    assert {(ranked.design.stages, ranked.design.layers) for ranked in found.best} == {(2, (3, 2))}
    assert found.plain is None and any("forward_per_layer" in sentence for sentence in found.searched.kept)


def test_one_device_decodes_plainly() -> None:
    """There is nothing to cut, and no design is told."""
    found: Plan = plan(load_scenario(TUTORIAL, ["devices.count=1"]))
    assert found.best == () and found.plain is not None and found.plain.method.key == "plain"


def test_more_devices_come_in_nodes_as_large_as_those_there_were() -> None:
    """Two nodes of two become three; what could not be had as written is told, and the search goes on."""
    nodes = ("devices.count=4", "devices.nodes=2", "links.inter_node=infiniband-ndr", "partition.stages=9")
    small_ones = [setting for setting in SMALL if "count" not in setting and "stages" not in setting]
    done = run("plan", TUTORIAL, *words(*small_ones, *nodes), "--devices", "3", "--top", "1", "--json", "-")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    devices = document["scenario"]["devices"]
    assert (devices["count"], devices["nodes"], devices["per_node"]) == (3, None, 2)
    assert "must be at most the model's 5 layers" in document["problem"]
    assert document["designs"][0]["speedup"] is None
    assert "devices.count=3" in document["designs"][0]["command"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--devices", "0"), "--devices is 0: must be at least 1"),
        (("--min-acceptance", "1.5"), "--min-acceptance is 1.5: must be a probability, 0 to 1"),
        (("--top", "0"), "--top is 0: must be at least 1"),
        (("--precision", "0"), "--precision is 0: must be a fraction"),
        (("--out", "missing/there"), "directory missing does not exist: must exist"),
        (("--set", "acceptance.p=2"), "acceptance.p is 2: must be at most 1"),
        (("--set", "workload.new_tokens=1"), "outputs must have at least 2 tokens"),
        (
            ("--set", "model=llama-3.1-70b", "--set", "devices.gpu={memory_bytes: 24e9}", "--devices", "3"),
            "no design can be had on 3 device: the nearest, 3 stages with",
        ),
        (
            ("--set", "model=llama-3.1-70b", "--set", "devices.gpu={memory_bytes: 24e9}", "--devices", "1"),
            "one device is plain decoding, which cannot be had: ",
        ),
    ],
)
def test_bad_input_is_told_in_a_line_and_writes_nothing(options: tuple[str, ...], said: str, tmp_path: Path) -> None:
    """Exit code 2, no traceback, no file; no design at all tells the nearest and what it lacks."""
    done = run("plan", TUTORIAL, *options, "--csv", "a.csv", cwd=tmp_path)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("spdsim: error: ") and said in done.stderr and "Traceback" not in done.stderr
    assert done.stderr.count("\n") == 1 and list(tmp_path.iterdir()) == []
