"""What people write: scenarios and profiles, read from YAML and checked.

Knows nothing of the engine; `spdsim.timing` turns a scenario into the numbers that the engine reads.
"""

from spdsim.acceptance import Acceptance
from spdsim.scenario.acceptance import acceptance_model
from spdsim.scenario.document import (
    scenario_document,
    scenario_of_document,
    scenario_schema,
    scenario_sha256,
    template_text,
)
from spdsim.scenario.load import load_scenario
from spdsim.scenario.model import Scenario
from spdsim.scenario.placement import layout_of
from spdsim.scenario.workload import draw_length


def acceptance_of(scenario: Scenario) -> Acceptance:
    """Return the scenario's acceptance model, at its number of stages and its draft module's depth and width."""
    draft = scenario.draft
    return acceptance_model(scenario.acceptance, scenario.partition.stages, draft.layers, draft.width)


def one_stage(scenario: Scenario) -> Scenario:
    """Return the scenario with one stage: plain decoding on one device."""
    partition = scenario.partition.model_copy(update={"stages": 1, "layers": "even", "tensor_parallel": 1})
    devices = scenario.devices.model_copy(update={"workers": None})
    return scenario.model_copy(update={"partition": partition, "devices": devices})


def as_a_chain(scenario: Scenario) -> Scenario:
    """Return the scenario with one draft for each position."""
    return scenario.model_copy(update={"draft": scenario.draft.model_copy(update={"width": 1})})


def output_tokens(scenario: Scenario, sequence: int) -> int:
    """Return how many tokens sequence `sequence` (from 0, over all replications) generates."""
    return draw_length(scenario.workload, scenario.seed, sequence)


__all__ = [
    "Scenario", "acceptance_of", "as_a_chain", "layout_of", "load_scenario", "one_stage", "output_tokens",
    "scenario_document", "scenario_of_document", "scenario_schema", "scenario_sha256", "template_text",
]  # fmt: skip
