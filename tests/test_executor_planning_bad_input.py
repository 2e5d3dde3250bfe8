"""What cannot be run is told in one line, before anything is loaded: option, value, rule."""

import json
from pathlib import Path
from typing import Any

import pytest

from executor.errors import LaunchError
from executor.model.small import small_config
from executor.planning import Place, Request, plan_run
from executor.planning.place import World
from executor.text.byte_file import write_byte_tokenizer
from spdsim.errors import InputError, SpdError
from tests.commands import ROOT, TUTORIAL

PROFILE = str(ROOT / "scenarios" / "profiles" / "published-qwen3.5.yaml")
H100 = ROOT / "scenarios" / "h100x8.yaml"


def refused(gpus: int = 0, world: World | None = None, **asked: Any) -> str:
    """Return the one line with which a request is refused."""
    with pytest.raises(SpdError) as error:
        plan_run(Request(**asked), Place(8, lambda: gpus, world))
    assert isinstance(error.value, InputError | LaunchError)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        # The schedule.
        ({"stages": 0}, "--stages: partition.stages is 0: must be at least 1"),
        ({"stages": 9}, "--stages: partition.stages is 9: must be at most the model's 8 layers"),
        ({"layers": "3,3,3"}, "--layers: partition.layers is [3, 3, 3]: must add up to the model's 8 layers, not 9"),
        ({"layers": "4,4", "stages": 3}, "must have 3 entries"),
        ({"layers": "4,four"}, "--layers is '4,four': must be whole numbers with commas"),
        ({"layers": "8,0"}, "partition.layers[1] is 0: must be at least 1"),
        ({"stages": 1, "verification_lag": 1}, "--verification-lag is 1: must be 0 with one stage"),
        ({"verification_lag": -1}, "--verification-lag: partition.verification_lag is -1: must be at least 0"),
        # Drafts.
        ({"draft": "modul"}, "--draft is modul: must be module"),
        ({"draft": "forced:p=1.5"}, "--draft is forced:p=1.5: p must be a number, 0 to 1"),
        ({"draft": "forced:missing.jsonl"}, "missing.jsonl: there is no such file"),
        ({"draft": "module:missing.pt"}, "missing.pt: there is no such file"),
        ({"draft": "forced:p=0.5", "stages": 1}, "--draft is forced:p=0.5: needs two stages or more"),
        ({"anchors": "1,4"}, "--anchors: draft.anchors is [1, 4]: must start at 0"),
        ({"anchors": "12"}, "--anchors: draft.anchors is 12: must be at most 9"),
        ({"draft_layers": 0}, "--draft-layers: draft.layers is 0: must be at least 1"),
        ({"draft_vocab": 300}, "--draft-vocab: draft.draft_vocab_size is 300: must be at most the model's vocab_size"),
        ({"draft_width": 0}, "--draft-width: draft.width is 0: must be at least 1"),
        ({"draft_width": 2, "verification_lag": 1}, "--draft-width: draft.width is 2: must be 1 with partition.verif"),
        ({"draft_width": 2, "launch": "compiled"}, "draft.width is 2: must be 1 with launch compiled"),
        ({"draft_width": 2, "model": "qwen3.5-4b", "random_weights": True}, "recurrent states cannot branch yet"),
        ({"has_baseline": False, "draft": "forced:p=0.5"}, "--no-baseline is given: forced drafts"),
        ({"has_baseline": False, "draft": "none"}, "--no-baseline is given: nothing is left"),
        ({"has_baseline": False, "stages": 1}, "--no-baseline is given: nothing is left"),
        ({"is_recorded": True, "draft": "none"}, "--trace or --perfetto is given: plain decoding over several stages"),
        # What is decoded.
        ({"prompt": ""}, "--prompt is empty: must have at least one token"),
        ({"prompt": "a", "prompt_ids": "1"}, "--prompt is given beside --prompt-ids: must be one of the two"),
        ({"prompt_file": Path("missing.txt")}, "missing.txt: there is no such file"),
        ({"prompt_ids": "1,x"}, "--prompt-ids is '1,x': must be token ids with commas"),
        ({"prompt_ids": ""}, "--prompt-ids is '': must have at least one token"),
        ({"prompt_ids": "1,258"}, "--prompt-ids is 258: must be a token id from 0 to 257"),
        ({"prompt_ids": "1,-2"}, "--prompt-ids is -2: must be a token id from 0 to 257"),
        ({"prompt_tokens": 0}, "--prompt-tokens is 0: must be at least 1"),
        ({"max_new_tokens": 0}, "--max-new-tokens: workload.new_tokens is 0: must be at least 1"),
        ({"max_new_tokens": 32_760}, "--max-new-tokens is 32760: with a prompt of 16 that is 32776 tokens"),
        ({"sequences": 0}, "--sequences: workload.sequences is 0: must be at least 1"),
        ({"end_tokens": (258,)}, "--end-token is 258: must be a token id from 0 to 257"),
        ({"end_tokens": (1,), "ignore_end_tokens": True}, "--end-token is given beside --ignore-end-tokens"),
        # Sampling.
        ({"temperature": -1.0}, "--temperature is -1.0: must be 0 (greedy), or from 0.01 to 100"),
        ({"temperature": 1.0, "top_p": 1.5}, "--top-p is 1.5: must be above 0 and at most 1"),
        ({"temperature": 1.0, "top_p": 0.0}, "--top-p is 0.0: must be above 0 and at most 1"),
        ({"temperature": 1.0, "top_k": -1}, "--top-k is -1: must be at least 1"),
        ({"top_k": 5}, "--top-k is 5: needs --temperature above 0"),
        ({"seed": -1}, "--seed: seed is -1: must be at least 0"),
        # Where it runs.
        ({"device": "cuda"}, "--device is cuda: there is no CUDA device here"),
        ({"backend": "nccl"}, "--backend is nccl: needs --device cuda"),
        ({"launch": "cuda_graph"}, "--launch is cuda_graph: needs --device cuda"),
        ({"threads": 0}, "--threads is 0: must be at least 1"),
        ({"timeout_s": 0.0}, "--timeout is 0: must be greater than 0"),
        # Emulation.
        ({"emulate": "scenario"}, "--emulate is scenario: needs a scenario file"),
        ({"emulate": PROFILE}, "--draft is module: must be forced"),
        ({"emulate": PROFILE, "draft": "free:p=0.5"}, "--draft is free:p=0.5: must be forced: with --emulate"),
        ({"emulate": "missing.yaml", "draft": "forced:p=0.5"}, 'is "missing.yaml": there is no such file'),
        ({"emulate": PROFILE, "draft": "forced:p=0.5", "device": "cuda"}, "--device cuda is given beside --emulate"),
        ({"emulate": PROFILE, "draft": "forced:p=0.5", "launch": "eager"}, "--launch is given beside --emulate"),
        ({"emulate": PROFILE, "draft": "forced:p=0.5", "dtype": "float16"}, "--dtype is given beside --emulate"),
        ({"emulate": PROFILE, "draft": "forced:p=0.5", "backend": "nccl"}, "--backend is nccl: must be local, socket"),
        ({"emulate": PROFILE, "draft": "forced:p=0.5", "prompt": "a"}, "--prompt is given beside --emulate"),
        ({"emulate": PROFILE, "draft": "forced:p=0.5", "end_tokens": (1,)}, "--end-token is given beside --emulate"),
        # Scenarios.
        ({"scenario": Path("missing.yaml")}, "missing.yaml: there is no such file"),
        ({"settings": ("partition.stagse=3",)}, "partition.stagse is not a known key"),
        ({"settings": ("nothing",)}, "--set nothing: must be KEY=VALUE"),
        ({"scenario": Path(TUTORIAL), "stages": 9}, "--stages: partition.stages is 9: must be at most the model's 8"),
        ({"scenario": H100, "emulate": "scenario"}, "timing.kind is roofline: must be profile"),
        ({"scenario": Path(TUTORIAL), "settings": ("model=mixtral-8x7b",)}, "mixtral-8x7b is a mixture of experts"),
        ({"scenario": Path(TUTORIAL), "settings": ("model.attention_output_gate=true",)}, "attention of its own kind"),
        ({"scenario": Path(TUTORIAL), "settings": ("model.weight_bits=4",)}, "tiny is quantised"),
        # Models.
        ({"model": "missing/model"}, '--model is "missing/model": there is no such directory'),
        ({"model": "lama-3.1-8b"}, "did you mean llama-3.1-8b?"),
        ({"model": "llama-3.1-8b"}, "is a shape of the catalogue, without weights: add --random-weights"),
    ],
)  # fmt: skip
def test_what_cannot_be_run_is_one_line(
    asked: dict[str, Any], expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Paths are seen from the current directory."""
    monkeypatch.chdir(tmp_path)
    assert expected in refused(**asked)


@pytest.mark.parametrize(
    ("gpus", "asked", "expected"),
    [
        (2, {"backend": "nccl"}, "needs a GPU for each of 3 workers, and there are 2: use --backend local"),
        (2, {"device": "cuda", "backend": "gloo"}, "--backend is gloo: is for CPUs"),
        (2, {"scenario": Path(TUTORIAL)}, "devices.count is 5: must be at most 2, as many as are here"),
        (5, {"scenario": Path(TUTORIAL), "backend": "nccl", "settings": ("devices.count=3",)},
         "needs a device for each of 5 workers, and the scenario has 3"),
    ],
)  # fmt: skip
def test_gpus_that_are_not_there_are_told(gpus: int, asked: dict[str, Any], expected: str) -> None:
    """With how many there are."""
    assert expected in refused(gpus, **asked)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"stages": 2}, "torchrun has started 4 processes: must be as many as there are workers, 3 (the draft rank, 2"),
        ({"stages": 1}, "torchrun has started 4 processes: must be as many as there are workers, 1 (1 stage)"),
        ({"stages": 3, "lm_head": "own_device"}, "5 (the draft rank, 3 stages, the LM head)"),
        ({"stages": 3, "backend": "local"}, "--backend is local: is one process, and torchrun has started several"),
    ],
)
def test_torchrun_must_start_a_process_for_each_worker(asked: dict[str, Any], expected: str) -> None:
    """Four were started."""
    assert expected in refused(world=World(0, 4, 2), **asked)


def test_a_scenario_must_lie_on_nodes_as_torchrun_does() -> None:
    """Its devices in order, as many in a node."""
    asked: dict[str, Any] = {"scenario": Path(TUTORIAL), "settings": ("devices.per_node=3", "links.inter_node=pcie4")}
    assert "must be a device for each process of torchrun" in refused(gpus=5, world=World(0, 5, 5), **asked)


# Models' directories.


@pytest.fixture
def model(tmp_path: Path) -> Path:
    directory = tmp_path / "model"
    directory.mkdir()
    write_config(directory)
    (directory / "model.safetensors").touch()
    return directory


def write_config(directory: Path, **changes: Any) -> None:
    (directory / "config.json").write_text(json.dumps({**small_config(), **changes}))


def test_a_directory_without_a_config_is_told(model: Path) -> None:
    """It may be the wrong one."""
    (model / "config.json").unlink()
    assert refused(model=str(model)).endswith(": has no config.json")


def test_a_directory_without_weights_is_told(model: Path) -> None:
    """With what to do."""
    (model / "model.safetensors").unlink()
    assert "has no weights (*.safetensors): add some, or --random-weights" in refused(model=str(model))


def test_a_config_alone_has_no_weights(model: Path) -> None:
    """A path of a file."""
    assert "is no directory with weights" in refused(model=str(model / "config.json"))


def test_an_unknown_architecture_is_told_with_its_file(model: Path) -> None:
    """As spdsim knows it, or as the executor does."""
    write_config(model, model_type="gpt2")
    assert "config.json: model_type is " in refused(model=str(model))
    write_config(model, hidden_act="gelu")
    assert "config.json: hidden_act is " in refused(model=str(model))


def test_a_config_that_is_not_json_is_told(model: Path) -> None:
    """With its file."""
    (model / "config.json").write_text("{")
    assert "config.json: is not JSON" in refused(model=str(model))


def test_text_without_a_tokenizer_is_told(model: Path) -> None:
    """With the ways that there are instead."""
    line = refused(model=str(model), prompt="hello")
    assert "has no tokenizer.json: give token ids (--prompt-ids 1,2,3), or random ones (--prompt-tokens N)" in line


def test_text_that_the_model_has_no_token_for_is_told(model: Path) -> None:
    """A tokenizer may know more than the model."""
    write_byte_tokenizer(model / "tokenizer.json", 256, 257)
    write_config(model, vocab_size=200)
    line = refused(model=str(model), prompt="\U0010ffff")
    assert line.startswith("--prompt is 244: must be a token id from 0 to 199")


def test_more_tokens_than_the_model_has_positions_are_refused(model: Path) -> None:
    """Prompt and new tokens together."""
    write_config(model, max_position_embeddings=50)
    line = refused(model=str(model), prompt_tokens=20, max_new_tokens=31)
    assert line == (
        "--max-new-tokens is 31: with a prompt of 20 that is 51 tokens: must be at most the model's 50 positions"
    )
    plan_run(Request(model=str(model), prompt_tokens=20, max_new_tokens=30), Place(1, lambda: 0))


def test_end_tokens_that_are_none_are_told_with_their_file(model: Path) -> None:
    """Of the generation's own file."""
    (model / "generation_config.json").write_text('{"eos_token_id": "</s>"}')
    assert 'generation_config.json: eos_token_id is "</s>": must be a token id' in refused(model=str(model))
