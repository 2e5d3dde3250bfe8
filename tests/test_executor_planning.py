"""From options or a scenario to a plan: everything in it is the scenario's, so that simulator and executor agree."""

import json
from pathlib import Path
from typing import Any, get_args

import pytest
import torch

from executor import plan as plans
from executor.cli import options
from executor.draft.checkpoint import save
from executor.draft.cut import Cut
from executor.draft.module import DraftModule
from executor.draft.shape import DraftShape, draft_layer
from executor.errors import LaunchError
from executor.model.architecture import read_architecture
from executor.model.dense import DenseShape
from executor.model.parts import RmsNorm
from executor.model.small import small_config
from executor.plan import Plan
from executor.planning import Place, Request, Run, plan_run
from executor.planning.config import config_of
from executor.planning.place import World, world_of
from executor.text.tokenizer import ByteTokenizer
from spdsim.acceptance import Bernoulli, toss
from spdsim.errors import InputError
from spdsim.scenario import Scenario, acceptance_of, layout_of, load_scenario, output_tokens, scenario_sha256
from spdsim.scenario.build import build_scenario
from spdsim.scenario.catalogue import entries
from spdsim.scenario.placement import anchors, layers_of_stages
from spdsim.scenario.target_files import load_model
from spdsim.shapes.huggingface import shape_of
from spdsim.timing import machine_of
from tests.commands import ROOT, TUTORIAL

SCENARIOS = ROOT / "scenarios"
WITH_PROFILES = [Path(TUTORIAL), *sorted((SCENARIOS / "published").glob("*-n*.yaml"))]
PROFILE = SCENARIOS / "profiles" / "published-qwen3.5.yaml"


def place(gpus: int = 0, cores: int = 8, world: World | None = None) -> Place:
    return Place(cores, lambda: gpus, world)


def planned(gpus: int = 0, world: World | None = None, **asked: Any) -> Run:
    return plan_run(Request(**asked), place(gpus, world=world))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A directory that looks as a model's does; its weights are never read."""
    directory = tmp_path / "my-model"
    directory.mkdir()
    (directory / "config.json").write_text(json.dumps(small_config()))
    (directory / "model.safetensors").touch()
    return directory


# Options.


@pytest.mark.parametrize(
    ("asked", "keys"),
    [
        ({}, {}),
        ({"stages": 4, "lm_head": "last_stage", "verification_lag": 2}, {
            "partition": {"stages": 4, "lm_head": "last_stage", "verification_lag": 2},
            "draft": {"layers": 2, "anchors": 5},
        }),
        ({"layers": "5,3", "anchors": "0,3,8", "draft_layers": 2}, {
            "partition": {"stages": 2, "layers": [5, 3]}, "draft": {"layers": 2, "anchors": [0, 3, 8]},
        }),
        ({"stages": 3, "lm_head": "sharded", "temperature": 0.7, "control": "lockstep", "messages": "per_tensor"}, {
            "partition": {"stages": 3, "lm_head": "sharded"}, "draft": {"layers": 2, "anchors": 4},
            "runtime": {"sampling": "sampled", "control": "lockstep", "messages": "per_tensor"},
        }),
        ({"stages": 8, "lm_head": "own_device", "anchors": "3", "draft_vocab": 100}, {
            "partition": {"stages": 8, "lm_head": "own_device"}, "draft": {"layers": 1, "anchors": 3},
        }),
        ({"stages": 1}, {"partition": {"stages": 1}, "draft": {"layers": 4, "anchors": 2}}),
    ],
)  # fmt: skip
def test_options_give_what_a_scenario_that_says_the_same_gives(asked: dict[str, Any], keys: dict[str, Any]) -> None:
    """Layout, cut and anchors are the simulator's own."""
    plan = planned(**asked).plan
    said = {"partition": {"stages": 2}, "draft": {"layers": 4, "anchors": 3}, **keys}
    scenario = build_scenario(
        {
            "model": {"name": "small", **shape_of(small_config())},
            "devices": {"gpu": {"bandwidth_bytes_per_s": 1e12, "flops_per_s": 1e14}, "count": 1},
            "acceptance": {"kind": "bernoulli", "p": 0.5},
            **said,
        }
    )
    assert plan.layout == layout_of(scenario) == layout_of(plan.scenario)
    assert plan.layers == layers_of_stages(scenario)
    assert plan.draft.anchors == anchors(scenario)
    assert plan.draft.num_layers == scenario.draft.layers
    assert len(plan.devices) == plan.layout.num_workers


def test_without_options_a_small_model_continues_a_text_in_two_stages() -> None:
    """One process, float32, and plain decoding beside it."""
    run = planned()
    plan, prompt = run.plan, tuple(b"Once upon a time")
    assert (plan.backend, plan.device, plan.launch, plan.dtype) == ("local", "cpu", "eager", "float32")
    assert (plan.model.directory, plan.model.config) == (None, small_config())
    assert (plan.draft.forced, plan.draft.is_off, plan.has_module_drafts) == (None, False, True)
    assert [(job.method, job.sequence, job.prompt) for job in run.jobs] == [("plain", 0, prompt), ("spd", 0, prompt)]
    assert isinstance(run.tokenizer, ByteTokenizer)
    assert run.notes == ()


def test_names_of_options_are_those_of_a_plan() -> None:
    """They stand in two places, since a plan takes long to import."""
    for name in ("Backend", "DeviceKind", "DType", "Launch"):
        assert get_args(getattr(options, name)) == get_args(getattr(plans, name))


def test_the_context_has_room_for_the_longest_sequence_and_what_is_in_flight() -> None:
    """Of all sequences."""
    plan = planned(stages=4, verification_lag=1, prompt_tokens=7, max_new_tokens=20, sequences=2).plan
    assert plan.max_context == 7 + 20 + 5


@pytest.mark.parametrize("draft", ["forced:p=0.7", "none", "module"])
def test_each_sequence_is_decoded_plainly_and_then_with_drafts(draft: str) -> None:
    """Forced drafts are right about plain decoding's tokens, so it comes first."""
    run = planned(draft=draft, sequences=3, is_recorded=draft != "none")
    methods = ["plain"] if draft == "none" else ["plain", "spd"]
    assert [(job.sequence, job.method) for job in run.jobs] == [(s, method) for s in range(3) for method in methods]
    assert {job.is_recorded for job in run.jobs if job.method == "spd"} <= {True}
    assert not any(job.is_recorded for job in run.jobs if job.method == "plain")
    assert run.plan.draft.is_off == (draft == "none")
    assert run.plan.draft.forced == (Bernoulli(0.7) if draft.startswith("forced") else None)


def test_one_stage_is_plain_decoding() -> None:
    """A single job, which is recorded if anything is."""
    run = planned(stages=1, is_recorded=True)
    assert [(job.method, job.is_recorded) for job in run.jobs] == [("plain", True)]
    assert run.plan.draft.is_off and not run.plan.has_module_drafts


def test_the_baseline_can_be_left_out() -> None:
    """Where nothing depends on it."""
    assert [job.method for job in planned(has_baseline=False).jobs] == ["spd"]


def test_random_prompts_are_the_same_for_a_seed_and_differ_by_sequence() -> None:
    """Nothing depends on the order of use."""
    jobs = [planned(prompt_tokens=12, sequences=2, seed=seed, draft="none").jobs for seed in (3, 3, 4)]
    prompts = [[job.prompt for job in each] for each in jobs]
    assert prompts[0] == prompts[1] != prompts[2]
    assert len({*prompts[0], *prompts[2]}) == 4
    assert all(len(prompt) == 12 and max(prompt) < 258 for each in prompts for prompt in each)


def test_prompts_come_as_text_from_a_file_or_as_ids(tmp_path: Path) -> None:
    """A file's last line end is the editor's."""
    file = tmp_path / "prompt.txt"
    file.write_text("é\n\n")
    assert planned(prompt_file=file).jobs[0].prompt == tuple("é\n".encode())
    assert planned(prompt="é").jobs[0].prompt == tuple("é".encode())
    assert planned(prompt_ids="5, 6,7").jobs[0].prompt == (5, 6, 7)


def test_sampling_is_that_of_the_options() -> None:
    """And the layout knows that the draft's distribution travels."""
    plan = planned(temperature=0.8, top_k=40, top_p=0.9).plan
    assert (plan.sampling.temperature, plan.sampling.top_k, plan.sampling.top_p) == (0.8, 40, 0.9)
    assert plan.layout.sampled and plan.uses_rejection
    assert planned().plan.sampling.is_greedy


# Models.


def test_a_directory_with_weights_is_the_model(model: Path) -> None:
    """Its config, its weights; without a tokenizer the prompt is numbers."""
    run = planned(model=str(model), random_weights=False)
    assert run.plan.model.directory == model
    assert run.plan.model.config == small_config()
    assert (run.model_name, run.tokenizer, len(run.jobs[0].prompt)) == ("my-model", None, 16)


@pytest.mark.parametrize("name", ["my-model", "my-model/config.json"])
def test_random_weights_take_the_shape_only(model: Path, name: str) -> None:
    """Of a directory or of its config.json."""
    run = planned(model=str(model.parent / name), random_weights=True)
    assert (run.plan.model.directory, run.plan.model.config) == (None, small_config())


def test_a_catalogue_name_is_a_shape_for_random_weights() -> None:
    """The scenario has the catalogue's entry, the plan a config that says the same."""
    plan = planned(model="Llama-3.1-8B", random_weights=True, stages=4).plan
    assert plan.scenario.model.name == "llama-3.1-8b"
    assert (plan.layers, plan.model.config["num_hidden_layers"]) == ((8, 8, 8, 8), 32)


@pytest.mark.parametrize("name", entries("models"))
def test_the_config_of_a_shape_has_that_shape(name: str) -> None:
    """For every model of the catalogue that the executor computes; the others are refused in one line."""
    shape = load_model(name)
    keys = ("num_layers", "hidden_size", "num_heads", "num_kv_heads", "head_dim", "vocab_size", "intermediate_size",
            "tied_embeddings", "attention_bias", "qk_norm", "sliding_window", "attention_output_gate",
            "full_attention_interval", "linear_num_key_heads", "linear_num_value_heads", "linear_key_head_dim",
            "linear_value_head_dim")  # fmt: skip
    if shape.num_experts is not None:
        with pytest.raises(InputError, match=name):
            config_of(shape)
        return
    again = shape_of(config_of(shape))
    assert {key: again.get(key) for key in keys} == {key: getattr(shape, key) for key in keys}
    read_architecture(config_of(shape))


@pytest.mark.parametrize(
    ("config", "generation", "expected"),
    [
        ({"eos_token_id": 7}, None, {7}),
        ({"eos_token_id": [7, 8]}, None, {7, 8}),
        ({"eos_token_id": 7}, {"eos_token_id": [9, 10]}, {9, 10}),
        ({"eos_token_id": 7}, {}, {7}),
        ({"eos_token_id": None, "text_config": {**small_config(), "eos_token_id": 6}}, None, {6}),
        ({"eos_token_id": None}, None, set()),
    ],
)
def test_end_tokens_are_those_of_the_models_files(
    model: Path, config: dict[str, Any], generation: dict[str, Any] | None, expected: set[int]
) -> None:
    """One or several; the generation's own file says it first, and a language model within a larger one for it."""
    (model / "config.json").write_text(json.dumps({**small_config(), **config}))
    if generation is not None:
        (model / "generation_config.json").write_text(json.dumps(generation))
    asked: dict[str, Any] = {"model": str(model)}
    assert planned(**asked).jobs[0].end_tokens == expected
    assert planned(**asked, ignore_end_tokens=True).jobs[0].end_tokens == set()
    assert planned(**asked, end_tokens=(3, 4)).jobs[0].end_tokens == {3, 4}
    assert planned(**asked, random_weights=True).jobs[0].end_tokens == set()


# Checkpoints of draft modules.


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A draft module for the small model in three stages; what its weights are does not matter."""
    small = read_architecture(small_config()).layers[0]
    assert isinstance(small, DenseShape)
    shape = DraftShape(Cut((4, 2, 2), (0, 4, 7)), draft_layer(small), 2, 258, tuple(range(0, 258, 3)))
    norm = RmsNorm(small.hidden_size, small.rms_eps, torch.float32, "cpu")
    save(tmp_path / "draft.pt", DraftModule(shape, norm, torch.float32, torch.device("cpu")))
    return tmp_path / "draft.pt"


def test_a_checkpoint_says_how_the_model_is_cut(checkpoint: Path) -> None:
    """Stages, their layers, anchors, its own layers and what it can draft; in place of a scenario's too."""
    every: tuple[dict[str, Any], ...] = ({}, {"settings": ("partition.stages=5",)})
    agreeing: dict[str, Any] = {"stages": 3, "layers": "4,2,2", "anchors": "3", "draft_layers": 2, "draft_vocab": 86}
    for asked in (*every, agreeing, {"any_stages": True}):
        plan = planned(draft=str(checkpoint), **asked).plan
        assert (plan.layers, plan.draft.anchors, plan.draft.num_layers) == ((4, 2, 2), (0, 4, 7), 2)
        assert (plan.draft.checkpoint, plan.draft.vocab_size, plan.has_module_drafts) == (checkpoint, 86, True)


@pytest.mark.parametrize(
    ("asked", "rule"),
    [
        ({"stages": 2}, "--stages is 2: must be 3, as {} says: leave it out, or add --any-stages"),
        ({"layers": "4,4"}, "--layers is 2: must be 3, as {} says"),
        ({"layers": "3,3,2"}, "--layers is 3,3,2: must be 4,2,2, as {} says: leave it out, or add --any-stages"),
        ({"anchors": "4"}, "--anchors is 4: must be 0,4,7, as {} says: leave it out"),
        ({"anchors": "0,4,6"}, "--anchors is 0,4,6: must be 0,4,7"),
        ({"anchors": "0,4,6", "any_stages": True}, "--anchors is 0,4,6: must be 0,4,7"),
        ({"draft_layers": 1}, "--draft-layers is 1: must be 2, as {} says: leave it out"),
        ({"draft_vocab": 85}, "--draft-vocab is 85: must be 86, as {} says"),
        ({"model": "tiny", "random_weights": True}, "config.hidden_size is 256: must be 64"),
    ],
)
def test_a_run_that_a_checkpoint_does_not_fit_is_refused(checkpoint: Path, asked: dict[str, Any], rule: str) -> None:
    """Before any weight is loaded."""
    with pytest.raises(InputError) as error:
        planned(draft=f"module:{checkpoint}", **asked)
    assert rule.format(checkpoint) in str(error.value)


RECUT: list[tuple[dict[str, Any], tuple[int, ...]]] = [
    ({"stages": 2}, (4, 4)), ({"layers": "1,1,6"}, (1, 1, 6)), ({"settings": ("partition.stages=8",)}, (1,) * 8),
]  # fmt: skip


@pytest.mark.parametrize(("asked", "layers"), RECUT, ids=str)
def test_a_checkpoint_serves_any_stages_if_that_is_asked_for(
    checkpoint: Path, asked: dict[str, Any], layers: tuple[int, ...]
) -> None:
    """Its anchors stay, and what else it says; the run says what the module was made for."""
    run = planned(draft=str(checkpoint), any_stages=True, **asked)
    assert (run.plan.layers, run.plan.draft.any_cut) == (layers, True)
    assert (run.plan.draft.anchors, run.plan.draft.num_layers, run.plan.draft.vocab_size) == ((0, 4, 7), 2, 86)
    assert [note for note in run.notes if "was made for 3 stages of 4 + 2 + 2 layers" in note]


def test_a_scenario_keeps_its_cut_if_any_will_do(checkpoint: Path, tmp_path: Path) -> None:
    """Otherwise the checkpoint's takes its place."""
    text = Path(TUTORIAL).read_text(encoding="utf-8")
    model = json.dumps({**shape_of(small_config()), "name": "small"})
    scenario = tmp_path / "scenario.yaml"
    scenario.write_text(
        text.replace(next(line for line in text.splitlines() if line.startswith("model:")), f"model: {model}")
    )
    stages = load_scenario(scenario).partition.stages
    assert stages != 3
    for any_stages, expected in ((True, stages), (False, 3)):
        run = planned(scenario=scenario, settings=("draft.layers=1",), draft=str(checkpoint), any_stages=any_stages)
        assert (len(run.plan.layers), run.plan.draft.num_layers) == (expected, 2)


def test_any_stages_is_of_checkpoints_only() -> None:
    """A module with random weights is made for the run's stages."""
    for draft in (None, "module", "forced:p=0.5", "none"):
        with pytest.raises(InputError, match="--any-stages is given without a checkpoint: needs --draft CHECKPOINT"):
            planned(draft=draft, any_stages=True)


def test_emulation_reads_no_checkpoint() -> None:
    """It has no draft module: said before the file is looked into."""
    with pytest.raises(InputError, match="must be forced"):
        planned(draft=f"module:{__file__}", emulate=str(PROFILE))


# Scenario files.


@pytest.mark.parametrize("file", WITH_PROFILES, ids=lambda file: file.stem)
def test_an_emulated_scenario_is_the_scenario(file: Path) -> None:
    """Every key, so that both have the same hash; layout, durations, verdicts and lengths are the simulator's."""
    scenario = load_scenario(file)
    run = planned(scenario=file, emulate="scenario")
    assert run.plan.scenario == scenario
    assert scenario_sha256(run.plan.scenario) == scenario_sha256(scenario)
    assert (run.plan.layout, run.plan.emulated) == (layout_of(scenario), machine_of(scenario))
    check_workload(run, scenario)


def check_workload(run: Run, scenario: Scenario) -> None:
    """Hold jobs and forced verdicts against the scenario's."""
    forced = acceptance_of(scenario)
    assert (run.plan.draft.forced, run.plan.seed) == (forced, scenario.seed)
    assert len(run.jobs) == 2 * scenario.workload.sequences
    for job in run.jobs:
        assert (len(job.prompt), job.end_tokens) == (scenario.workload.prompt_tokens, frozenset())
        assert job.max_new_tokens == output_tokens(scenario, job.sequence)
        assert run.plan.draft.forced is not None
        coins = toss(run.plan.draft.forced, run.plan.seed, job.sequence, 50)
        assert coins == toss(forced, scenario.seed, job.sequence, 50)


def test_a_scenario_on_a_cpu_is_the_scenario_but_for_what_computes() -> None:
    """The tutorial's own shape, with random weights."""
    scenario, run = load_scenario(TUTORIAL), planned(scenario=Path(TUTORIAL))
    plan = run.plan
    assert plan.layout == layout_of(scenario) and plan.layers == layers_of_stages(scenario)
    assert (plan.scenario.partition, plan.scenario.draft) == (scenario.partition, scenario.draft)
    assert (plan.scenario.acceptance, plan.scenario.workload) == (scenario.acceptance, scenario.workload)
    assert (plan.emulated, plan.launch, plan.scenario.runtime.launch) == (None, "eager", "eager")
    assert plan.scenario.model.dtype_bytes == 4
    assert plan.model.config["hidden_size"] == scenario.model.hidden_size
    assert len(run.notes) == 2
    check_workload(run, scenario)


def test_lengths_that_a_scenario_draws_are_drawn_alike(tmp_path: Path) -> None:
    """By sequence, from the same seed."""
    settings = ("workload.new_tokens={kind: uniform, low: 3, high: 30}", "workload.sequences=6", "seed=9")
    run = planned(scenario=Path(TUTORIAL), settings=settings)
    check_workload(run, load_scenario(TUTORIAL, settings))
    assert len({job.max_new_tokens for job in run.jobs}) > 2


def test_recorded_verdicts_end_a_sequence_with_a_note(tmp_path: Path) -> None:
    """As in the simulator; from a scenario or from an option."""
    record = tmp_path / "verdicts.jsonl"
    record.write_text('{"sequence": 0, "accepted": [true, false, true]}\n')
    settings = ("acceptance={kind: replay, accepted: [ARA]}",)
    for run in (
        planned(draft=f"forced:{record}"),
        planned(scenario=Path(TUTORIAL), settings=settings, emulate="scenario"),
        planned(scenario=Path(TUTORIAL), draft=f"forced:{record}", emulate="scenario"),
    ):
        assert {job.max_new_tokens for job in run.jobs} == {4}
        assert len(run.notes) == 1 and "sequence 0 has 4 tokens, not 64" in run.notes[0]


def test_settings_win_over_defaults() -> None:
    """Where there is no file; what they do not say follows from what they do."""
    settings = ("partition.stages=5", "draft.anchors=2", "workload={new_tokens: 3, prompt_tokens: 4}")
    run = planned(settings=settings)
    assert (run.plan.layers, run.plan.draft.anchors) == ((2, 2, 2, 1, 1), (0, 7))
    assert run.jobs[0].max_new_tokens == 3
    assert planned(settings=settings, stages=4).plan.layers == (2, 2, 2, 2)
    with pytest.raises(InputError, match=r'partition\.stages is "many": must be a whole number'):
        planned(settings=("partition.stages=many",))


def test_options_win_over_settings_and_settings_over_the_file() -> None:
    """In this order, whatever is asked for."""
    asked: dict[str, Any] = {"scenario": Path(TUTORIAL), "settings": ("partition.stages=8", "workload.new_tokens=5")}
    run = planned(**asked, stages=2, draft="forced:p=0.25", seed=3, prompt_ids="1,2", sequences=2)
    plan = run.plan
    assert (plan.layout.num_stages, plan.draft.forced, plan.seed) == (2, Bernoulli(0.25), 3)
    assert [(len(job.prompt), job.max_new_tokens) for job in run.jobs] == [(2, 5)] * 4
    assert plan.scenario.workload.prompt_tokens == 2
    assert planned(**asked).plan.layout.num_stages == 8


def test_a_model_beside_a_scenario_takes_its_place(model: Path) -> None:
    """With its weights; but how many tokens there are is the scenario's to say, so that none ends a text."""
    run = planned(scenario=Path(TUTORIAL), model=str(model))
    assert {job.end_tokens for job in run.jobs} == {frozenset()} != {planned(model=str(model)).jobs[0].end_tokens}
    assert (run.plan.model.directory, run.plan.scenario.model.hidden_size) == (model, 256)
    assert run.plan.layout.num_stages == 4


@pytest.mark.parametrize("has_weights", [True, False])
def test_a_scenario_uses_the_weights_that_its_models_directory_has(model: Path, has_weights: bool) -> None:
    """A path is relative to the scenario; without weights the shape serves."""
    if not has_weights:
        (model / "model.safetensors").unlink()
    file = model.parent / "mine.yaml"
    file.write_text(Path(TUTORIAL).read_text().replace("model: tiny", "model: my-model"))
    run = planned(scenario=file)
    assert run.plan.model.directory == (model if has_weights else None)
    assert run.plan.model.config == small_config()
    assert planned(scenario=file, random_weights=True).plan.model.directory is None


def test_drafts_beside_a_scenario_are_those_of_the_option() -> None:
    """Its acceptance is no longer asked."""
    plan = planned(scenario=Path(TUTORIAL), draft="module").plan
    assert plan.draft.forced is None and plan.has_module_drafts


# Emulation by a profile.


def test_a_profile_is_emulated_with_the_options_schedule() -> None:
    """Durations are those that the simulator would take for the same scenario; any model's shape will do."""
    run = planned(emulate=str(PROFILE), draft="forced:p=0.8", stages=4, model="qwen3.5-4b")
    assert run.plan.emulated == machine_of(run.plan.scenario)
    assert (run.plan.device, run.plan.backend, run.tokenizer) == ("cpu", "local", None)
    assert run.plan.scenario.model.name == "qwen3.5-4b"
    assert planned(emulate=str(PROFILE), draft="forced:p=0.8", has_baseline=False).jobs[0].method == "spd"


def test_what_drafts_nothing_is_no_tree() -> None:
    """What a tree cannot be run on matters to nobody then, and a stage runs one token."""
    asked: dict[str, Any] = {"model": "qwen3.5-4b", "random_weights": True, "prompt_ids": "1"}
    assert planned(draft="none", draft_width=4, **asked).plan.layout.width == 1
    assert planned(draft="none", draft_width=4, gpus=1, prompt_ids="1").plan.launch == "cuda_graph"
    assert planned(draft_width=4).plan.layout.width == 4


def test_plain_decoding_beside_a_tree_is_emulated_as_beside_a_chain() -> None:
    asked: dict[str, Any] = {"emulate": str(PROFILE), "draft": "forced:p=0.8", "stages": 4, "model": "qwen3.5-4b"}
    chain, tree = planned(**asked).plan, planned(**asked, draft_width=8).plan
    assert (chain.emulated_plain, tree.emulated_plain) == (None, chain.emulated)
    assert tree.emulated != chain.emulated


# Where it runs.


@pytest.mark.parametrize(
    ("gpus", "asked", "expected"),
    [
        (0, {}, ("cpu", "local", "eager", "float32", 8, (0, 0, 0))),
        (0, {"backend": "gloo"}, ("cpu", "gloo", "eager", "float32", 2, (0, 1, 2))),
        (0, {"dtype": "bfloat16", "threads": 3}, ("cpu", "local", "eager", "bfloat16", 3, (0, 0, 0))),
        (1, {}, ("cuda", "local", "cuda_graph", "float32", 8, (0, 0, 0))),
        (2, {"launch": "eager"}, ("cuda", "local", "eager", "float32", 8, (0, 1, 1))),
        (3, {}, ("cuda", "nccl", "cuda_graph", "float32", 2, (0, 1, 2))),
        (3, {"device": "cpu"}, ("cpu", "local", "eager", "float32", 8, (0, 0, 0))),
        (3, {"backend": "gloo"}, ("cpu", "gloo", "eager", "float32", 2, (0, 1, 2))),
        (3, {"model": "qwen3-4b", "random_weights": True}, ("cuda", "nccl", "cuda_graph", "bfloat16", 2, (0, 1, 2))),
    ],
)
def test_device_and_backend_follow_from_what_is_there(gpus: int, asked: dict[str, Any], expected: object) -> None:
    """Two stages and a draft rank, eight cores."""
    plan = planned(gpus, **asked).plan
    assert (plan.device, plan.backend, plan.launch, plan.dtype, plan.threads, plan.devices) == expected
    assert plan.scenario.runtime.launch == plan.launch
    assert plan.scenario.model.dtype_bytes == (4 if plan.dtype == "float32" else 2)


def test_torchrun_gives_each_worker_a_process_and_each_node_its_devices() -> None:
    """Seven stages and the draft rank on two nodes: devices are counted on their own node."""
    plan = planned(gpus=4, world=World(5, 8, 4), stages=7).plan
    assert (plan.backend, plan.devices) == ("nccl", (0, 1, 2, 3) * 2)
    assert (plan.scenario.devices.count, plan.scenario.devices.per_node) == (8, 4)
    on_cpus = planned(world=World(0, 8, 4), stages=7).plan
    assert (on_cpus.backend, on_cpus.threads) == ("gloo", 2)


def test_a_scenarios_gpus_are_used_as_it_says() -> None:
    """Where they are here."""
    asked: dict[str, Any] = {"scenario": Path(TUTORIAL), "settings": ("devices.count=3",)}
    plan = planned(gpus=4, **asked).plan
    assert (plan.backend, plan.devices) == ("local", (0, 1, 1, 2, 2)), "too few are shared, as in the simulator"
    assert plan.scenario.devices == load_scenario(TUTORIAL, asked["settings"]).devices


@pytest.mark.parametrize(
    ("gpus", "asked", "expected"),
    [(0, "cuda_graph", "eager"), (0, "compiled", "compiled"), (5, "eager", "eager"), (5, "cuda_graph", "cuda_graph")],
)
def test_a_scenario_is_launched_as_it_says_where_that_can_be(gpus: int, asked: str, expected: str) -> None:
    """A CPU has no graphs; where another way is taken, a note says so."""
    run = planned(gpus, scenario=Path(TUTORIAL), settings=(f"runtime.launch={asked}",))
    assert run.plan.launch == run.plan.scenario.runtime.launch == expected
    assert any(note.startswith("runtime.launch is") for note in run.notes) == (asked != expected)


def test_the_world_is_read_from_torchruns_variables() -> None:
    """None without torchrun; a part of them is an error."""
    assert world_of({}) is None
    assert world_of({"RANK": "3", "WORLD_SIZE": "8", "LOCAL_WORLD_SIZE": "4"}) == World(3, 8, 4)
    for wrong in (
        {"RANK": "3"},
        {"RANK": "x", "WORLD_SIZE": "8", "LOCAL_WORLD_SIZE": "4"},
        {"RANK": "8", "WORLD_SIZE": "8", "LOCAL_WORLD_SIZE": "4"},
        {"RANK": "0", "WORLD_SIZE": "9", "LOCAL_WORLD_SIZE": "4"},
    ):
        with pytest.raises(LaunchError):
            world_of(wrong)


def test_a_plan_is_a_plain_value() -> None:
    """The same request gives the same plan, so that every rank can make it for itself."""
    first, again = (planned(stages=3, draft="forced:p=0.5", prompt_tokens=4) for _ in range(2))
    assert first.plan == again.plan and first.jobs == again.jobs
    assert isinstance(first.plan, Plan)
