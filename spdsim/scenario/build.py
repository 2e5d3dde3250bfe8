"""Scenarios made by a program rather than read from a file; the same rules, and the same one line."""

from typing import Any

from pydantic import ValidationError

from spdsim.scenario.catalogue import canonical_name, expand
from spdsim.scenario.checks import check
from spdsim.scenario.hardware import Gpu
from spdsim.scenario.model import Scenario
from spdsim.scenario.problems import from_pydantic, report
from spdsim.scenario.source import Source


def build_scenario(data: dict[str, Any]) -> Scenario:
    """Return the scenario that `data` describes, as a file would; parts may be built already.

    Raises ScenarioError, one line that begins with the scenario's name.
    """
    source = Source(str(data.get("name", "scenario")), data)
    try:
        scenario = Scenario.model_validate(data)
    except ValidationError as error:
        raise report(from_pydantic(error, data), source) from None
    if problems := check(scenario):
        raise report(problems, source)
    return scenario


def gpu_named(name: str) -> Gpu:
    """Return a GPU of the catalogue. Raises ScenarioError, which tells the nearest name, if there is none."""
    return Gpu.model_validate(expand("gpus", canonical_name("gpus", name)))
