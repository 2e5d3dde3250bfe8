"""The files that a scenario names: a model, a profile, recorded verdicts. Each is read into the scenario's data."""

import json
from pathlib import Path
from typing import Any

from spdsim.errors import ScenarioError
from spdsim.scenario.source import KeyPath, Source, dotted, read_text, read_yaml, show
from spdsim.scenario.target import with_changes
from spdsim.scenario.target_files import config_path, not_catalogued, read_shape

MODEL: KeyPath = ("model",)
DRAFT_MODEL: KeyPath = ("rivals", "draft_model", "model")
PROFILE: KeyPath = ("timing", "profile")
REPLAY: KeyPath = ("acceptance", "file")


def include_files(source: Source) -> None:
    """Put what the named files say in the place of their names. Raises ScenarioError if one cannot be read."""
    for model in (MODEL, DRAFT_MODEL):
        include_model(source, model)
    timing = source.data.get("timing")
    if isinstance(timing, dict) and isinstance(timing.get("profile"), str):
        include_profile(source)
    acceptance = source.data.get("acceptance")
    if isinstance(acceptance, dict) and acceptance.get("kind") == "replay" and isinstance(acceptance.get("file"), str):
        path = _beside(source, REPLAY, acceptance.pop("file"))
        acceptance["accepted"] = read_verdicts(path)
        acceptance.setdefault("source", f"recorded in {path.name}")


def include_model(source: Source, at: KeyPath = MODEL) -> None:
    """Put the shape in the config.json that the key `at`, or `base` in it, names in the place of its name."""
    place: Any = source.data
    for key in at[:-1]:
        place = place.get(key) if isinstance(place, dict) else None
    if not isinstance(place, dict):
        return
    written = place.get(at[-1])
    own, path = (written, (*at, "base")) if isinstance(written, dict) else ({"base": written}, at)
    name = own.get("base")
    if not isinstance(name, str) or not_catalogued(name) is None:
        return
    where, _ = source.locate(path)
    directory = Path() if _is_option(source, path) else Path(source.name).parent
    if (file := config_path(name, directory, f"{where}: {dotted(path)}")) is not None:
        shape = {**read_shape(file), **{key: value for key, value in own.items() if key != "base"}}
        place[at[-1]] = with_changes(shape, own)


def include_profile(source: Source) -> None:
    """Put the profile file that `timing.profile` names in the place of its name."""
    timing = source.data["timing"]
    profile = read_profile(_beside(source, PROFILE, timing["profile"]))
    timing["profile"] = profile.data
    source.included.append((PROFILE, profile))


def read_profile(path: str | Path) -> Source:
    """Return the data of a profile file. Raises ScenarioError if it does not begin as one."""
    profile = read_yaml(path)
    for key in ("format", "version", "origin", "source"):
        if key not in profile.data:
            raise ScenarioError(f"{profile.name}: {key} is missing: a profile file begins with format: spd-profile, "
                                "version: 1, origin and source")  # fmt: skip
    return profile


def read_verdicts(path: Path) -> list[str]:
    """Return recorded verdicts, a text of A and R for each sequence. Raises ScenarioError if a line is malformed."""
    records: dict[int, str] = {}
    for number, line in enumerate(read_text(path).splitlines(), 1):
        if line.strip():
            sequence, accepted = _record(line, f"{path}:{number}")
            if sequence in records:
                raise ScenarioError(f"{path}:{number}: sequence is {sequence}: is given twice")
            records[sequence] = "".join("A" if verdict else "R" for verdict in accepted)
    if not records:
        raise ScenarioError(f"{path}: is empty: must have a line for each sequence")
    return [records[sequence] for sequence in sorted(records)]


def _record(line: str, where: str) -> tuple[int, list[bool]]:
    try:
        record: Any = json.loads(line)
    except ValueError as error:
        raise ScenarioError(f"{where}: is not JSON: {error}") from None
    if not isinstance(record, dict):
        raise ScenarioError(f'{where}: is {show(record)}: must be {{"sequence": 0, "accepted": [true, …]}}')
    for key in ("sequence", "accepted"):
        if key not in record:
            raise ScenarioError(f"{where}: {key} is missing: must be given")
    sequence, accepted = record["sequence"], record["accepted"]
    if type(sequence) is not int or sequence < 0:
        raise ScenarioError(f"{where}: sequence is {show(sequence)}: must be a whole number, at least 0")
    if not isinstance(accepted, list) or not all(isinstance(verdict, bool) for verdict in accepted):
        raise ScenarioError(f"{where}: accepted is {show(accepted)}: must be a list of true and false")
    return sequence, accepted


def _beside(source: Source, path: KeyPath, name: str) -> Path:
    """A path in a scenario is relative to the scenario; one in an option, to the current directory."""
    file = Path(name) if _is_option(source, path) else Path(source.name).parent / name
    if not file.is_file():
        where, _ = source.locate(path)
        rule = "is a directory: must be a file" if file.is_dir() else "there is no such file"
        raise ScenarioError(f"{where}: {dotted(path)} is {show(name)}: {rule}")
    return file


def _is_option(source: Source, path: KeyPath) -> bool:
    return any(path[:length] in source.settings for length in range(1, len(path) + 1))
