"""Settings on top of a file: "partition.stages=8"."""

from typing import Any

from spdsim.errors import ScenarioError
from spdsim.scenario.files import PROFILE, include_profile
from spdsim.scenario.keys import known_at
from spdsim.scenario.source import KeyPath, Source, parse_yaml, show

_CATALOGUED: tuple[KeyPath, ...] = (
    ("model",),
    ("devices", "gpu"),
    ("links", "intra_node"),
    ("links", "inter_node"),
)


def apply_override(source: Source, setting: str) -> None:
    """Set one key of a scenario's data from "KEY=VALUE"; the value is read as YAML.

    Raises ScenarioError if the setting is not KEY=VALUE or its key leads into a plain value.
    """
    key, equals, text = setting.partition("=")
    key = key.strip()
    if not equals or not all(key.split(".")):
        raise ScenarioError(f"--set {setting}: must be KEY=VALUE, such as partition.stages=8")
    option = f"--set {key}"
    set_key(source, key, parse_yaml(text, option).data, option)


def set_key(source: Source, key: str, value: Any, option: str) -> None:
    """Set one key of a scenario's data, "partition.stages", as `option` asks for.

    Below a catalogue's name (`devices.gpu.memory_bytes` where gpu is h100-sxm) the other figures stay.
    A new kind drops the keys that only the old kind had. An acceptance that is changed is an assumption.
    Raises ScenarioError if the key leads into a plain value.
    """
    parent, path = _open(source, key.split("."), option)
    last = path[-1]
    is_new_kind = last == "kind" and isinstance(parent, dict) and parent.get("kind") != value
    parent[last] = value
    source.settings[path] = option
    if is_new_kind:
        _drop_foreign_keys(source, parent, path[:-1])
    if path[0] == "acceptance" and last not in ("origin", "source"):
        _mark_assumed(source, option)


def set_device_count(source: Source, count: int, option: str) -> list[tuple[str, Any]]:
    """Set the number of devices, as `option` asks for, and return every key that was set; nodes stay as large.

    Raises ScenarioError if the scenario's devices are a plain value.
    """
    devices = source.data.get("devices")
    written = devices if isinstance(devices, dict) else {}
    nodes, per_node, before = (written.get(key) for key in ("nodes", "per_node", "count"))
    settings: list[tuple[str, Any]] = [("devices.count", count)]
    if nodes is not None:
        settings.append(("devices.nodes", None))
        if per_node is None and isinstance(nodes, int) and isinstance(before, int) and nodes > 0:
            settings.append(("devices.per_node", before // nodes))
    for key, value in settings:
        set_key(source, key, value, option)
    return settings


def _open(source: Source, words: list[str], option: str) -> tuple[Any, KeyPath]:
    """Return the mapping or list that holds the last word, and the key path."""
    node: Any = source.data
    path: KeyPath = ()
    for word in words[:-1]:
        part = _part(node, word, path, option)
        if isinstance(node, dict) and node.get(part) is None:
            node[part] = {}
        path = (*path, part)
        if isinstance(node[part], str) and path == PROFILE:
            include_profile(source)
        elif isinstance(node[part], str) and path in _CATALOGUED:
            node[part] = {"base": node[part]}
        node = node[part]
    return node, (*path, _part(node, words[-1], path, option))


def _part(node: Any, word: str, path: KeyPath, option: str) -> str | int:
    number = int(word) if word.isdecimal() else None
    if isinstance(node, dict):
        return number if number is not None and number in node else word
    if isinstance(node, list):
        if number is None or number >= len(node):
            raise ScenarioError(f"{option}: {word} is no entry of a list: must be 0 to {len(node) - 1}")
        return number
    raise ScenarioError(f"{option}: {'.'.join(map(str, path))} is {show(node)}: has no keys below it")


def _drop_foreign_keys(source: Source, parent: dict[Any, Any], path: KeyPath) -> None:
    known = known_at(path, source.data)
    for key in [key for key in parent if key not in known and (*path, key) not in source.settings]:
        del parent[key]


def _mark_assumed(source: Source, option: str) -> None:
    acceptance = source.data.get("acceptance")
    if isinstance(acceptance, dict):
        if ("acceptance", "origin") not in source.settings:
            acceptance["origin"] = "assumed"
        if ("acceptance", "source") not in source.settings:
            acceptance["source"] = option
