"""Reading YAML into plain data that remembers its lines.

Scalars follow YAML 1.2: `1e-3` is a number, and `on`, `off`, `yes` and `no` are text.
Knows nothing of what a scenario means.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from spdsim import files
from spdsim.errors import ScenarioError

KeyPath = tuple[str | int, ...]

_MAX_VALUES = 1_000_000
_TAG = "tag:yaml.org,2002:"


class Loader(yaml.SafeLoader):
    """PyYAML up to the node tree, with the scalars of YAML 1.2."""


# Its own, not those of YAML 1.1 that it would inherit.
Loader.yaml_implicit_resolvers = {}
for _name, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
):
    Loader.add_implicit_resolver(_TAG + _name, re.compile(f"^(?:{_pattern})$"), _first)


@dataclass(slots=True)
class Source:
    """Plain data, and where each part of it was written.

    name: the file as the user named it. lines: line of each key path. settings: key paths that were set by an
    option, with the option. included: the sources of parts that another file gave, with that part's key path.
    """

    name: str
    data: Any
    lines: dict[KeyPath, int] = field(default_factory=dict)
    settings: dict[KeyPath, str] = field(default_factory=dict)
    included: list[tuple[KeyPath, "Source"]] = field(default_factory=list)

    def at(self, line: int) -> str:
        """Return how a line is named: "file:line"; an option has no lines."""
        return self.name if self.name.startswith("--") else f"{self.name}:{line}"

    def locate(self, path: KeyPath) -> tuple[str, KeyPath]:
        """Return where `path` was written ("file:line" or an option) and the key path to show."""
        inner = max((prefix for prefix, _ in self.included if path[: len(prefix)] == prefix), key=len, default=())
        for length in range(len(path), len(inner), -1):
            if path[:length] in self.settings:
                return self.settings[path[:length]], path
        below = (option for key, option in self.settings.items() if key[: len(path)] == path)
        if path not in self.lines and (option := next(below, None)):
            return option, path
        for prefix, source in self.included:
            if prefix == inner:
                return source.locate(path[len(inner) :])
        for length in range(len(path), 0, -1):
            if path[:length] in self.lines:
                return self.at(self.lines[path[:length]]), path
        return self.name, path


def dotted(path: KeyPath) -> str:
    """Return a key path as people write it: "partition.layers[2]"."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def read_text(path: str | Path) -> str:
    """Return the text of a file. Raises ScenarioError if it cannot be read or is not UTF-8."""
    return files.read_text(path, ScenarioError)


def read_yaml(path: str | Path) -> Source:
    """Return the mapping in a YAML file. Raises ScenarioError if it is none."""
    source = parse_yaml(read_text(path), str(path))
    if source.data is None:
        raise ScenarioError(f"{path}: is empty: must be a mapping of keys")
    if not isinstance(source.data, dict):
        raise ScenarioError(f"{path}: is {show(source.data)}: must be a mapping of keys")
    return source


def parse_yaml(text: str, name: str) -> Source:
    """Return the data in a YAML text, with its lines. Raises ScenarioError if it is not YAML."""
    source = Source(name, None)
    try:
        loader = Loader(text)
        try:
            node = loader.get_single_node()
        finally:
            loader.dispose()
        if node is not None:
            source.data = _Reader(source).value(node, ())
    except yaml.MarkedYAMLError as error:
        where = source.at(error.problem_mark.line + 1) if error.problem_mark else name
        context = f"{error.context} " if str(error.problem).startswith("but") else ""
        raise ScenarioError(f"{where}: is not YAML: {context}{error.problem}") from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ScenarioError(f"{source.at(line)}: is not YAML: has the character #x{error.character:04x}") from None
    except RecursionError:
        raise ScenarioError(f"{name}: is nested too deeply") from None
    return source


def show(value: object) -> str:
    """Return a value on one short line, as it would stand in YAML."""
    match value:
        case None:
            text = "null"
        case bool():
            text = str(value).lower()
        case float() if value != value or value in (float("inf"), float("-inf")):
            text = {"nan": ".nan", "inf": ".inf", "-inf": "-.inf"}[str(value)]
        case str():
            text = f'"{value}"'
        case dict():
            text = "{" + ", ".join(f"{key}: {show(entry)}" for key, entry in value.items()) + "}"
        case Sequence():
            text = "[" + ", ".join(show(entry) for entry in value) + "]"
        case _:
            text = str(value)
    text = " ".join(text.split())
    return text if len(text) <= 60 else text[:57] + "..."


class _Reader:
    """Turns nodes into values and notes the line of each."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._open: set[int] = set()
        self._num_values = 0

    def value(self, node: yaml.Node, path: KeyPath) -> Any:
        # Aliases may refer to what contains them, or multiply without end; both are refused.
        self._num_values += 1
        if id(node) in self._open or self._num_values > _MAX_VALUES:
            raise self._error(node, "an alias contains itself" if id(node) in self._open else "has too many values")
        self._source.lines.setdefault(path, node.start_mark.line + 1)
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node)
        self._open.add(id(node))
        try:
            if isinstance(node, yaml.SequenceNode):
                return [self.value(entry, (*path, index)) for index, entry in enumerate(node.value)]
            return self._mapping(node, path)
        finally:
            self._open.discard(id(node))

    def _mapping(self, node: yaml.Node, path: KeyPath) -> dict[Any, Any]:
        values: dict[Any, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode) or not key_node.value:
                raise self._error(key_node, "a key must be a word")
            key = self._scalar(key_node)
            key = key if isinstance(key, str | int) and not isinstance(key, bool) else key_node.value
            here = (*path, key)
            if key in values:
                first = self._source.lines[here]
                raise self._error(key_node, f"{dotted(here)} is given twice: first in line {first}")
            self._source.lines[here] = key_node.start_mark.line + 1
            values[key] = self.value(value_node, here)
        return values

    def _scalar(self, node: yaml.ScalarNode) -> str | int | float | bool | None:
        text = str(node.value)
        try:
            match node.tag.removeprefix(_TAG):
                case "str":
                    return text
                case "null":
                    return None
                case "bool":
                    return text.lower() == "true"
                case "int":
                    return int(text, {"0x": 16, "0o": 8}.get(text[:2], 10))
                case "float":
                    return float(text.replace(".inf", "inf").replace(".nan", "nan") if "n" in text.lower() else text)
        except ValueError:
            raise self._error(node, f"{show(text)} is not a number") from None
        raise self._error(node, f"the tag {node.tag} is not allowed")

    def _error(self, node: yaml.Node, text: str) -> ScenarioError:
        return ScenarioError(f"{self._source.at(node.start_mark.line + 1)}: {text}")
