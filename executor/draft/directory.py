"""The project's own checkpoint of a draft module: a directory with draft.safetensors and draft.json.

Weights carry the names of v11. The config says all that fixes the module, so that nothing of it has to be guessed.
The config is what makes a directory a checkpoint: it goes first and comes last, so that whatever happens in between,
no config stands beside the weights of another module.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from executor.draft.config import (
    DraftConfig,
    LayerSizes,
    MadeFor,
    check_stage_layers,
    plain,
    read_anchors,
    read_token_ids,
)
from executor.draft.files import CONFIG, WEIGHTS
from executor.model.rotary import LinearScaling, Llama3Scaling, Rotary
from executor.model.rotary_config import number
from spdsim.errors import InputError
from spdsim.files import atomic_path, atomic_writer, parse_json, read_text
from spdsim.shapes.config import Config

FORMAT, FORMAT_VERSION = "spdsim-draft", 1
OWN_KEYS = {"model_type": "target.model_type", "fingerprint": "target.fingerprint"}
"""What is called otherwise in draft.json."""
_SCALINGS = {"linear": LinearScaling, "llama3": Llama3Scaling}


def write_directory(directory: Path, config: DraftConfig, tensors: Mapping[str, Tensor]) -> None:
    """Write a checkpoint into a directory, which is made if need be. Raises InputError where it cannot be."""
    # A copy of each: weights may share memory, which the format does not have.
    copies = {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()}
    text = document_text(config)
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise InputError(f"{directory}: is a file: must be a directory, or a name for a new one") from None
    except OSError as error:
        raise InputError(f"{directory}: cannot be made: {error.strerror or error}") from None
    with atomic_path(directory / WEIGHTS) as temporary:
        _save(copies, directory / WEIGHTS, temporary)
        (directory / CONFIG).unlink(missing_ok=True)
    with atomic_writer(directory / CONFIG) as file:
        file.write(text)


def read_directory(config_file: Path, weights_file: Path) -> tuple[DraftConfig, Mapping[str, Tensor]]:
    """Return what a checkpoint says, and its tensors by name, mapped from their file.

    Raises InputError, one line: the file, the key, its value, the rule.
    """
    values = _mapping(config_file)
    try:
        config = read_document(values)
    except InputError as error:
        raise InputError(f"{config_file}: {error}") from None
    try:
        return config, load_file(weights_file)
    except FileNotFoundError:
        raise InputError(f"{weights_file}: there is no such file, though {config_file.name} is there") from None
    except (SafetensorError, OSError, ValueError) as error:
        raise InputError(f"{weights_file}: cannot be read as safetensors: {error}") from None


def document_text(config: DraftConfig) -> str:
    """Return the config as JSON, one key a line."""
    rotary = None if config.rotary is None else {**asdict(config.rotary), "scaling": _scaling(config.rotary)}
    document = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "hidden_size": config.hidden_size,
        "vocab_size": config.vocab_size,
        "num_stages": config.num_stages,
        "stage_layers": config.stage_layers,
        "num_layers": config.num_layers,
        "anchors": config.anchors,
        "layer": None if config.layer is None else asdict(config.layer),
        "rotary": rotary,
        "target": asdict(config.target),
        "training": config.facts,
        "draft_token_ids": config.draft_token_ids,
    }
    lines = (f"  {json.dumps(key)}: {json.dumps(plain(value))}" for key, value in document.items())
    return "{\n" + ",\n".join(lines) + "\n}\n"


def read_document(values: Mapping[str, Any]) -> DraftConfig:
    """Return what a config says. Raises InputError, "key is value: rule"."""
    config = Config(values, "draft module")
    if config.text("format") != FORMAT:
        config.refuse("format", f"must be {FORMAT}")
    if config.count("format_version") != FORMAT_VERSION:
        config.refuse("format_version", f"must be {FORMAT_VERSION}: this program knows no other")
    vocab_size, num_stages = config.count("vocab_size"), config.count("num_stages")
    target, training = config.part("target"), config.part("training")
    return DraftConfig(
        config.count("hidden_size"),
        vocab_size,
        num_stages,
        config.count("num_layers"),
        read_anchors(config, "anchors"),
        read_token_ids(config, "draft_token_ids", vocab_size),
        check_stage_layers(config, config.list_of("stage_layers", int), num_stages),
        _layer(config.part("layer")),
        _rotary(config.part("rotary")),
        MadeFor() if target is None else MadeFor(*(target.text(key.name, None) for key in fields(MadeFor))),
        {} if training is None else dict(training.values),
    )


def _layer(config: Config | None) -> LayerSizes | None:
    if config is None:
        return None
    return LayerSizes(
        config.count("intermediate_size"),
        config.count("num_heads"),
        config.count("num_kv_heads"),
        config.count("head_dim"),
        None if config.values.get("rms_eps") is None else number(config, "rms_eps"),
    )


def _rotary(config: Config | None) -> Rotary | None:
    if config is None:
        return None
    return Rotary(config.count("dim"), number(config, "theta"), _read_scaling(config.part("scaling")))


def _read_scaling(config: Config | None) -> LinearScaling | Llama3Scaling | None:
    if config is None:
        return None
    if config.choice("kind", tuple(_SCALINGS)) == "linear":
        return LinearScaling(number(config, "factor"))
    low, high = number(config, "low_freq_factor"), number(config, "high_freq_factor")
    return Llama3Scaling(number(config, "factor"), low, high, config.count("original_rows"))


def _scaling(rotary: Rotary) -> dict[str, Any] | None:
    if rotary.scaling is None:
        return None
    kind = next(kind for kind, scaling in _SCALINGS.items() if isinstance(rotary.scaling, scaling))
    return {"kind": kind, **asdict(rotary.scaling)}


def _mapping(file: Path) -> Mapping[str, Any]:
    found = parse_json(read_text(file), file)
    if not isinstance(found, dict):
        raise InputError(f"{file}: must be a mapping of keys")
    return found


def _save(tensors: dict[str, Tensor], name: Path, temporary: Path) -> None:
    mode = temporary.stat().st_mode
    try:
        save_file(tensors, temporary, metadata={"format": "pt"})
        # It makes a file of its own, which nobody else may read.
        temporary.chmod(mode)
    except SafetensorError as error:
        raise InputError(f"{name}: cannot be written: {error}") from None
