"""The built-in figures of GPUs, links and models, by name; data in the YAML files beside this one.

A name is found in whatever case, with spaces, hyphens or underscores, and by its aliases: `RTX 4090` is `rtx-4090`.
"""

import re
from difflib import get_close_matches
from functools import cache
from importlib.resources import files
from typing import Any, Literal

from pydantic_core import PydanticCustomError

from spdsim.errors import ScenarioError
from spdsim.scenario.source import parse_yaml

Section = Literal["gpus", "links", "models", "collectives", "rows"]
Figures = dict[str, Any]
"""The keys of an entry; a figure is a plain value or {value, origin, source}."""


def entries(section: Section) -> dict[str, Figures]:
    """Return the entries of a catalogue by their canonical names, without their aliases."""
    return {
        name: {key: figure for key, figure in entry.items() if key != "aliases"}
        for name, entry in _read(section)[0].items()
    }


def aliases(section: Section) -> dict[str, tuple[str, ...]]:
    """Return the further names of every entry, by its canonical name."""
    return {name: tuple(entry.get("aliases", ())) for name, entry in _read(section)[0].items()}


def canonical_name(section: Section, written: str) -> str:
    """Return the name of the entry that `written` means.

    Raises ScenarioError, whose text is the rule ("must be one of ..."), if there is none or more than one.
    """
    names, word = _names(section), _plain(written)
    if word in names:
        return names[word]
    ambiguous = {_plain(name): choices for name, choices in _read(section)[1].items()}
    if word in ambiguous:
        raise ScenarioError(f"must be {ambiguous[word]}")
    close = get_close_matches(word, names, 1)
    hint = f" (did you mean {names[close[0]]}?)" if close else ""
    raise ScenarioError(f"must be one of {', '.join(_read(section)[0])}{hint}")


def expand(section: Section, written: Any) -> Any:
    """Return the mapping behind a name, or behind a mapping with `base`, whose own keys win.

    The figures' origins are put into `provenance`. Anything else is returned as it is, for pydantic to judge.
    Raises PydanticCustomError if the name is not in the catalogue.
    """
    own = {"base": written} if isinstance(written, str) else written
    if not isinstance(own, dict) or not isinstance(own.get("base"), str):
        return written
    try:
        name = canonical_name(section, own["base"])
    except ScenarioError as error:
        others = ", or give its figures" if section in ("gpus", "links") else ""
        raise PydanticCustomError("unknown_name", "{rule}", {"rule": f"{error}{others}"}) from None
    values: dict[str, Any] = {"name": name}
    provenance: dict[str, Any] = {}
    for key, figure in entries(section)[name].items():
        if not isinstance(figure, dict) or "value" not in figure:
            values[key] = figure
        elif key not in own:
            values[key] = figure["value"]
            provenance[key] = {"origin": figure["origin"], "source": figure["source"]}
    values |= {key: value for key, value in own.items() if key != "base"}
    given = own.get("provenance", {})
    # What is no mapping is left as it is, to be refused.
    return {**values, "provenance": {**provenance, **given}} if provenance and isinstance(given, dict) else values


@cache
def _read(section: Section) -> tuple[dict[str, Figures], dict[str, str]]:
    """The entries with what is common to all, and the ambiguous names with their choices."""
    name = f"{section}.yaml"
    data = parse_yaml(files(__package__).joinpath(name).read_text("utf-8"), name).data
    common, ambiguous = data.pop("_common", {}), data.pop("_ambiguous", {})
    return {key: {**common, **entry} for key, entry in data.items()}, ambiguous


@cache
def _names(section: Section) -> dict[str, str]:
    """The canonical name by each way to write it, those of entries before aliases."""
    found: dict[str, str] = {}
    for name in _read(section)[0]:
        found[_plain(name)] = name
    for name, others in aliases(section).items():
        for other in others:
            found.setdefault(_plain(other), name)
    return found


def _plain(name: str) -> str:
    """A name without what people write now one way, now another."""
    return re.sub(r"[\s_-]", "", name.lower()).removeprefix("nvidia")
