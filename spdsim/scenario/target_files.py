"""A model by the path of a config.json, or of the directory that holds one."""

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from spdsim.errors import ScenarioError
from spdsim.files import parse_json
from spdsim.scenario.catalogue import canonical_name
from spdsim.scenario.problems import from_pydantic, report
from spdsim.scenario.source import Source, read_text, show
from spdsim.scenario.target import TargetModel, expand_model
from spdsim.shapes.huggingface import shape_of

CONFIG = "config.json"
_CHANGED = " as the scenario says"


def load_model(written: str) -> TargetModel:
    """Return the model of a catalogue name, or of a path seen from the current directory.

    Raises ScenarioError if there is none, or if its file does not say what it must.
    """
    refusal = not_catalogued(written)
    if refusal is None:
        return TargetModel.model_validate(expand_model(written))
    file = config_path(written, Path(), "model")
    if file is None:
        raise ScenarioError(f"model is {show(written)}: {refusal}")
    shape = read_shape(file)
    try:
        return TargetModel.model_validate(shape)
    except ValidationError as error:
        raise report(from_pydantic(error, shape), Source(str(file), shape)) from None


def not_catalogued(written: str) -> str | None:
    """Return why the catalogue has no model of this name; None if it has."""
    try:
        canonical_name("models", written)
    except ScenarioError as error:
        return str(error)
    return None


def config_path(written: str, directory: Path, where: str) -> Path | None:
    """Return the config.json that `written` names, seen from `directory`; None if it looks like no path at all.

    `where`: "file:line: key", for an error. Raises ScenarioError if a path leads to no file.
    """
    if not written.strip():
        return None
    try:
        path = directory / Path(written).expanduser()
        file = path / CONFIG if path.is_dir() else path
        if file.is_file():
            return file
        if path.is_dir():
            raise ScenarioError(f"{where} is {show(written)}: has no {CONFIG}")
    except (OSError, RuntimeError):
        # Too long a name, a home that nobody has: no file, whatever the reason.
        pass
    if not ("/" in written or "\\" in written or written.startswith("~") or written.endswith(".json")):
        return None
    rule = "there is no such file, nor a model of this name (`spdsim models` lists them)"
    raise ScenarioError(f"{where} is {show(written)}: {rule}")


def read_shape(file: Path) -> dict[str, Any]:
    """Return the keys of a target model that a config.json gives. Raises ScenarioError, with the file's name."""
    config = parse_json(read_text(file), file, ScenarioError)
    if not isinstance(config, dict):
        raise ScenarioError(f"{file}: is {show(config)}: must be a mapping of keys")
    try:
        shape = shape_of(config)
    except ScenarioError as error:
        raise ScenarioError(f"{file}: {error}") from None
    name = _name(config, file)
    # Whoever wrote the file may have changed it: only an entry of the catalogue is known to be as it was published.
    return {"name": name, "origin": "assumed", "source": f"given in {name}/{file.name}", **shape}


def source_and_changes(model: TargetModel) -> tuple[str, tuple[str, ...]]:
    """Return where a shape comes from, and the keys that the scenario changed (`with_changes` wrote them there)."""
    source, separator, changes = model.source.rpartition("; ")
    keys = tuple(changes.removesuffix(_CHANGED).split(", ")) if changes.endswith(_CHANGED) else ()
    if not separator or not keys or not all(key in TargetModel.model_fields for key in keys):
        return model.source, ()
    return source, keys


def _name(config: dict[str, Any], file: Path) -> str:
    """What people call the model: as the file says, or as its directory is called."""
    path = config.get("_name_or_path")
    said = path.rstrip("/").rpartition("/")[2] if isinstance(path, str) else ""
    return said or (file.resolve().parent.name if file.name == CONFIG else file.stem) or "model"
