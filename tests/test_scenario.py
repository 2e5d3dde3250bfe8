"""Scenarios: what is written becomes what is meant; settings, named files, documents, lengths, placement."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from spdsim import acceptance
from spdsim.distributions import mean_s, variance_s2
from spdsim.scenario import (
    Scenario,
    acceptance_of,
    load_scenario,
    output_tokens,
    scenario_document,
    scenario_schema,
    scenario_sha256,
    template_text,
)
from spdsim.scenario.durations import ConstantTask, GammaTask, distribution
from spdsim.scenario.placement import anchors, anchors_in_stages, layers_of_stages, layout_of, place
from spdsim.scenario.source import parse_yaml
from spdsim.scenario.times import ProfileTimes, Roofline

ROOT = Path(__file__).parent.parent
TUTORIAL = ROOT / "scenarios" / "tutorial.yaml"
H100 = ROOT / "scenarios" / "h100x8.yaml"


def tutorial(*settings: str) -> Scenario:
    """Return the tutorial scenario with settings on top."""
    return load_scenario(TUTORIAL, settings)


# YAML


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001), ("1E3", 1000.0), (".5", 0.5), ("5.", 5.0), ("-1.5", -1.5), (".inf", float("inf")),
        ("10", 10), ("010", 10), ("0x10", 16), ("0o10", 8), ("1_000", "1_000"), ("1:30", "1:30"),
        ("on", "on"), ("off", "off"), ("yes", "yes"), ("no", "no"), ("true", True), ("False", False),
        ("null", None), ("~", None), ("", None), ("2020-01-01", "2020-01-01"), ("'1e-3'", "1e-3"),
    ],
)  # fmt: skip
def test_scalars_follow_yaml_1_2(text: str, value: object) -> None:
    """1e-3 is a number; on, off, yes and no are text; there are no dates and no base-60 numbers."""
    read = parse_yaml(f"key: {text}", "text").data["key"]
    assert (read, type(read)) == (value, type(value))


def test_aliases_give_the_same_value_twice() -> None:
    """Anchors and aliases are YAML, so they work."""
    assert parse_yaml("a: &x [1, 2]\nb: *x", "text").data == {"a": [1, 2], "b": [1, 2]}


# Settings


def test_settings_are_applied_in_their_order() -> None:
    """The last one wins."""
    assert tutorial("partition.stages=2", "partition.stages=8", "seed=7").partition.stages == 8


def test_a_setting_can_add_a_mapping_that_the_file_does_not_have() -> None:
    """Keys on the way are made."""
    assert tutorial("runtime.sampling=sampled").runtime.sampling == "sampled"


def test_a_setting_below_a_catalogue_name_keeps_the_other_figures() -> None:
    """What-if: the same GPU with another bandwidth."""
    gpu = load_scenario(H100, ["devices.gpu.bandwidth_bytes_per_s=1e12"]).devices.gpu
    assert (gpu.name, gpu.bandwidth_bytes_per_s, gpu.flops_per_s) == ("h100-sxm", 1e12, 989e12)
    assert "bandwidth_bytes_per_s" not in gpu.provenance
    assert gpu.provenance["flops_per_s"].origin == "datasheet"


def test_a_setting_can_reach_an_entry_of_a_list() -> None:
    """By its index."""
    scenario = tutorial("partition.layers=[2, 2, 2, 2]", "partition.layers.0=1", "partition.layers.3=3")
    assert layers_of_stages(scenario) == (1, 2, 2, 3)


@pytest.mark.parametrize(
    "kind", ["{kind: markov, p: [0.9, 0.5], stay: [0.9, 0.9]}", "{kind: by_fill_depth, p: [0.5, 0.6]}"]
)
@pytest.mark.parametrize("order", [1, -1])
def test_a_new_kind_drops_the_keys_of_the_old_one(kind: str, order: int, tmp_path: Path) -> None:
    """So acceptance.kind and acceptance.p work on every scenario, in either order."""
    text = TUTORIAL.read_text("utf-8")
    old = "{kind: bernoulli, p: 0.8, origin: assumed, source: chosen for the tutorial}"
    assert old in text
    (tmp_path / "x.yaml").write_text(text.replace(old, kind), "utf-8")
    settings = ["acceptance.kind=bernoulli", "acceptance.p=0.7"][::order]
    assert acceptance_of(load_scenario(tmp_path / "x.yaml", settings)) == acceptance.Bernoulli(0.7)


def test_an_acceptance_that_was_set_is_assumed() -> None:
    """A published probability that somebody changes is published no more."""
    published = ROOT / "scenarios" / "published" / "qwen3.5-4b-n4.yaml"
    changed = load_scenario(published, ["acceptance.p=0.9"]).acceptance
    assert (changed.origin, changed.source) == ("assumed", "--set acceptance.p")
    known = load_scenario(published, ["acceptance.origin=measured", "acceptance.p=0.9"]).acceptance
    assert known.origin == "measured"


# Named files


def test_a_profile_is_found_beside_its_scenario(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a setting the path is relative to the current directory."""
    head = "format: spd-profile\nversion: 1\norigin: measured\nsource: a test\n"
    (tmp_path / "deep").mkdir()
    for directory, seconds in ((tmp_path, 1.0), (tmp_path / "deep", 2.0)):
        (directory / "p.yaml").write_text(f"{head}forward: {seconds}\ndraft: 1\nverify: 1\n")
    text = TUTORIAL.read_text("utf-8").partition("timing:")[0]
    (tmp_path / "deep" / "x.yaml").write_text(text + "timing: {kind: profile, profile: p.yaml}\n")
    monkeypatch.chdir(tmp_path)
    for settings, seconds in (((), 2.0), (("timing.profile=p.yaml",), 1.0)):
        timing = load_scenario("deep/x.yaml", settings).timing
        assert isinstance(timing, ProfileTimes)
        assert timing.profile.forward == ConstantTask(mean_s=seconds)
        assert timing.profile.origin == "measured"


def test_one_duration_of_a_profile_file_can_be_set(tmp_path: Path) -> None:
    """The file is read first, then changed."""
    profile = "format: spd-profile\nversion: 1\norigin: measured\nsource: a test\nforward: 1\ndraft: 1\nverify: 1\n"
    (tmp_path / "p.yaml").write_text(profile)
    text = TUTORIAL.read_text("utf-8").partition("timing:")[0]
    (tmp_path / "x.yaml").write_text(text + "timing: {kind: profile, profile: p.yaml}\n")
    timing = load_scenario(tmp_path / "x.yaml", ["timing.profile.verify=0.5"]).timing
    assert isinstance(timing, ProfileTimes)
    assert timing.profile.verify == ConstantTask(mean_s=0.5)


def test_recorded_verdicts_are_read_in_the_order_of_sequences(tmp_path: Path) -> None:
    """One line a sequence; what is read is part of the document, so the file is not needed again."""
    record = '{"sequence": 1, "accepted": [false]}\n\n{"sequence": 0, "accepted": [true, false, true]}\n'
    (tmp_path / "r.jsonl").write_text(record)
    text = TUTORIAL.read_text("utf-8").replace(
        "{kind: bernoulli, p: 0.8, origin: assumed,", "{kind: replay, file: r.jsonl,"
    )
    (tmp_path / "x.yaml").write_text(text)
    scenario = load_scenario(tmp_path / "x.yaml")
    assert acceptance_of(scenario) == acceptance.Replay(((True, False, True), (False,)))
    assert scenario_document(scenario)["acceptance"]["accepted"] == ["ARA", "R"]


# Acceptance


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("{kind: by_fill_depth, p: [0.5, 0.9]}", acceptance.ByFillDepth((0.5, 0.9))),
        ("{kind: markov, p: [0.9, 0.5], stay: [0.8, 0.7]}", acceptance.Markov((0.9, 0.5), (0.8, 0.7))),
        ("{kind: beta, p: 0.8, concentration: 20}", acceptance.BetaPerSequence(0.8, 20.0)),
        ("{kind: replay, accepted: [AAR, A]}", acceptance.Replay(((True, True, False), (True,)))),
    ],
)
def test_every_kind_of_acceptance_becomes_its_model(written: str, expected: acceptance.Acceptance) -> None:
    """What is written and the model have the same numbers."""
    assert acceptance_of(tutorial(f"acceptance={written}")) == expected


@pytest.mark.parametrize(("stages", "p"), [(1, 0.9), (2, 0.9), (3, 0.85), (4, 0.8), (6, 0.75), (8, 0.7)])
def test_acceptance_by_stages_is_interpolated_and_held_beyond_its_ends(stages: int, p: float) -> None:
    """A table over n for any number of stages."""
    model = acceptance_of(
        tutorial(f"partition.stages={stages}", "acceptance={kind: by_stages, p: {2: 0.9, 4: 0.8, 8: 0.7}}")
    )
    assert isinstance(model, acceptance.Bernoulli)
    assert model.p == pytest.approx(p)


# Output lengths


def test_a_length_depends_on_seed_and_sequence_only() -> None:
    """Never on the order in which lengths are asked for."""
    setting = "workload.new_tokens={kind: geometric, mean: 50, max: 400}"
    first, again, other = tutorial(setting), tutorial(setting), tutorial(setting, "seed=1")
    lengths = [output_tokens(first, sequence) for sequence in range(50)]
    assert [output_tokens(again, sequence) for sequence in reversed(range(50))] == lengths[::-1]
    assert [output_tokens(other, sequence) for sequence in range(50)] != lengths


@pytest.mark.parametrize(
    ("written", "mean", "support"),
    [
        ("7", 7.0, range(7, 8)),
        ("{kind: uniform, low: 3, high: 9}", 6.0, range(3, 10)),
        ("{kind: geometric, mean: 20, max: 100000}", 20.0, range(1, 100001)),
        ("{kind: geometric, mean: 1, max: 10}", 1.0, range(1, 2)),
        ("{kind: empirical, lengths: [2, 2, 8]}", 4.0, range(2, 9)),
    ],
)
def test_lengths_follow_their_law(written: str, mean: float, support: range) -> None:
    """Mean within four standard errors, and nothing outside the support."""
    scenario = tutorial(f"workload.new_tokens={written}")
    lengths = [output_tokens(scenario, sequence) for sequence in range(4000)]
    spread = max(1e-9, sum((length - mean) ** 2 for length in lengths) / len(lengths)) ** 0.5
    assert sum(lengths) / len(lengths) == pytest.approx(mean, abs=4 * spread / len(lengths) ** 0.5 + 1e-9)
    assert all(length in support for length in lengths)


def test_a_geometric_length_is_cut_off_at_its_maximum() -> None:
    """The maximum is what memory is reserved for."""
    scenario = tutorial("workload.new_tokens={kind: geometric, mean: 50, max: 60}")
    assert max(output_tokens(scenario, sequence) for sequence in range(200)) == 60 == scenario.workload.max_new_tokens


# Durations


@pytest.mark.parametrize(
    ("written", "mean", "variance"),
    [
        ("2", 2.0, 0.0),
        ("{mean_s: 2}", 2.0, 0.0),
        ("{kind: normal, mean_s: 2, std_s: 0.1}", 2.0, 0.01),
        ("{kind: lognormal, mean_s: 2, cv: 0.5}", 2.0, 1.0),
        ("{kind: gamma, mean_s: 2, cv: 0.5}", 2.0, 1.0),
        ("{kind: empirical, samples_s: [1, 3]}", 2.0, 1.0),
    ],
)
def test_every_kind_of_duration_becomes_its_distribution(written: str, mean: float, variance: float) -> None:
    """A number of seconds is a constant."""
    timing = tutorial(f"timing.profile.verify={written}").timing
    assert isinstance(timing, ProfileTimes)
    assert timing.profile.verify is not None
    drawn = distribution(timing.profile.verify)
    assert mean_s(drawn) == pytest.approx(mean)
    assert variance_s2(drawn) == pytest.approx(variance)


def test_a_duration_can_depend_on_context_and_fill_depth() -> None:
    """Linear in tokens, and another draw at each depth."""
    timing = tutorial(
        "timing.profile.draft={kind: gamma, mean_s: 1e-3, cv: 0.1, "
        "per_context_token_s: 1e-9, by_fill_depth: [1e-3, 2e-3]}"
    ).timing
    assert isinstance(timing, ProfileTimes)
    draft = timing.profile.draft
    assert isinstance(draft, GammaTask)
    assert draft.per_context_token_s == 1e-9
    assert [mean_s(distribution(draw)) for draw in draft.by_fill_depth or ()] == [1e-3, 2e-3]


# Cut, anchors and placement


@pytest.mark.parametrize("stages", range(1, 9))
def test_an_even_cut_gives_the_first_stages_the_layers_that_are_left_over(stages: int) -> None:
    """All layers are there; none differ by more than one; the larger come first."""
    cut = layers_of_stages(tutorial(f"partition.stages={stages}"))
    assert (len(cut), sum(cut)) == (stages, 8)
    assert max(cut) - min(cut) <= 1
    assert list(cut) == sorted(cut, reverse=True)


def test_anchors_are_spread_as_in_the_published_models() -> None:
    """0, 8, 16, 24, 31 for 32 layers."""
    assert anchors(load_scenario(ROOT / "scenarios/rtx4090x4-pcie.yaml", ["draft.anchors=5"])) == (0, 8, 16, 24, 31)
    assert anchors(tutorial("draft.anchors=1")) == (0,)
    assert anchors(tutorial("draft.anchors=9")) == (0, 1, 2, 3, 4, 5, 6, 7)
    assert anchors(tutorial("draft.anchors=[0, 8]")) == (0, 8)


def test_an_anchor_belongs_to_the_stage_that_puts_it_out() -> None:
    """Hidden state k is the output of layer k - 1; the embedding comes from no stage."""
    scenario = tutorial("draft.anchors=[0, 2, 3, 8]")
    assert anchors_in_stages(scenario) == (1, 1, 0, 1)
    assert layout_of(scenario).feature_stages == (0, 1, 3)


def test_the_verification_lag_is_0_with_one_stage() -> None:
    """Plain decoding has nothing to be late for."""
    assert layout_of(tutorial("partition.verification_lag=2", "partition.stages=1")).verification_lag == 0
    assert layout_of(tutorial("partition.verification_lag=2")).verification_lag == 2


@pytest.mark.parametrize(
    ("settings", "devices"),
    [
        ((), [0, 1, 2, 3, 4]),
        (("devices.count=9",), [0, 1, 2, 3, 4]),
        (("devices.count=4",), [0, 1, 1, 2, 3]),
        (("devices.count=3",), [0, 1, 1, 2, 2]),
        (("devices.count=2",), [0, 1, 1, 1, 1]),
        (("devices.count=1",), [0, 0, 0, 0, 0]),
        (("partition.stages=1",), [0]),
        (("draft.placement=stage_0",), [0, 0, 1, 2, 3]),
        (("draft.placement=stage_0", "devices.count=2"), [0, 0, 0, 1, 1]),
        (("partition.lm_head=own_device", "devices.count=6"), [0, 1, 2, 3, 4, 5]),
        (("partition.lm_head=own_device", "devices.count=8"), [0, 1, 2, 3, 4, 5]),
        (("partition.lm_head=own_device",), [0, 1, 1, 2, 3, 4]),
        (("partition.lm_head=own_device", "devices.count=3"), [0, 1, 1, 1, 1, 2]),
        (("partition.lm_head=own_device", "devices.count=2"), [0, 1, 1, 1, 1, 1]),
        (("partition.lm_head=own_device", "devices.count=1"), [0, 0, 0, 0, 0, 0]),
    ],
)
def test_workers_are_placed_by_the_rule(settings: tuple[str, ...], devices: list[int]) -> None:
    """Draft rank first, then stages in contiguous blocks, then the LM head's own worker."""
    assert [worker.device for worker in place(tutorial(*settings))] == devices


@pytest.mark.parametrize("count", range(1, 8))
@pytest.mark.parametrize("stages", range(1, 9))
@pytest.mark.parametrize("lm_head", ["draft_rank", "own_device"])
def test_stages_never_go_back_to_an_earlier_device(count: int, stages: int, lm_head: str) -> None:
    """Contiguous and balanced: a neighbour is on the same device or the next, and loads differ by one at most."""
    scenario = tutorial(f"devices.count={count}", f"partition.stages={stages}", f"partition.lm_head={lm_head}")
    devices = [worker.device for worker in place(scenario) if worker.role == "stage"]
    assert all(later - earlier in (0, 1) for earlier, later in pairwise(devices))
    loads = [devices.count(device) for device in set(devices)]
    assert max(loads) - min(loads) <= 1
    assert max(worker.device for worker in place(scenario)) < count


# Documents


def shipped() -> list[Path]:
    """Return every scenario of the repository."""
    return sorted(path for path in (ROOT / "scenarios").rglob("*.yaml") if path.parent.name != "profiles")


@pytest.mark.parametrize("path", shipped(), ids=lambda path: path.stem)
def test_a_document_loads_again_and_says_the_same(path: Path, tmp_path: Path) -> None:
    """Defaults and catalogue figures are in it, so it needs no other file."""
    scenario = load_scenario(path)
    document = scenario_document(scenario)
    copy = tmp_path / "copy.json"
    copy.write_text(json.dumps(document, allow_nan=False), "utf-8")
    again = load_scenario(copy)
    assert scenario_document(again) == document
    assert scenario_sha256(again) == scenario_sha256(scenario)


def test_a_document_has_the_defaults_and_the_figures() -> None:
    """What a reader needs to redo the run."""
    document = scenario_document(load_scenario(H100))
    assert document["model"]["num_layers"] == 80
    assert document["devices"]["gpu"]["bandwidth_bytes_per_s"] == 3350e9
    assert document["timing"]["kernel_latency_s"] == 3.6e-6
    assert document["timing"]["provenance"]["kernel_latency_s"]["origin"] == "published"
    assert document["runtime"] == {
        "launch": "cuda_graph", "sampling": "greedy", "control": "early", "messages": "per_edge",
        "posting": "grouped", "receipts": "posted",
    }  # fmt: skip


def test_the_hash_changes_with_the_scenario_and_with_nothing_else() -> None:
    """Comments and the order of keys are not the scenario."""
    assert scenario_sha256(tutorial()) == scenario_sha256(tutorial("partition.stages=4"))
    assert scenario_sha256(tutorial()) != scenario_sha256(tutorial("seed=1"))


def test_a_scenario_is_named_after_its_file_unless_it_says_otherwise() -> None:
    """Reports need a name."""
    assert (tutorial().name, tutorial("name=mine").name) == ("tutorial", "mine")


def test_the_template_loads() -> None:
    """`spdsim init` gives a file that works as it is."""
    source = parse_yaml(template_text(), "template")
    scenario = Scenario.model_validate(source.data)
    assert isinstance(scenario.timing, Roofline)


def _keys(schema: dict[str, Any]) -> set[str]:
    definitions = [schema, *schema["$defs"].values()]
    return {key for definition in definitions for key in definition.get("properties", {})}


def test_the_schema_knows_the_promised_keys_and_describes_its_own() -> None:
    """Editors show the descriptions; the top level and its parts have them."""
    schema = scenario_schema()
    assert {"stages", "kind", "p", "new_tokens", "seed", "replications"} <= _keys(schema)
    assert schema["additionalProperties"] is False
    assert all("description" in definition for definition in schema["$defs"].values() if "properties" in definition)
