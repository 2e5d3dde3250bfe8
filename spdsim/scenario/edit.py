"""A scenario's file with some keys changed and its comments kept, for people to read and to load again.

The text is changed only where a key is; what comes of it is loaded and compared before it is believed, and where it
does not say the same, everything is written out instead.
"""

import json
import re
from collections.abc import Sequence
from typing import Any

import yaml

from spdsim.errors import ScenarioError
from spdsim.scenario.document import scenario_document
from spdsim.scenario.load import scenario_from
from spdsim.scenario.model import Scenario
from spdsim.scenario.source import Loader, parse_yaml

Setting = tuple[str, Any]
"""A dotted key and its value."""

_BARE = re.compile(r"[a-z][a-z0-9_]*(?:[.-][a-z0-9_]+)*")
_WORDS = {"null", "true", "false"}
_UNTOLD = ("name", "description")
"""What may differ between a file and the scenario that it is of."""


def flow(value: Any) -> str:
    """Return a value on one line of YAML, as short as it can be said."""
    match value:
        case str():
            is_bare = _BARE.fullmatch(value) is not None and value not in _WORDS
            return value if is_bare else json.dumps(value, ensure_ascii=not value.isprintable())
        case list() | tuple():
            return f"[{', '.join(map(flow, value))}]"
        case dict():
            return "{" + ", ".join(f"{flow(key)}: {flow(entry)}" for key, entry in value.items()) + "}"
        case _:
            return json.dumps(value)


def file_of(scenario: Scenario, text: str, settings: Sequence[Setting] | None, *, name: str, header: str) -> str:
    """Return a file that holds `scenario`: `text` with `settings`, or else every key of the scenario.

    text: the YAML that the settings are for; None: there are none that would do. name: the path at which it will
    stand. header: lines of comment.
    """
    edited = None if settings is None else edited_text(text, settings)
    if edited is not None:
        whole = f"{header}# The comments below are those of the file that it was made of.\n\n{edited}"
        if _says(whole, name, scenario):
            return whole
    document = scenario_document(scenario)
    document |= {key: value for key, value in settings or () if key in _UNTOLD}
    return f"{header}# Every key is written out, for the file that it was made of cannot be changed in place.\n\n" + (
        yaml.safe_dump(document, sort_keys=False, allow_unicode=True, default_flow_style=None, width=110)
    )


def changes(before: Any, after: Any, key: str = "") -> list[Setting] | None:
    """Return the settings that make plain data `before` into `after`; None where a key is gone."""
    if not isinstance(before, dict) or not isinstance(after, dict):
        return [] if before == after else [(key, after)]
    if before.keys() - after.keys():
        return None
    found: list[Setting] = []
    for name, value in after.items():
        inner = f"{key}.{name}" if key else str(name)
        below = changes(before[name], value, inner) if name in before else [(inner, value)]
        if below is None:
            return None
        found += below
    return found


def _says(text: str, name: str, scenario: Scenario) -> bool:
    """Whether `text` at the path `name` loads as `scenario`."""
    try:
        source = parse_yaml(text, name)
        if not isinstance(source.data, dict):
            return False
        found = scenario_document(scenario_from(source))
    except ScenarioError:
        return False
    wanted = scenario_document(scenario)
    return all(found[key] == wanted[key] for key in wanted if key not in _UNTOLD)


def edited_text(text: str, settings: Sequence[Setting]) -> str | None:
    """Return a YAML text with the settings in it, each where its key is; None where one has no such place.

    A comment on the line of a changed value explains the old one, and gives way to what that was.
    """
    changed: str | None = text
    for key, value in settings:
        if changed is None:
            return None
        changed = _with(changed, key.split("."), value)
    return changed


def _with(text: str, words: list[str], value: Any) -> str | None:
    loader = Loader(text)
    try:
        node = loader.get_single_node()
    except yaml.YAMLError:
        return None
    finally:
        loader.dispose()
    if node is None:
        return None
    for number, word in enumerate(words):
        if not isinstance(node, yaml.MappingNode):
            return None
        child = next((entry for key, entry in node.value if key.value == word), None)
        if child is None:
            return _inserted(text, node, words[number:], value, is_top=number == 0)
        node = child
    return _replaced(text, node, value)


def _replaced(text: str, node: yaml.Node, value: Any) -> str | None:
    is_block = isinstance(node, yaml.CollectionNode) and not node.flow_style
    if is_block or getattr(node, "style", None) in ("|", ">"):
        return None
    begin, end = node.start_mark.index, node.end_mark.index
    old, new, rest = text[begin:end], flow(value), text[end:]
    if begin and text[begin - 1] not in " \n[{,":
        new = f" {new}"
    if old == new:
        return text
    if (comment := re.match(r"[ \t]+#[^\n]*", rest)) is not None:
        rest = f"  # was {old}{rest[comment.end() :]}" if "\n" not in old else rest[comment.end() :]
    return text[:begin] + new + rest


def _inserted(text: str, node: yaml.MappingNode, words: list[str], value: Any, *, is_top: bool) -> str | None:
    for word in reversed(words[1:]):
        value = {word: value}
    entry, begin = f"{words[0]}: {flow(value)}", node.start_mark.index
    if node.flow_style:
        separator = ", " if node.value else ""
        return text[: begin + 1] + entry + separator + text[begin + 1 :]
    if is_top:
        return f"{text.rstrip()}\n{entry}\n"
    return f"{text[:begin]}{entry}\n{' ' * node.start_mark.column}{text[begin:]}"
