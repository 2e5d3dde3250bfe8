"""Checkpoints of draft modules: what is written is read again, and what does not fit the run is refused."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
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
    "other version": (_set(version=10), "config.version is 10: must be 11"),
    "no hidden size": (_drop("config", "hidden_size"), "config.hidden_size is missing"),
    "other hidden size": (_set(hidden_size=32), "config.hidden_size is 32: must be 16, the target's hidden size"),
    "text": (_set(hidden_size="16"), 'config.hidden_size is "16": must be a whole number'),
    "a tensor": (_set(num_stages=torch.ones(2)), "config.num_stages is [1.0, 1.0]: must be a whole number"),
    "other vocabulary": (_set(vocab_size=13), "config.vocab_size is 13: must be 12, the target's vocabulary"),
    "other stages": (_set(num_stages=4), "config.num_stages is 4: must be 3, the run's number of stages"),
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


def test_a_directory_is_refused(tmp_path: Path) -> None:
    """Which people name where transformers' checkpoints are directories."""
    with pytest.raises(InputError, match="is a directory: must be a checkpoint of a draft module"):
        checkpoint.read(tmp_path)
