"""The authors' v11 checkpoint of a draft module: read, checked against the run, written.

A `torch.save` of {"state_dict", "config"}, read with `weights_only`, so that it can run no code.
Every refusal is one line: the file, the key, its value, the rule.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from executor.draft.config import VERSION, DraftConfig, read_config
from executor.draft.cut import Cut
from executor.draft.module import DraftModule
from executor.draft.shape import DraftShape
from executor.model.dense import DenseShape
from executor.model.parts import RmsNorm
from spdsim.errors import InputError


@dataclass(frozen=True, slots=True)
class SavedDraft:
    """A checkpoint. tensors: by name; read from the file as they are used."""

    path: Path
    config: DraftConfig
    tensors: Mapping[str, Tensor]

    def shape_for(self, cut: Cut, layer: DenseShape, vocab_size: int) -> DraftShape:
        """Return the shape of its module in a run with this cut, of a target with such layers and vocabulary.

        Raises InputError where the checkpoint was made for another target or another cut, or a weight is amiss.
        """
        config = self.config
        self._agree("hidden_size", config.hidden_size, layer.hidden_size, "the target's hidden size")
        self._agree("vocab_size", config.vocab_size, vocab_size, "the target's vocabulary")
        self._agree("num_stages", config.num_stages, cut.num_stages, "the run's number of stages")
        if config.stage_layers is not None:
            self._agree("stage_layers", list(config.stage_layers), list(cut.layers), "the layers of the run's stages")
        self._agree("aggr_feature_bound", list(config.anchors), list(cut.anchors), "the run's anchors")
        shape = DraftShape(cut, layer, config.num_layers, vocab_size, config.draft_token_ids)
        self._check_tensors(shape)
        return shape

    def fill(self, module: DraftModule) -> None:
        """Copy the weights into a module of the shape that `shape_for` returned."""
        with torch.inference_mode():
            module.load_state_dict(dict(self.tensors))

    def _agree(self, key: str, value: object, needed: object, what: str) -> None:
        if value != needed:
            raise InputError(f"{self.path}: config.{key} is {value}: must be {needed}, {what}")

    def _check_tensors(self, shape: DraftShape) -> None:
        where, expected = f"{self.path}: state_dict", tensor_sizes(shape)
        for name, size in expected.items():
            tensor = self.tensors.get(name)
            if tensor is None:
                raise InputError(f"{where} has no {name}: must have it, of shape {size}")
            if not isinstance(tensor, Tensor) or not tensor.is_floating_point():
                kind = tensor.dtype if isinstance(tensor, Tensor) else type(tensor).__name__
                raise InputError(f"{where}: {name} is of type {kind}: must be a tensor of floating-point numbers")
            if tuple(tensor.shape) != size:
                raise InputError(f"{where}: {name} is of shape {tuple(tensor.shape)}: must be of shape {size}")
        if strange := sorted(map(str, self.tensors.keys() - expected.keys())):
            raise InputError(f"{where} has {strange[0]}: must have the weights of a v{VERSION} draft module only")


def read(path: Path) -> SavedDraft:
    """Return a checkpoint, checked as far as it can be without a target. Raises InputError if it is none."""
    contents = _contents(path)
    try:
        config = read_config(contents["config"])
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    return SavedDraft(path, config, contents["state_dict"])


def save(path: Path, module: DraftModule, base_model: str = "") -> None:
    """Write a module as a checkpoint. base_model: name or path of its target."""
    shape = module.shape
    config: dict[str, Any] = {
        "version": VERSION,
        "hidden_size": shape.layer.hidden_size,
        "vocab_size": shape.vocab_size,
        "draft_vocab_size": shape.draft_vocab_size,
        "num_stages": shape.cut.num_stages,
        "num_spec_layers": shape.num_layers,
        "num_aggr_types": len(shape.cut.anchors),
        "aggr_feature_bound": list(shape.cut.anchors),
        "trained_with_use_deepest": True,
        "base_model_path": base_model,
        "stage_layers": list(shape.cut.layers),
    }
    if shape.draft_token_ids is not None:
        config["draft_token_ids"] = list(shape.draft_token_ids)
    # A copy of each: weights are views of larger tensors, all of which would be written.
    state_dict = {name: tensor.detach().cpu().clone() for name, tensor in module.state_dict().items()}
    torch.save({"state_dict": state_dict, "config": config}, path)


def tensor_sizes(shape: DraftShape) -> dict[str, tuple[int, ...]]:
    """Return the size of every weight by its name."""
    nowhere = torch.device("meta")
    norm = RmsNorm(shape.layer.hidden_size, shape.layer.rms_eps, torch.float32, nowhere)
    module = DraftModule(shape, norm, torch.float32, nowhere)
    return {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}


def _contents(path: Path) -> dict[str, Any]:
    if not path.is_file():
        rule = "is a directory" if path.is_dir() else "there is no such file"
        raise InputError(f"{path}: {rule}: must be a checkpoint of a draft module")
    try:
        contents = _loaded(path)
    except PermissionError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    except Exception:
        # What a damaged file makes the reader raise is no fixed set.
        rule = "must be a whole file of torch.save with nothing but tensors and plain values in it"
        raise InputError(f"{path}: is not a checkpoint: {rule}") from None
    for key in ("config", "state_dict"):
        if not isinstance(contents, Mapping) or not isinstance(contents.get(key), Mapping):
            raise InputError(f'{path}: {key} is missing: must be a torch.save of {{"state_dict", "config"}}')
    return dict(contents)


def _loaded(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except RuntimeError:
        # Files of the format before torch 1.6 cannot be mapped.
        return torch.load(path, map_location="cpu", weights_only=True)
