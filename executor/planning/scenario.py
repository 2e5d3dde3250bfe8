"""The scenario of a run: that of a file or one to start from, with what the options say on top.

One way for all of them: an option's value is held against the rules of scenarios, and an error names the option.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spdsim.scenario.load import scenario_from
from spdsim.scenario.model import Scenario
from spdsim.scenario.overrides import apply_override
from spdsim.scenario.source import KeyPath, Source, read_yaml

STAGES = 2
DRAFT_LAYERS = 4
NEW_TOKENS = 64
PROMPT_TOKENS = 16

_NOT_USED = "not used: a run that computes takes the time that it takes"
LINK = {"name": "link", "latency_s": 0.0, "bandwidth_bytes_per_s": 1e12}
TIMING = {
    "kind": "profile",
    "profile": {"source": _NOT_USED, "forward_per_layer": 1e-3, "draft_per_layer": 1e-3, "verify": 1e-3},
}
"""A run that computes needs no figures of its links and tasks, but a scenario has some."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What an option says of a key of the scenario."""

    option: str
    path: KeyPath
    value: Any


def source_of(file: Path | None, settings: Iterable[str]) -> Source:
    """Return the data of a scenario file, or of a scenario to start from, with settings such as "seed=5" on top.

    Raises ScenarioError if the file cannot be read or a setting is none.
    """
    source = Source("generate", _start()) if file is None else read_yaml(file)
    if file is not None:
        source.data.setdefault("name", file.stem)
    for setting in settings:
        apply_override(source, setting)
    return source


def scenario_of(source: Source, settings: Iterable[Setting]) -> Scenario:
    """Return the scenario of `source` with `settings` on top.

    Raises ScenarioError, one line: file and line (or the option), key, value and rule.
    """
    for setting in settings:
        _set(source, setting)
    return scenario_from(source)


def _set(source: Source, setting: Setting) -> None:
    node = source.data
    for key in setting.path[:-1]:
        if not isinstance(node.get(key), dict):
            node[key] = {}
        node = node[key]
    node[setting.path[-1]] = setting.value
    source.settings[setting.path] = setting.option


def _start() -> dict[str, Any]:
    """A scenario in which only the options' keys matter."""
    return {
        "name": "generate",
        "devices": {"gpu": {}, "count": 1},
        "links": {"intra_node": dict(LINK), "inter_node": dict(LINK)},
        "acceptance": {"kind": "bernoulli", "p": 0.0, "source": "not used: the draft module decides"},
        "timing": dict(TIMING),
    }
