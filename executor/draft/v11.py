"""The authors' v11 checkpoint: a `torch.save` of {"state_dict", "config"}.

It is read with `weights_only`, so that it can run no code. What it does not say (the layers' norms, the rotary
embedding, and the stages' layers if they are equal) is the target's. Where `trained_with_use_deepest` is false the
module saw full pipelines only; here a completed token has all anchors in fill cycles too, so that fewer of the drafts
that it makes in them will be right.
Source: the public v11 release of speculative pipeline decoding (arXiv:2605.30852).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from executor.draft.config import DraftConfig, MadeFor, check_stage_layers, plain, read_anchors, read_token_ids
from spdsim.errors import InputError
from spdsim.files import atomic_path
from spdsim.shapes.config import Config

VERSION = 11
KEYS = {"num_layers": "num_spec_layers", "anchors": "aggr_feature_bound"}
"""What is called otherwise in `config`."""

_KEPT = {"trained_with_use_deepest": bool, "spec_init_from_base_layers": list, "spec_intermediate_size_fallback": int}
"""Facts of the training, which no module needs to draft but the authors' programs read, and of which type they are."""


def read_v11(path: Path) -> tuple[DraftConfig, Mapping[str, Tensor]]:
    """Return what a file says, and its tensors by name. Raises InputError if it is no such checkpoint."""
    contents = _contents(path)
    try:
        config = read_config(contents["config"])
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    return config, contents["state_dict"]


def write_v11(path: Path, config: DraftConfig, tensors: Mapping[str, Tensor]) -> None:
    """Write a checkpoint, whole or not at all.

    Raises InputError where it cannot be written, or the authors' programs would refuse it.
    """
    rule = f"must be at most {config.num_stages + 1} in a v{VERSION} checkpoint, one more than there are stages"
    if len(config.anchors) > config.num_stages + 1:
        raise InputError(f"{path}: anchors are {list(config.anchors)}: {rule}")
    # A copy of each: weights may be views of larger tensors, all of which would be written.
    state_dict = {name: tensor.detach().cpu().clone() for name, tensor in tensors.items()}
    with atomic_path(path) as temporary:
        torch.save({"state_dict": state_dict, "config": config_of(config)}, temporary)


def config_of(config: DraftConfig) -> dict[str, Any]:
    """Return the `config` of a checkpoint."""
    optional = {
        "model_type": config.target.model_type,
        "stage_layers": config.stage_layers and list(config.stage_layers),
        "draft_token_ids": config.draft_token_ids and list(config.draft_token_ids),
        **{key: config.facts[key] for key, kind in _KEPT.items() if type(config.facts.get(key)) is kind},
    }
    return {
        "version": VERSION,
        "hidden_size": config.hidden_size,
        "vocab_size": config.vocab_size,
        "draft_vocab_size": config.draft_vocab_size,
        "num_stages": config.num_stages,
        "num_spec_layers": config.num_layers,
        "num_aggr_types": len(config.anchors),
        "aggr_feature_bound": list(config.anchors),
        "trained_with_use_deepest": True,
        "base_model_path": config.target.name or "",
        **{key: value for key, value in optional.items() if value is not None},
    }


def read_config(values: Mapping[str, Any]) -> DraftConfig:
    """Return what the `config` of a checkpoint says.

    Raises InputError, "config.key is value: rule", where a key is missing, malformed or contradicts another.
    """
    config = Config({str(key): plain(value) for key, value in values.items()}, "draft module", "config.")
    version = config.count("version")
    if version != VERSION:
        earlier = f": version {version} was made by an earlier release, whose module differs" * (version < VERSION)
        config.refuse("version", f"must be {VERSION}{earlier}")
    vocab_size, num_stages = config.count("vocab_size"), config.count("num_stages")
    return DraftConfig(
        config.count("hidden_size"),
        vocab_size,
        num_stages,
        config.count("num_spec_layers"),
        _anchors(config),
        _draft_token_ids(config, vocab_size),
        check_stage_layers(config, _stage_layers(config), num_stages),
        target=MadeFor(config.text("base_model_path", None) or None, config.text("model_type", None)),
        facts={key: config.values[key] for key in _KEPT if key in config.values},
    )


def _anchors(config: Config) -> tuple[int, ...]:
    key = KEYS["anchors"]
    anchors = read_anchors(config, key)
    if config.count("num_aggr_types") != len(anchors):
        config.refuse("num_aggr_types", f"must be {len(anchors)}, the number of anchors in {key}")
    return anchors


def _draft_token_ids(config: Config, vocab_size: int) -> tuple[int, ...] | None:
    key, size = "draft_token_ids", config.count("draft_vocab_size", vocab_size)
    ids = read_token_ids(config, key, vocab_size)
    if size != (expected := vocab_size if ids is None else len(ids)):
        what = "vocab_size, since there is no draft_token_ids" if ids is None else f"the number of {key}"
        config.refuse("draft_vocab_size", f"must be {expected}, {what}")
    return ids


def _stage_layers(config: Config) -> list[int] | None:
    """The layers of the stages, written as a list or with semicolons."""
    key, written = "stage_layers", config.values.get("stage_layers")
    if isinstance(written, str):
        parts = [part.strip() for part in written.split(";") if part.strip()]
        if not all(part.isdecimal() for part in parts):
            config.refuse(key, "must be whole numbers, one for each stage")
        return list(map(int, parts)) or None
    return config.list_of(key, int)


def _contents(path: Path) -> dict[str, Any]:
    try:
        contents = _loaded(path)
    except PermissionError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    except Exception:
        # What a damaged file makes the reader raise is no fixed set.
        whole = "a whole file of torch.save with nothing but tensors and plain values in it"
        rule = f"must be {whole}, or a draft module's directory"
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
