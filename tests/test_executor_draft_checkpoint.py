"""Checkpoints of draft modules: what is written is read again, and what does not fit the run is refused."""

import json
import os
import re
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers.models.qwen3.configuration_qwen3 import Qwen3Config
from transformers.models.qwen3.modeling_qwen3 import Qwen3DecoderLayer

from executor.draft import checkpoint
from executor.draft.cut import Cut
from executor.draft.module import DraftModule
from executor.draft.shape import DraftShape, draft_layer
from executor.model.dense import DenseShape
from executor.model.parts import RmsNorm
from spdsim.errors import InputError

CUT = Cut((2, 2, 2), (0, 2, 5))
TARGET = DenseShape(16, 24, 4, 2, 8, qk_norm=False, attention_bias=True, rms_eps=1e-6, window=4, output_bias=True)
LAYER, VOCAB, IDS = draft_layer(TARGET), 12, (0, 3, 4, 9)
Contents = dict[str, dict[str, Any]]


def module(shape: DraftShape, dtype: torch.dtype = torch.float32) -> DraftModule:
    """Return a draft module of random weights."""
    cpu = torch.device("cpu")
    made = DraftModule(shape, RmsNorm(shape.layer.hidden_size, 1e-6, dtype, cpu), dtype, cpu)
    for parameter in made.parameters():
        parameter.normal_()
    return made


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A checkpoint with two layers and a draft vocabulary."""
    path = tmp_path / "draft.pt"
    checkpoint.save(path, module(DraftShape(CUT, LAYER, 2, VOCAB, IDS)), "base/model")
    return path


def contents(path: Path) -> Contents:
    loaded: Contents = torch.load(path, weights_only=True)
    return loaded


def shape_in(path: Path) -> DraftShape:
    return checkpoint.read(path).shape_for(CUT, LAYER, VOCAB)


@pytest.mark.parametrize("ids", [None, IDS])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_is_saved_is_read_again(tmp_path: Path, ids: tuple[int, ...] | None, dtype: torch.dtype) -> None:
    """Shape and weights, converted to the dtype of the module that takes them."""
    path, original = tmp_path / "draft.pt", module(DraftShape(CUT, LAYER, 3, VOCAB, ids), dtype)
    checkpoint.save(path, original)
    read = checkpoint.read(path)
    assert read.shape_for(CUT, LAYER, VOCAB) == original.shape
    other = module(original.shape)
    read.fill(other)
    for name, tensor in original.state_dict().items():
        assert torch.equal(other.state_dict()[name], tensor.float())


def test_the_file_is_the_authors(saved: Path) -> None:
    """Its keys, its sizes, and no more bytes than its weights; a layer is one of Qwen3, whatever the target's are."""
    written = contents(saved)
    assert written["config"] == {
        "version": 11, "hidden_size": 16, "vocab_size": 12, "draft_vocab_size": 4, "num_stages": 3,
        "num_spec_layers": 2, "num_aggr_types": 3, "aggr_feature_bound": [0, 2, 5], "trained_with_use_deepest": True,
        "base_model_path": "base/model", "stage_layers": [2, 2, 2], "draft_token_ids": [0, 3, 4, 9],
    }  # fmt: skip
    config = Qwen3Config(
        hidden_size=16, intermediate_size=24, num_attention_heads=4, num_key_value_heads=2, head_dim=8,
        attention_bias=False,
    )  # fmt: skip
    layer = Qwen3DecoderLayer(config, 0).state_dict()
    sizes = {f"spec_layers.{i}.{name}": tensor.shape for i in range(2) for name, tensor in layer.items()}
    sizes |= {f"aggr_projs.{i}.weight": torch.Size((16, 16 * (i + 1))) for i in range(3)}
    sizes |= {"lm_head.weight": torch.Size((4, 16))}
    assert {name: tensor.shape for name, tensor in written["state_dict"].items()} == sizes
    num_bytes = sum(4 * size.numel() for size in sizes.values())
    assert num_bytes < saved.stat().st_size < num_bytes + 1000 * len(sizes)


def test_what_the_authors_leave_out_may_be_left_out(saved: Path) -> None:
    """Layers of stages, as a list or as text, and the draft vocabulary where it is the whole; more keys do no harm."""
    written = contents(saved)
    config, tensors = written["config"], written["state_dict"]
    del config["draft_token_ids"], config["stage_layers"]
    config |= {"draft_vocab_size": VOCAB, "spec_init_from_base_layers": [1, 4], "model_type": "llama"}
    tensors["lm_head.weight"] = torch.zeros(VOCAB, 16)
    torch.save(written, saved)
    assert shape_in(saved) == DraftShape(CUT, LAYER, 2, VOCAB)
    config |= {"stage_layers": "2;2;2"}
    torch.save(written, saved, _use_new_zipfile_serialization=False)
    assert checkpoint.read(saved).config.stage_layers == (2, 2, 2)
    assert shape_in(saved).draft_token_ids is None


def _set(**changes: object) -> Callable[[Contents], None]:
    return lambda written: written["config"].update(changes)


def _drop(part: str, key: str) -> Callable[[Contents], None]:
    return lambda written: written[part].pop(key)


def _put(name: str, tensor: object) -> Callable[[Contents], None]:
    return lambda written: written["state_dict"].update({name: tensor})


REFUSED: dict[str, tuple[Callable[[Contents], Any], str]] = {
    "no version": (_drop("config", "version"), "config.version is missing"),
    "other version": (
        _set(version=10),
        "config.version is 10: must be 11: version 10 was made by an earlier release, whose module differs",
    ),
    "later version": (_set(version=12), "config.version is 12: must be 11"),
    "no hidden size": (_drop("config", "hidden_size"), "config.hidden_size is missing"),
    "other hidden size": (_set(hidden_size=32), "config.hidden_size is 32: must be 16, the target's hidden size"),
    "text": (_set(hidden_size="16"), 'config.hidden_size is "16": must be a whole number'),
    "a tensor": (_set(num_stages=torch.ones(2)), "config.num_stages is [1.0, 1.0]: must be a whole number"),
    "other vocabulary": (_set(vocab_size=13), "config.vocab_size is 13: must be 12, the target's vocabulary"),
    "other stages": (
        _set(num_stages=4, stage_layers=[1, 1, 2, 2]),
        "config.num_stages is 4: must be 3, the run's number of stages (--any-stages runs it with another cut",
    ),
    "a stage too few": (_set(stage_layers=[3, 3]), "config.stage_layers is [3, 3]: must be 3 whole numbers, at least"),
    "an empty stage": (_set(stage_layers="3;3;0"), "config.stage_layers is \"3;3;0\": must be 3 whole numbers, at"),
    "other cut": (_set(stage_layers=[1, 2, 3]), "config.stage_layers is [1, 2, 3]: must be [2, 2, 2], the layers of"),
    "strange cut": (_set(stage_layers="2;x"), 'config.stage_layers is "2;x": must be whole numbers'),
    "no layers": (_set(num_spec_layers=0), "config.num_spec_layers is 0: must be at least 1"),
    "no anchors": (_drop("config", "aggr_feature_bound"), "config.aggr_feature_bound is missing"),
    "other anchors": (_set(aggr_feature_bound=[0, 2, 4]), "config.aggr_feature_bound is [0, 2, 4]: must be [0, 2, 5]"),
    "falling anchors": (_set(aggr_feature_bound=[0, 5, 2]), "config.aggr_feature_bound is [0, 5, 2]: must rise"),
    "no embedding": (_set(aggr_feature_bound=[1, 2, 5]), "must begin with 0, the embedding"),
    "other types": (_set(num_aggr_types=4), "config.num_aggr_types is 4: must be 3, the number of anchors"),
    "unsorted ids": (_set(draft_token_ids=[0, 4, 3, 9]), "config.draft_token_ids is [0, 4, 3, 9]: must rise"),
    "an id twice": (_set(draft_token_ids=[0, 3, 3, 9]), "config.draft_token_ids is [0, 3, 3, 9]: must rise"),
    "ids out of range": (_set(draft_token_ids=[0, 3, 4, 12]), "is [0, 3, 4, 12]: must be token ids, 0 to 11"),
    "too few ids": (_set(draft_token_ids=[0, 3, 4]), "config.draft_vocab_size is 4: must be 3, the number of"),
    "no ids": (_drop("config", "draft_token_ids"), "config.draft_vocab_size is 4: must be 12, vocab_size, since"),
    "a weight missing": (
        _drop("state_dict", "spec_layers.1.mlp.up_proj.weight"),
        "state_dict has no spec_layers.1.mlp.up_proj.weight: must have it, of shape (24, 16)",
    ),
    "a weight of another size": (
        _put("aggr_projs.1.weight", torch.zeros(16, 16)),
        "state_dict: aggr_projs.1.weight is of shape (16, 16): must be of shape (16, 32)",
    ),
    "a weight that is none": (_put("lm_head.weight", "x"), "lm_head.weight is of type str: must be a tensor of"),
    "a weight of integers": (
        _put("lm_head.weight", torch.zeros(4, 16, dtype=torch.int8)),
        "state_dict: lm_head.weight is of type torch.int8: must be a tensor of floating-point numbers",
    ),
    "a weight too many": (
        _put("spec_layers.2.input_layernorm.weight", torch.zeros(16)),
        "state_dict has spec_layers.2.input_layernorm.weight: must have the weights of a v11 draft module only",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_fit_is_refused(saved: Path, name: str) -> None:
    """As one line: the file, the key, its value, the rule."""
    written = contents(saved)
    change, message = REFUSED[name]
    change(written)
    torch.save(written, saved)
    with pytest.raises(InputError, match=re.escape(message)) as refusal:
        shape_in(saved)
    assert str(refusal.value).startswith(f"{saved}: ") and "\n" not in str(refusal.value)


class _Code:
    """A value that only code could make again."""


def _write_text(path: Path) -> None:
    path.write_text("no checkpoint")


def _write_half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


FILES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "nothing": (Path.unlink, "there is no such file"),
    "text": (_write_text, "is not a checkpoint: must be a whole file of torch.save"),
    "no bytes": (lambda path: path.write_bytes(b""), "is not a checkpoint"),
    "half of one": (_write_half, "is not a checkpoint"),
    "code": (lambda path: torch.save({"config": _Code(), "state_dict": {}}, path), "nothing but tensors and plain"),
    "a list": (lambda path: torch.save([1], path), "config is missing"),
    "no weights": (lambda path: torch.save({"config": {}}, path), "state_dict is missing"),
    "weights alone": (lambda path: torch.save({"lm_head.weight": torch.zeros(1)}, path), "config is missing"),
}


@pytest.mark.parametrize("name", FILES)
def test_what_is_no_checkpoint_is_refused(saved: Path, name: str) -> None:
    """As one line, and without running any code that is in the file."""
    write, message = FILES[name]
    write(saved)
    with pytest.raises(InputError, match=message) as refusal:
        checkpoint.read(saved)
    assert str(refusal.value).startswith(f"{saved}: ") and "\n" not in str(refusal.value)


def test_a_directory_of_something_else_is_refused(tmp_path: Path) -> None:
    """Which people name where transformers' checkpoints are directories."""
    with pytest.raises(
        InputError, match=r"has no draft\.json: must be a draft module's directory, with draft\.json and"
    ):
        checkpoint.read(tmp_path)


def test_stages_that_are_not_said_are_equal(saved: Path) -> None:
    """As in the authors' programs, which then cut evenly."""
    written = contents(saved)
    del written["config"]["stage_layers"]
    torch.save(written, saved)
    assert shape_in(saved).cut == CUT
    uneven = Cut((1, 3, 2), CUT.anchors)
    with pytest.raises(
        InputError, match=r"config\.stage_layers is missing: must be \[1, 3, 2\], the layers of the run's"
    ):
        checkpoint.read(saved).shape_for(uneven, LAYER, VOCAB)
    assert checkpoint.read(saved).shape_for(uneven, LAYER, VOCAB, any_cut=True).cut == uneven


# The project's own format.


def state(shape: DraftShape, dtype: torch.dtype = torch.float32) -> dict[str, torch.Tensor]:
    """Return weights as a module has them: views of shared memory among them."""
    return dict(module(shape, dtype).state_dict())


CONFIG: dict[str, Any] = {
    "model_type": "llama", "hidden_size": 16, "intermediate_size": 24, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 8, "num_hidden_layers": 6, "vocab_size": VOCAB, "rms_norm_eps": 1e-6,
    "rope_theta": 500.0, "dtype": "float32",
}  # fmt: skip
SHAPE = DraftShape(CUT, LAYER, 2, VOCAB, IDS)
FACTS: dict[Any, Any] = {
    "steps": 30,
    "loss": 1.5,
    "data": Path("texts"),
    "dtype": torch.bfloat16,
    "worst": float("nan"),
    1: {"a": (2,)},
}


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A checkpoint of the project's own format."""
    checkpoint.save_directory(tmp_path / "runs" / "draft", state(SHAPE), SHAPE, FACTS, CONFIG)
    return tmp_path / "runs" / "draft"


@pytest.mark.parametrize("ids", [None, IDS])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_directory_is_read_as_it_was_written(tmp_path: Path, ids: tuple[int, ...] | None, dtype: torch.dtype) -> None:
    """The shape, and every weight in the dtype in which it was given; over another checkpoint, too."""
    for num_layers in (3, 1):
        shape = DraftShape(CUT, LAYER, num_layers, VOCAB, ids)
        weights = state(shape, dtype)
        checkpoint.save_directory(tmp_path, weights, shape, {})
        read = checkpoint.read(tmp_path)
        assert read.shape_for(CUT, LAYER, VOCAB) == shape
        assert {name: tensor.dtype for name, tensor in read.tensors.items()} == dict.fromkeys(weights, dtype)
        assert all(torch.equal(read.tensors[name], tensor) for name, tensor in weights.items())
    assert sorted(file.name for file in tmp_path.iterdir()) == ["draft.json", "draft.safetensors"]
    # Whoever may read the one may read the other.
    assert len({file.stat().st_mode for file in tmp_path.iterdir()}) == 1


def test_a_directory_says_all_that_fixes_the_module(directory: Path) -> None:
    """In a file for people and programs, one key a line; facts that JSON does not have are text."""
    document = json.loads((directory / "draft.json").read_text())
    prints = document["target"].pop("fingerprint")
    assert document == {
        "format": "spdsim-draft", "format_version": 1, "hidden_size": 16, "vocab_size": 12, "num_stages": 3,
        "stage_layers": [2, 2, 2], "num_layers": 2, "anchors": [0, 2, 5],
        "layer": {"intermediate_size": 24, "num_heads": 4, "num_kv_heads": 2, "head_dim": 8, "rms_eps": 1e-6},
        "rotary": {"dim": 8, "theta": 500.0, "scaling": None}, "target": {"name": None, "model_type": "llama"},
        "training": {
            "steps": 30, "loss": 1.5, "data": "texts", "dtype": "torch.bfloat16", "worst": "nan", "1": {"a": [2]},
        },
        "draft_token_ids": [0, 3, 4, 9],
    }  # fmt: skip
    assert len((directory / "draft.json").read_text().splitlines()) == 2 + len(document)
    assert re.fullmatch("[0-9a-f]{64}", prints)
    assert checkpoint.read(directory).config.facts["steps"] == 30


def _json(**changes: object) -> Callable[[Path], None]:
    def change(directory: Path) -> None:
        file = directory / "draft.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))

    return change


def _weights(**changes: torch.Tensor) -> Callable[[Path], None]:
    def change(directory: Path) -> None:
        file = directory / "draft.safetensors"
        save_file({**load_file(file), **changes}, file)

    return change


def _text(name: str, text: bytes) -> Callable[[Path], Any]:
    return lambda directory: (directory / name).write_bytes(text)


def _half(directory: Path) -> None:
    _write_half(directory / "draft.safetensors")


SIZES = {"intermediate_size": 24, "num_heads": 4, "num_kv_heads": 2, "head_dim": 8, "rms_eps": 1e-6}
ROTARY = {"dim": 8, "theta": 500.0, "scaling": None}
AMISS: dict[str, tuple[Callable[[Path], Any], str, str]] = {
    "no JSON": (_text("draft.json", b"{"), "draft.json", "is not JSON: "),
    "a list": (_text("draft.json", b"[]"), "draft.json", "must be a mapping of keys"),
    "no text": (_text("draft.json", b"\xff"), "draft.json", "is not text in UTF-8"),
    "another format": (_json(format="spdsim"), "draft.json", 'format is "spdsim": must be spdsim-draft'),
    "no format": (_json(format=None), "draft.json", "format is missing"),
    "a later version": (_json(format_version=2), "draft.json", "format_version is 2: must be 1: this program knows no"),
    "hidden size": (_json(hidden_size=32), "draft.json", "hidden_size is 32: must be 16, the target's hidden size"),
    "vocabulary": (_json(vocab_size=13), "draft.json", "vocab_size is 13: must be 12, the target's vocabulary"),
    "stages": (
        _json(num_stages=2, stage_layers=[3, 3]), "draft.json", "num_stages is 2: must be 3, the run's number of st",
    ),
    "layers of stages": (_json(stage_layers=[1, 2, 3]), "draft.json", "stage_layers is [1, 2, 3]: must be [2, 2, 2]"),
    "stages that differ": (_json(num_stages=2), "draft.json", "stage_layers is [2, 2, 2]: must be 2 whole numbers"),
    "anchors": (_json(anchors=[0, 2, 4]), "draft.json", "anchors is [0, 2, 4]: must be [0, 2, 5], the run's anchors"),
    "no embedding": (_json(anchors=[2, 5]), "draft.json", "anchors is [2, 5]: must begin with 0, the embedding"),
    "ids": (_json(draft_token_ids=[0, 12]), "draft.json", "draft_token_ids is [0, 12]: must be token ids, 0 to 11"),
    "ids that fall": (_json(draft_token_ids=[3, 0]), "draft.json", "draft_token_ids is [3, 0]: must rise"),
    "a head's size": (_json(layer={**SIZES, "head_dim": 4}), "draft.json", "layer.head_dim is 4: must be 8, the targ"),
    "the norms": (_json(layer={**SIZES, "rms_eps": 1e-5}), "draft.json", "layer.rms_eps is 1e-05: must be 1e-06, the"),
    "no number": (_json(layer={**SIZES, "num_heads": "4"}), "draft.json", 'layer.num_heads is "4": must be a whole'),
    "no layer": (_json(layer=[]), "draft.json", "layer is []: must be a mapping"),
    "another target": (
        _json(target={"model_type": "qwen3"}), "draft.json", "target.model_type is qwen3: must be llama, the target's",
    ),
    "other tensors": (
        _json(target={"fingerprint": "0" * 64}), "draft.json", "target.fingerprint is 000000000000…: must be ",
    ),
    "turned faster": (
        _json(rotary={**ROTARY, "theta": 100.0}), "draft.json",
        "rotary is 8 entries with theta 100: must be 8 entries with theta 500, the target's",
    ),
    "stretched": (
        _json(rotary={**ROTARY, "scaling": {"kind": "linear", "factor": 2}}), "draft.json",
        "rotary is 8 entries with theta 500, scaled by 2: must be 8 entries with theta 500, the",
    ),
    "strangely stretched": (
        _json(rotary={**ROTARY, "scaling": {"kind": "yarn"}}), "draft.json",
        'rotary.scaling.kind is "yarn": must be one of linear, llama3',
    ),
    "no weights": (lambda path: (path / "draft.safetensors").unlink(), "", "has no draft.safetensors: must be a draft"),
    "half the weights": (_half, "draft.safetensors", "cannot be read as safetensors: "),
    "weights that are none": (_text("draft.safetensors", b""), "draft.safetensors", "cannot be read as safetensors: "),
    "a weight too many": (_weights(more=torch.zeros(1)), "draft.safetensors", "has more: must have the weights of a"),
    "a weight's size": (
        _weights(**{"lm_head.weight": torch.zeros(5, 16)}), "draft.safetensors",
        "lm_head.weight is of shape (5, 16): must be of shape (4, 16)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", AMISS)
def test_a_directory_that_does_not_fit_is_refused(directory: Path, name: str) -> None:
    """As one line: the file, the key, its value, the rule."""
    change, file, message = AMISS[name]
    change(directory)
    with pytest.raises(InputError, match=re.escape(message)) as refusal:
        used(directory)
    assert str(refusal.value).startswith(str(directory / file)) and "\n" not in str(refusal.value)


def used(path: Path, config: dict[str, Any] = CONFIG) -> DraftShape:
    """Do what a run does with a checkpoint before it has a module."""
    saved = checkpoint.read(path)
    shape = saved.shape_for(CUT, LAYER, VOCAB)
    saved.check_target(config)
    return shape


def test_a_target_is_known_by_its_tensors(directory: Path) -> None:
    """However its file words it, and further trained; not if it has other layers, which the draft module cannot see."""
    reworded = {**CONFIG, "rope_parameters": {"rope_type": "default", "rope_theta": 500.0}, "eos_token_id": 3}
    del reworded["rope_theta"]
    assert used(directory, reworded) == SHAPE
    for change in ({"tie_word_embeddings": True}, {"attention_bias": True}, {"num_hidden_layers": 7}):
        with pytest.raises(InputError, match="the module was made for another model"):
            used(directory, {**CONFIG, **change})


def test_what_a_directory_does_not_say_is_the_targets(directory: Path) -> None:
    """Without a target there is no fingerprint; a v11 file says neither norms nor rotary embedding."""
    checkpoint.save_directory(directory, state(SHAPE), SHAPE, {})
    assert used(directory, {**CONFIG, "rope_theta": 7.0, "num_hidden_layers": 9}) == SHAPE
    _json(layer=None, rotary=None, target=None, training=None, stage_layers=None)(directory)
    assert used(directory) == SHAPE


def test_llama_3s_rotary_embedding_is_kept(tmp_path: Path) -> None:
    """With all that scales it."""
    rope = {
        "rope_type": "llama3", "rope_theta": 5000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 64,
    }  # fmt: skip
    for scaled in (rope, {"rope_type": "linear", "rope_theta": 500.0, "factor": 3.0}):
        config = {**CONFIG, "rope_parameters": scaled}
        checkpoint.save_directory(tmp_path, state(SHAPE), SHAPE, {}, config)
        assert used(tmp_path, config) == SHAPE
        with pytest.raises(InputError, match="scaled by"):
            used(tmp_path)


def test_weights_of_another_shape_are_not_saved(tmp_path: Path) -> None:
    """Nothing is written, rather than what could not be read."""
    other = DraftShape(CUT, LAYER, 3, VOCAB, IDS)
    with pytest.raises(InputError, match=r"has no spec_layers\.2\."):
        checkpoint.save_directory(tmp_path / "draft", state(SHAPE), other, {})
    assert list(tmp_path.iterdir()) == []


def test_where_nothing_can_be_written_is_said_in_one_line(tmp_path: Path) -> None:
    """A file in the way, or a directory in place of a file."""
    (tmp_path / "file").touch()
    (tmp_path / "draft" / "draft.safetensors").mkdir(parents=True)
    for name, rule in (("file", "is a file: must be"), ("file/x", "cannot be made"), ("draft", "is a directory: must")):
        with pytest.raises(InputError, match=rule) as refusal:
            checkpoint.save_directory(tmp_path / name, state(SHAPE), SHAPE, {})
        assert "\n" not in str(refusal.value)
    with pytest.raises(InputError, match="does not exist: must exist"):
        checkpoint.save(tmp_path / "nowhere" / "draft.pt", module(SHAPE))


@pytest.mark.parametrize("call", range(5))
def test_whenever_saving_ends_there_is_one_checkpoint_or_none(
    directory: Path, monkeypatch: pytest.MonkeyPatch, call: int
) -> None:
    """The old one or the new one, never one's config beside the other's weights; and no file that is neither."""
    old = checkpoint.read(directory)
    old_head, calls = old.tensors["lm_head.weight"].clone(), count()

    def ending(function: Any) -> Any:
        def called(*arguments: Any, **options: Any) -> Any:
            if next(calls) == call:
                raise KeyboardInterrupt
            return function(*arguments, **options)

        return called

    monkeypatch.setattr("executor.draft.directory.save_file", ending(save_file))
    monkeypatch.setattr("spdsim.files.os.replace", ending(os.replace))
    monkeypatch.setattr(Path, "touch", ending(Path.touch))
    weights, shape = state(SHAPE), DraftShape(CUT, LAYER, 2, VOCAB, (0, 3, 4, 8))
    with pytest.raises(KeyboardInterrupt):
        checkpoint.save_directory(directory, weights, shape, {})
    monkeypatch.undo()
    files = {file.name for file in directory.iterdir()}
    if "draft.json" in files:
        read = checkpoint.read(directory)
        assert read.config.draft_token_ids == IDS and torch.equal(read.tensors["lm_head.weight"], old_head)
    assert files <= {"draft.json", "draft.safetensors"}
    assert ("draft.json" in files) == (call < 2)


# From one format to the other.


def test_a_directory_becomes_the_authors_file(directory: Path, tmp_path: Path) -> None:
    """Their keys, the stages' layers among them, and the very weights."""
    out = tmp_path / "draft.pt"
    checkpoint.convert(directory, out, "org/base")
    written = contents(out)
    assert written["config"] == {
        "version": 11, "hidden_size": 16, "vocab_size": 12, "model_type": "llama", "base_model_path": "org/base",
        "draft_vocab_size": 4, "num_stages": 3, "num_spec_layers": 2, "num_aggr_types": 3,
        "aggr_feature_bound": [0, 2, 5], "trained_with_use_deepest": True, "draft_token_ids": [0, 3, 4, 9],
        "stage_layers": [2, 2, 2],
    }  # fmt: skip
    weights = checkpoint.read(directory).tensors
    assert written["state_dict"].keys() == weights.keys()
    assert all(torch.equal(written["state_dict"][name], tensor) for name, tensor in weights.items())


def test_the_authors_file_survives_the_way_there_and_back(saved: Path, tmp_path: Path) -> None:
    """What its config says, what only their programs read of it included; what it does not say stays unsaid."""
    written = contents(saved)
    written["config"] |= {
        "model_type": "qwen3_5", "trained_with_use_deepest": False, "spec_init_from_base_layers": [1, 4],
        "spec_intermediate_size_fallback": 9216,
    }  # fmt: skip
    del written["config"]["stage_layers"]
    torch.save(written, saved)
    checkpoint.convert(saved, tmp_path / "draft")
    read = checkpoint.read(tmp_path / "draft")
    assert (read.config.stage_layers, read.config.rotary) == (None, None)
    assert read.shape_for(CUT, LAYER, VOCAB) == shape_in(saved)
    checkpoint.convert(tmp_path / "draft", tmp_path / "again.pt")
    again = contents(tmp_path / "again.pt")
    assert again["config"] == written["config"]
    assert all(torch.equal(again["state_dict"][name], tensor) for name, tensor in written["state_dict"].items())


def test_what_is_amiss_is_not_converted(saved: Path, directory: Path, tmp_path: Path) -> None:
    """Weights that are missing, and what the authors' programs would refuse."""
    written = contents(saved)
    del written["state_dict"]["lm_head.weight"]
    torch.save(written, saved)
    with pytest.raises(InputError, match=r"state_dict has no lm_head\.weight"):
        checkpoint.convert(saved, tmp_path / "out")
    del written["state_dict"]["spec_layers.0.self_attn.q_norm.weight"]
    torch.save(written, saved)
    with pytest.raises(InputError, match=r"q_norm\.weight is missing or no matrix"):
        checkpoint.convert(saved, tmp_path / "out")
    shape = DraftShape(Cut((6,), (0, 2, 5)), LAYER, 1, VOCAB)
    checkpoint.save_directory(directory, state(shape), shape, {})
    with pytest.raises(InputError, match="anchors are \\[0, 2, 5\\]: must be at most 2 in a v11 checkpoint, one more"):
        checkpoint.convert(directory, tmp_path / "out.pt")
    assert not (tmp_path / "out").exists() and not (tmp_path / "out.pt").exists()
