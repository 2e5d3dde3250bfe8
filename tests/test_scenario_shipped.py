"""The shipped scenarios: all load and keep what they promise; the published ones keep to their table."""

import csv
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import pytest

from spdsim import acceptance
from spdsim.distributions import mean_s
from spdsim.machine import Machine
from spdsim.scenario import acceptance_of, load_scenario
from spdsim.scenario.placement import layers_of_stages, layout_of
from spdsim.timing import machine_of
from tests.machines import PLACEMENTS

SCENARIOS = Path(__file__).parent.parent / "scenarios"
PATHS = sorted(path for path in SCENARIOS.rglob("*.yaml") if path.parent.name != "profiles")
STAGES = (1, 2, 3, 5, 8, 16, 31, 32, 79, 80)


def names(path: Path) -> str:
    """Return the name of a test case."""
    return path.stem


def test_the_promised_scenarios_are_there() -> None:
    """Six of them."""
    found = {str(path.relative_to(SCENARIOS)) for path in PATHS}
    assert found >= {
        "h100x8.yaml", "two-node-infiniband.yaml", "rtx4090x4-pcie.yaml", "tutorial.yaml",
        "published/qwen3.5-4b-n4.yaml", "published/qwen3.5-4b-n8.yaml",
    }  # fmt: skip


@pytest.mark.parametrize("path", PATHS, ids=names)
def test_a_shipped_scenario_runs_as_it_is_without_a_warning(path: Path) -> None:
    """Its model fits, cut as it is, and it says where its acceptance comes from."""
    scenario = load_scenario(path)
    assert machine_of(scenario).warnings == ()
    assert scenario.acceptance.source
    assert scenario.description


@pytest.mark.parametrize("path", PATHS, ids=names)
@pytest.mark.parametrize(("number", "lm_head"), list(enumerate(PLACEMENTS)))
def test_any_number_of_stages_up_to_the_layers_is_valid(path: Path, number: int, lm_head: str) -> None:
    """Changing partition.stages alone: cut and placement follow the rule, with every place of the LM head."""
    num_layers = load_scenario(path).model.num_layers
    # Two places of the LM head have the one half of the numbers, two the other.
    for stages in sorted(n for n in {*STAGES, num_layers} if n <= num_layers)[number % 2 :: 2]:
        scenario = load_scenario(path, [f"partition.stages={stages}", f"partition.lm_head={lm_head}"])
        machine = machine_of(scenario)
        assert sum(layers_of_stages(scenario)) == num_layers
        assert len(machine.workers) == machine.layout.num_workers


@pytest.mark.parametrize("path", PATHS, ids=names)
def test_acceptance_can_be_set_on_every_scenario(path: Path) -> None:
    """`acceptance.p` alone, or with its kind."""
    scenario = load_scenario(path, ["acceptance.kind=bernoulli", "acceptance.p=0.75"])
    assert acceptance_of(scenario) == acceptance.Bernoulli(0.75)
    assert "p=0.75" in repr(acceptance_of(load_scenario(path, ["acceptance.p=0.75"])))


def test_h100x8_is_what_it_says() -> None:
    """Seven stages and a draft rank with the LM head; the model does not fit one device."""
    scenario = load_scenario(SCENARIOS / "h100x8.yaml")
    machine = machine_of(scenario)
    assert layers_of_stages(scenario) == (12, 12, 12, 11, 11, 11, 11)
    layout = layout_of(scenario)
    assert (len(machine.workers), layout.lm_head, layout.verification_lag) == (8, "draft_rank", 0)
    assert not machine.fits_one_device
    assert scenario.acceptance.origin == "assumed"


# The published runs.


@cache
def table(stages: int) -> Mapping[str, float]:
    """Return the published phases of one cycle in seconds."""
    with (SCENARIOS / "published" / "cycle_breakdown.csv").open(encoding="utf-8") as file:
        return {
            row["phase"]: float(row["duration_ms"]) / 1e3
            for row in csv.DictReader(file)
            if row["stages"] == str(stages)
        }


def published(stages: int) -> Machine:
    """Return the machine of a published run."""
    return machine_of(load_scenario(SCENARIOS / "published" / f"qwen3.5-4b-n{stages}.yaml"))


def seconds(machine: Machine, worker: int, task: str) -> float:
    """Return the mean of a task's duration, without context."""
    return next(mean_s(time.base) for key, time in machine.tasks.items() if key == (worker, task))


@pytest.mark.parametrize("stages", [4, 8])
def test_a_published_scenario_has_the_durations_of_the_table(stages: int) -> None:
    """Row by row, as the README beside it says."""
    machine, row = published(stages), table(stages)
    for worker in range(1, stages + 1):
        assert seconds(machine, worker, "forward") == pytest.approx(row["last_stage_forward"])
        assert seconds(machine, worker, "rollback") == 0.0
    assert seconds(machine, 0, "draft") == pytest.approx(row["post_recv"] + row["pdm_forward"])
    assert seconds(machine, 0, "verify") == pytest.approx(row["verify"])
    bookkeeping = row["driver_update"] + row["cycle_sync"] + row["ctrl_prepare"]
    assert seconds(machine, 0, "commit") == pytest.approx(bookkeeping)
    posts = {"hidden": row["send_hidden"], "features": row["send_features"], "verdict": 0.0, "draft": 0.0}
    for (payload, _, _), message in machine.messages.items():
        assert mean_s(message.post) == pytest.approx(posts[payload])
        expected = row["ctrl_broadcast"] if payload in ("verdict", "draft") else 0.0
        assert mean_s(message.transit) == pytest.approx(expected)


@pytest.mark.parametrize(("stages", "cycle_s"), [(4, 9.239e-3), (8, 5.412e-3)])
def test_the_loop_of_a_published_cycle_adds_up_to_what_was_measured(stages: int, cycle_s: float) -> None:
    """Verdict, last stage, its two sends (the LM head runs beside the second), bookkeeping."""
    machine, last = published(stages), stages
    hidden, features = machine.messages["hidden", last, 0], machine.messages["features", last, 0]
    assert seconds(machine, 0, "verify") < mean_s(features.post)
    loop = (
        mean_s(machine.messages["verdict", 0, last].transit)
        + seconds(machine, last, "forward")
        + mean_s(hidden.post)
        + mean_s(features.post)
        + seconds(machine, 0, "commit")
    )
    assert loop == pytest.approx(cycle_s)
    assert loop == pytest.approx(table(stages)["cycle_wall"], rel=2e-3)


@pytest.mark.parametrize(("stages", "speedup"), [(4, 2.64), (8, 3.39)])
def test_the_published_acceptance_gives_the_published_speedup(stages: int, speedup: float) -> None:
    """n / (1 + (1 - p)(n - 1)), the law of equal stages."""
    model = acceptance_of(load_scenario(SCENARIOS / "published" / f"qwen3.5-4b-n{stages}.yaml"))
    assert isinstance(model, acceptance.Bernoulli)
    assert stages / (1 + (1 - model.p) * (stages - 1)) == pytest.approx(speedup, abs=0.005)


def test_the_published_eight_stages_run_on_eight_devices_and_one() -> None:
    """The last stage is alone on the second node."""
    machine = published(8)
    names_of_links = {
        machine.links[m.link].name for (_, a, b), m in machine.messages.items() if 8 in (a, b) if m.link is not None
    }
    assert all(name.startswith("infiniband-ndr") for name in names_of_links)
    assert {link.name.split()[0] for link in machine.links} == {"nvlink4", "infiniband-ndr"}
