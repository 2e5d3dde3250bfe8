"""Checkpoints of draft modules: read, checked against the run, written; of the authors' format and of the project's.

Every refusal is one line: the file, the key, its value, the rule.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from executor.draft.config import DraftConfig, LayerSizes, MadeFor
from executor.draft.cut import Cut
from executor.draft.directory import OWN_KEYS, read_directory, write_directory
from executor.draft.files import broken_file_rule, own_files
from executor.draft.module import DraftModule
from executor.draft.shape import DraftShape
from executor.draft.target import made_for, misfit
from executor.draft.v11 import KEYS, VERSION, read_v11, write_v11
from executor.model.architecture import read_architecture
from executor.model.dense import DenseShape
from executor.model.parts import RmsNorm
from spdsim.errors import InputError

_RECUT = "(--any-stages runs it with another cut all the same)"


@dataclass(frozen=True, slots=True)
class SavedDraft:
    """A checkpoint. tensors: by name; read from the file as they are used.

    said, weights: where its config and its weights are, as errors begin. keys: what the config calls otherwise.
    """

    path: Path
    config: DraftConfig
    tensors: Mapping[str, Tensor]
    said: str
    weights: str
    keys: Mapping[str, str]

    def shape_for(self, cut: Cut, layer: DenseShape, vocab_size: int, *, any_cut: bool = False) -> DraftShape:
        """Return the shape of its module in a run with this cut, of a target with such layers and vocabulary.

        any_cut: the run's stages may be others than those that the module was made for. Anchors are hidden states of
        the target, whatever its stages; which of them a depth has follows from the run's cut.
        Raises InputError where the checkpoint was made for another target or another cut, or a weight is amiss.
        """
        config = self.config
        self._agree("hidden_size", config.hidden_size, layer.hidden_size, "the target's hidden size")
        self._agree("vocab_size", config.vocab_size, vocab_size, "the target's vocabulary")
        if config.layer is not None:
            self._check_layer(config.layer, LayerSizes.of(layer))
        if not any_cut:
            self._check_cut(cut)
        self._agree("anchors", list(config.anchors), list(cut.anchors), "the run's anchors")
        shape = DraftShape(cut, layer, config.num_layers, vocab_size, config.draft_token_ids)
        check_tensors(self.weights, self.tensors, shape)
        return shape

    def check_target(self, config: Mapping[str, Any]) -> None:
        """Raise InputError if the target with this config.json is not the one that the checkpoint was made for.

        What `shape_for` checks is not checked again.
        """
        if found := misfit(self.config, config):
            key, value, rule = found
            raise InputError(f"{self.said}{self.keys.get(key, key)} is {value}: {rule}")

    def fill(self, module: DraftModule) -> None:
        """Copy the weights into a module of the shape that `shape_for` returned."""
        with torch.inference_mode():
            module.load_state_dict(dict(self.tensors))

    def _check_cut(self, cut: Cut) -> None:
        config = self.config
        self._agree("num_stages", config.num_stages, cut.num_stages, f"the run's number of stages {_RECUT}")
        if config.stage_layers is not None:
            what = f"the layers of the run's stages {_RECUT}"
            self._agree("stage_layers", list(config.stage_layers), list(cut.layers), what)
        elif len(set(cut.layers)) > 1:
            rule = f"must be {list(cut.layers)}, the layers of the run's stages: without it they are equal {_RECUT}"
            raise InputError(f"{self.said}stage_layers is missing: {rule}")

    def _check_layer(self, said: LayerSizes, needed: LayerSizes) -> None:
        for key in LayerSizes.__slots__:
            if (value := getattr(said, key)) is not None:
                self._agree(f"layer.{key}", value, getattr(needed, key), f"the target's {key}")

    def _agree(self, key: str, value: object, needed: object, what: str) -> None:
        if value != needed:
            raise InputError(f"{self.said}{self.keys.get(key, key)} is {value}: must be {needed}, {what}")


def read(path: Path) -> SavedDraft:
    """Return a checkpoint, checked as far as it can be without a target.

    path: a file of the authors' v11 format, or a directory of the project's own (or its draft.safetensors).
    Raises InputError if it is none.
    """
    if rule := broken_file_rule(path):
        raise InputError(f"{path}: {rule}")
    if (own := own_files(path)) is None:
        return SavedDraft(path, *read_v11(path), f"{path}: config.", f"{path}: state_dict", KEYS)
    return SavedDraft(path, *read_directory(*own), f"{own[0]}: ", str(own[1]), OWN_KEYS)


def save(path: Path, module: DraftModule, base_model: str = "") -> None:
    """Write a module as a v11 checkpoint. base_model: name or path of its target.

    Raises InputError where it cannot be written.
    """
    write_v11(path, DraftConfig.of(module.shape, MadeFor(base_model)), module.state_dict())


def save_directory(
    directory: Path,
    module_state: Mapping[str, Tensor],
    shape: DraftShape,
    facts: Mapping[str, Any],
    target: Mapping[str, Any] | None = None,
) -> None:
    """Write a module as a checkpoint of the project's own format, over one that is there.

    module_state: its weights by their v11 names. facts: of its training, whatever is worth knowing; what JSON does
    not have is written as text. target: the target's config.json, from which the checkpoint keeps the rotary
    embedding, the model_type and a fingerprint, so that a run of another target is refused.
    Raises InputError where weights are not those of the shape, or nothing can be written.
    """
    check_tensors(f"{directory}: weights", module_state, shape)
    rotary = None if target is None else read_architecture(target).rotary
    origin = MadeFor() if target is None else made_for(target, target.get("_name_or_path"))
    write_directory(directory, DraftConfig.of(shape, origin, rotary, facts), module_state)


def convert(source: Path, out: Path, base_model: str | None = None) -> None:
    """Write the checkpoint at `source` in the other format: ours as a v11 file, a v11 file as a directory of ours.

    base_model: name or path of its target, in place of what the checkpoint says.
    Raises InputError where `source` is no checkpoint, its weights are amiss, or `out` cannot be written.
    """
    saved = read(source)
    config = saved.config
    if base_model is not None:
        config = replace(config, target=replace(config.target, name=base_model))
    sizes = _sizes_in(saved)
    layer = DenseShape(
        config.hidden_size, sizes.intermediate_size, sizes.num_heads, sizes.num_kv_heads, sizes.head_dim,
        qk_norm=True, attention_bias=False, rms_eps=0.0,
    )  # fmt: skip
    # Any cut with these anchors: no tensor depends on where stages begin.
    cut = Cut((max(config.anchors[-1], 1),), config.anchors)
    check_tensors(
        saved.weights,
        saved.tensors,
        DraftShape(cut, layer, config.num_layers, config.vocab_size, config.draft_token_ids),
    )
    if own_files(source) is None:
        write_directory(out, replace(config, layer=sizes), saved.tensors)
    else:
        write_v11(out, config, saved.tensors)


def check_tensors(where: str, tensors: Mapping[str, Tensor], shape: DraftShape) -> None:
    """Raise InputError unless the tensors are exactly the weights of a module of this shape."""
    expected = tensor_sizes(shape)
    for name, size in expected.items():
        tensor = tensors.get(name)
        if tensor is None:
            raise InputError(f"{where} has no {name}: must have it, of shape {size}")
        if not isinstance(tensor, Tensor) or not tensor.is_floating_point():
            kind = tensor.dtype if isinstance(tensor, Tensor) else type(tensor).__name__
            raise InputError(f"{where}: {name} is of type {kind}: must be a tensor of floating-point numbers")
        if tuple(tensor.shape) != size:
            raise InputError(f"{where}: {name} is of shape {tuple(tensor.shape)}: must be of shape {size}")
    if strange := sorted(map(str, tensors.keys() - expected.keys())):
        raise InputError(f"{where} has {strange[0]}: must have the weights of a v{VERSION} draft module only")


def tensor_sizes(shape: DraftShape) -> dict[str, tuple[int, ...]]:
    """Return the size of every weight by its name."""
    nowhere = torch.device("meta")
    norm = RmsNorm(shape.layer.hidden_size, shape.layer.rms_eps, torch.float32, nowhere)
    module = DraftModule(shape, norm, torch.float32, nowhere)
    return {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}


def _sizes_in(saved: SavedDraft) -> LayerSizes:
    """The sizes of a layer, as the config says or the first layer's weights do."""
    if saved.config.layer is not None:
        return saved.config.layer
    names = ("self_attn.q_norm", "self_attn.q_proj", "self_attn.k_proj", "mlp.gate_proj")
    rows = []
    for name in (f"spec_layers.0.{name}.weight" for name in names):
        tensor = saved.tensors.get(name)
        if not isinstance(tensor, Tensor) or not tensor.ndim or not len(tensor):
            raise InputError(f"{saved.weights}: {name} is missing or no matrix: must be a weight of a layer")
        rows.append(len(tensor))
    head_dim, of_queries, of_keys, width = rows
    return LayerSizes(width, of_queries // head_dim, of_keys // head_dim, head_dim)
