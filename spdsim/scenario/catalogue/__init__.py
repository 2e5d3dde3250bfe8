"""The built-in figures of GPUs, links and models, by name; data in the YAML files beside this one."""

from difflib import get_close_matches
from functools import cache
from importlib.resources import files
from typing import Any, Literal

from pydantic_core import PydanticCustomError

from spdsim.scenario.source import parse_yaml

Section = Literal["gpus", "links", "models"]


@cache
def entries(section: Section) -> dict[str, dict[str, Any]]:
    """Return the entries of a catalogue; a figure is a plain value or {value, origin, source}."""
    name = f"{section}.yaml"
    data = parse_yaml(files(__package__).joinpath(name).read_text("utf-8"), name).data
    common = data.pop("_common")
    return {key: {**common, **entry} for key, entry in data.items()}


def expand(section: Section, written: Any) -> Any:
    """Return the mapping behind a name, or behind a mapping with `base`, whose own keys win.

    The figures' origins are put into `provenance`. Anything else is returned as it is, for pydantic to judge.
    Raises PydanticCustomError if the name is not in the catalogue.
    """
    own = {"base": written} if isinstance(written, str) else written
    if not isinstance(own, dict) or not isinstance(own.get("base"), str):
        return written
    base = own["base"]
    known = entries(section)
    if base not in known:
        close = get_close_matches(base, known, 1)
        hint = f" (did you mean {close[0]}?)" if close else ""
        raise PydanticCustomError("unknown_name", f"must be one of {', '.join(known)}{hint}")
    values: dict[str, Any] = {"name": base}
    provenance: dict[str, Any] = {}
    for key, figure in known[base].items():
        if not isinstance(figure, dict):
            values[key] = figure
        elif key not in own:
            values[key] = figure["value"]
            provenance[key] = {"origin": figure["origin"], "source": figure["source"]}
    values |= {key: value for key, value in own.items() if key != "base"}
    return {**values, "provenance": {**provenance, **own.get("provenance", {})}} if provenance else values
