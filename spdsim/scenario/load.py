"""Reading a scenario: file, settings, named files, rules."""

from collections.abc import Sequence
from os import PathLike, fspath
from pathlib import Path

from pydantic import ValidationError

from spdsim.errors import ScenarioError
from spdsim.scenario.checks import check
from spdsim.scenario.files import include_files
from spdsim.scenario.model import Scenario
from spdsim.scenario.overrides import apply_override
from spdsim.scenario.problems import Problem, from_pydantic, report
from spdsim.scenario.source import KeyPath, Source, read_yaml


def load_scenario(path: str | PathLike[str], overrides: Sequence[str] = ()) -> Scenario:
    """Return the scenario in a YAML file, with settings such as "partition.stages=8" on top, in their order.

    Raises ScenarioError, one line: file and line (or the option), key, value and rule.
    """
    return scenario_from(read_source(path, overrides))


def read_source(path: str | PathLike[str], overrides: Sequence[str] = ()) -> Source:
    """Return the data of a scenario's file with settings on top, for `scenario_from`; no rule is held against it yet.

    Raises ScenarioError, one line, for a file that is no mapping in YAML, and for a setting that has no place.
    """
    source = read_yaml(fspath(path))
    for setting in overrides:
        apply_override(source, setting)
    source.data.setdefault("name", Path(path).stem)
    return source


def scenario_from(source: Source) -> Scenario:
    """Return the scenario that `source` holds, with the files that it names.

    Raises ScenarioError, one line: file and line (or the option), key, value and rule.
    """
    scenario, problems = _read(source)
    if problems:
        raise report(problems, source)
    return scenario


def scenario_to_cut(source: Source) -> tuple[Scenario, ScenarioError | None]:
    """Return the scenario that `source` holds, and what is wrong with how it is cut and placed, if anything is.

    For who will cut it anew. Raises ScenarioError for what no other cut would mend.
    """
    scenario, problems = _read(source)
    if any(not _is_of_the_cut(problem.path) for problem in problems):
        raise report(problems, source)
    return scenario, report(problems, source) if problems else None


def _is_of_the_cut(path: KeyPath) -> bool:
    """Whether a rule that is broken at `path` is one of the cut, of its devices or of their memory."""
    of_devices = path[:2] in (("devices", "count"), ("devices", "workers"))
    return path[:1] == ("partition",) or path in (("model",), ("links", "all_reduce_s")) or of_devices


def _read(source: Source) -> tuple[Scenario, list[Problem]]:
    """Return the scenario with the files that it names, and the rules that it breaks."""
    include_files(source)
    try:
        scenario = Scenario.model_validate(source.data)
    except ValidationError as error:
        raise report(from_pydantic(error, source.data), source) from None
    return scenario, check(scenario)
