"""A scenario as plain data: what `--json` shows, what its hash is of, its schema, and a template to start from."""

import hashlib
import json
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from pydantic import ValidationError

from spdsim.errors import ScenarioError
from spdsim.scenario.model import Scenario
from spdsim.scenario.times import Roofline, resolve

_BASES: dict[str, Any] = {
    "model": {"base"},
    "devices": {"gpu": {"base"}},
    "links": {"intra_node": {"base"}, "inter_node": {"base"}},
}


def scenario_document(scenario: Scenario) -> dict[str, Any]:
    """Return the scenario with every default and catalogue figure filled in, as JSON data that loads again."""
    if isinstance(scenario.timing, Roofline):
        timing = resolve(scenario.timing, scenario.devices.gpu, scenario.runtime.launch)
        scenario = scenario.model_copy(update={"timing": timing})
    # One sequence at a time and chains are what every scenario meant before others could be told, and have the hash
    # that they had then.
    untold: dict[str, Any] = {"workload": {"concurrency"}} if scenario.workload.concurrency == 1 else {}
    if scenario.draft.width == 1:
        untold["draft"] = {"width"}
    return scenario.model_dump(mode="json", exclude=_BASES | untold)


def scenario_of_document(data: Mapping[str, Any], where: str) -> Scenario:
    """Return the scenario that a document holds. Raises ScenarioError, one line, if it holds none; where: its name."""
    try:
        return Scenario.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(word) for word in first["loc"] if not str(word).startswith("@"))
        raise ScenarioError(f"{where}: {key}: {first['msg'][:1].lower()}{first['msg'][1:]}") from None


def scenario_sha256(scenario: Scenario) -> str:
    """Return the SHA-256 of the scenario's document, in hexadecimal; the order of keys does not matter."""
    text = json.dumps(scenario_document(scenario), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def scenario_schema() -> dict[str, Any]:
    """Return the JSON Schema of a scenario file, for editors."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Scenario.model_json_schema()}


def template_text() -> str:
    """Return a commented scenario to start from, YAML that loads."""
    return files("spdsim.scenario").joinpath("template.yaml").read_text("utf-8")
