"""Which keys a scenario knows, found from its models: for hints at a misspelt key, and for changes of kind."""

from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any, get_args

from pydantic import BaseModel

from spdsim.scenario.model import Scenario
from spdsim.scenario.source import KeyPath, dotted


def known_at(path: KeyPath, data: Any) -> list[str]:
    """Return the keys known in the mapping at `path`, given what `data` says of kinds on the way."""
    return list(dict.fromkeys(key for model in _models_at(path, data) for key in model.model_fields))


def hint(path: KeyPath, data: Any) -> str:
    """Return what may have been meant by the unknown key at the end of `path`, or else what is known there."""
    siblings, word = known_at(path[:-1], data), str(path[-1])
    if close := get_close_matches(word, siblings, 1):
        return f"did you mean `{dotted((*path[:-1], close[0]))}`?"
    everywhere = list(_all_keys(Scenario))
    if dotted(path) in everywhere:
        # It belongs to another kind, and so does the same word elsewhere.
        return f"known here: {', '.join(siblings)}"
    same_word = [key for key in everywhere if key.rpartition(".")[2] == word]
    if close := same_word[:1] or get_close_matches(dotted(path), everywhere, 1, 0.75):
        return f"did you mean `{close[0]}`?"
    return f"known here: {', '.join(siblings)}" if siblings else "takes no keys"


def unknown_hint(key: str) -> str | None:
    """Return what may have been meant by a key that no scenario has, "partition.stagse"; None for one that some has.

    What is below a key without keys of its own (an entry of a list, of a table) may be anything.
    """
    everywhere = set(_all_keys(Scenario))
    words = key.split(".")
    for length in range(1, len(words) + 1):
        before, here = ".".join(words[: length - 1]), ".".join(words[:length])
        if here not in everywhere:
            is_leaf = before in everywhere and not any(known.startswith(f"{before}.") for known in everywhere)
            return None if is_leaf else hint(tuple(words[:length]), {})
    return None


def _models_at(path: KeyPath, data: Any) -> list[type[BaseModel]]:
    models: list[type[BaseModel]] = [Scenario]
    for part in path:
        data = data[part] if _has(data, part) else None
        if isinstance(part, str):
            found = [model.model_fields[part].annotation for model in models if part in model.model_fields]
            models = [inner for annotation in found for inner in _models_in(annotation)]
            models = _of_kind(models, data)
    return models


def _of_kind(models: list[type[BaseModel]], data: Any) -> list[type[BaseModel]]:
    kind = data.get("kind") if isinstance(data, dict) else None
    kinds = {model: get_args(model.model_fields["kind"].annotation) for model in models if "kind" in model.model_fields}
    return [model for model in kinds if kind in kinds[model]] or models


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models_in(argument)


def _all_keys(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        yield prefix + name
        for inner in _models_in(field.annotation):
            yield from _all_keys(inner, f"{prefix}{name}.")


def _has(data: Any, part: str | int) -> bool:
    if isinstance(data, dict):
        return part in data
    return isinstance(data, list) and isinstance(part, int) and 0 <= part < len(data)
