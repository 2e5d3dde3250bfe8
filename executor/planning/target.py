"""The target of a run: which model, where its weights are, and what its files say of ends and lengths.

Knows nothing of stages or devices. Reads no weights.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spdsim.errors import InputError
from spdsim.files import parse_json, read_text
from spdsim.scenario.source import show
from spdsim.scenario.target_files import CONFIG, config_path, not_catalogued, read_shape
from spdsim.shapes.huggingface import shape_of

GENERATION_CONFIG = "generation_config.json"
_WEIGHTS = "*.safetensors"


@dataclass(frozen=True, slots=True)
class Target:
    """A model as it was asked for.

    written: what a scenario says of it. config: its config.json; None: as the scenario's shape implies.
    home: the directory of its files; None: it has none. weights: the directory of its weights; None: random ones.
    """

    written: Any
    config: Mapping[str, Any] | None = None
    home: Path | None = None
    weights: Path | None = None
    is_built_in: bool = False


def built_in() -> Target:
    """Return the small model that needs no files."""
    from executor.model.small import small_config

    config = small_config()
    name = {"name": "small", "origin": "assumed", "source": "the executor's own small model"}
    return Target({**name, **shape_of(config)}, config, is_built_in=True)


def named_by_option(written: str, *, random_weights: bool, is_emulated: bool) -> Target:
    """Return the model that `--model` names: a directory, a config.json, or a name of the catalogue.

    Raises InputError if there is none, or if it has no weights and none were waived.
    """
    needs_weights = not (random_weights or is_emulated)
    path = _path(written)
    if not path.exists() and (refusal := not_catalogued(written)) is None:
        if needs_weights:
            rule = "is a shape of the catalogue, without weights: add --random-weights, or give a model's directory"
            raise InputError(f"--model is {show(written)}: {rule}")
        return Target(written)
    if not path.exists():
        rule = "there is no such directory" if _is_path(written) else f"no directory, and as a name it {refusal}"
        raise InputError(f"--model is {show(written)}: {rule}")
    file = path / CONFIG if path.is_dir() else path
    if not file.is_file():
        raise InputError(f"--model is {show(written)}: has no {CONFIG}")
    if not needs_weights:
        return _of_file(file, None)
    if not path.is_dir():
        rule = "is no directory with weights: give the directory, or add --random-weights"
        raise InputError(f"--model is {show(written)}: {rule}")
    if not has_weights(path):
        raise InputError(f"--model is {show(written)}: has no weights ({_WEIGHTS}): add some, or --random-weights")
    return _of_file(file, path)


def named_by_scenario(written: Any, directory: Path) -> Target:
    """Return the model that a scenario in `directory` has: with its weights where a path leads to some."""
    if not isinstance(written, str) or not_catalogued(written) is None:
        return Target(written)
    file = config_path(written, directory, "model")
    if file is None:
        # No path at all: the scenario's own rules say what is wrong with it.
        return Target(written)
    found = _of_file(file, file.parent if has_weights(file.parent) else None)
    return Target(written, found.config, found.home, found.weights)


def has_weights(directory: Path) -> bool:
    """Whether a model's directory holds weights that can be read."""
    return any(directory.glob(_WEIGHTS))


def end_tokens(target: Target) -> frozenset[int]:
    """Return the tokens that end a text of this model; none with random weights, which mean nothing by them."""
    if target.weights is None or target.config is None:
        return frozenset()
    file = target.weights / GENERATION_CONFIG
    written = read_json(file).get("eos_token_id") if file.is_file() else None
    if written is None:
        written = language_config(target.config).get("eos_token_id")
    ends = written if isinstance(written, list) else [] if written is None else [written]
    if not all(type(end) is int and end >= 0 for end in ends):
        where = file if file.is_file() else target.weights / CONFIG
        raise InputError(f"{where}: eos_token_id is {show(written)}: must be a token id, or a list of them")
    return frozenset(ends)


def max_positions(config: Mapping[str, Any] | None) -> int | None:
    """Return the longest context that a model was made for; None if its file does not say."""
    found = language_config(config or {}).get("max_position_embeddings")
    return found if type(found) is int and found > 0 else None


def language_config(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the keys of the language model: a multimodal one keeps some of them apart."""
    inner = config.get("text_config")
    return {**config, **inner} if isinstance(inner, dict) else config


def read_json(file: Path) -> dict[str, Any]:
    """Return the mapping in a JSON file. Raises InputError if it is none."""
    data = parse_json(read_text(file), file)
    if not isinstance(data, dict):
        raise InputError(f"{file}: is {show(data)}: must be a mapping of keys")
    return data


def _of_file(file: Path, weights: Path | None) -> Target:
    return Target(read_shape(file), read_json(file), file.parent, weights)


def _path(written: str) -> Path:
    """The path that is written; one that no system has (too long, a home of nobody) is one where nothing is."""
    try:
        path = Path(written).expanduser()
        path.exists()
    except (OSError, RuntimeError):
        return Path("no such path") / "at all"
    return path


def _is_path(written: str) -> bool:
    return "/" in written or "\\" in written or written.startswith(("~", "."))
