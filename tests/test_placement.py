"""Nodes, and the devices of workers that people list."""

from pathlib import Path

import pytest

from spdsim.errors import ScenarioError
from spdsim.scenario import Scenario, load_scenario, scenario_document, scenario_sha256
from spdsim.scenario.checks import check
from spdsim.scenario.hardware import Devices
from spdsim.scenario.model import Partition
from spdsim.scenario.placement import num_nodes_used, place

ROOT = Path(__file__).parent.parent
TUTORIAL = ROOT / "scenarios" / "tutorial.yaml"
SCENARIOS = sorted(path for path in (ROOT / "scenarios").rglob("*.yaml") if path.parent.name != "profiles")
BETWEEN = "links.inter_node={latency_s: 5e-5, bandwidth_bytes_per_s: 1e9}"


def tutorial(devices: str, *settings: str) -> Scenario:
    """Return the tutorial scenario (4 stages) with other devices, and a link between nodes."""
    return load_scenario(TUTORIAL, [f"devices={{gpu: {{name: gpu}}, {devices}}}", BETWEEN, *settings])


# Nodes


@pytest.mark.parametrize(
    ("written", "count", "nodes", "per_node", "num_nodes"),
    [
        ("count: 5", 5, None, None, 1),
        ("count: 5, per_node: 2", 5, None, 2, 3),
        ("nodes: 2, per_node: 4", 8, 2, 4, 2),
        ("nodes: 2, count: 6", 6, 2, 3, 2),
        ("nodes: 2, per_node: 3, count: 6", 6, 2, 3, 2),
        ("nodes: 1, count: 5", 5, 1, 5, 1),
        ("nodes: 2, per_node: null, count: 6", 6, 2, 3, 2),
    ],
)
def test_two_of_count_nodes_and_per_node_say_the_third(
    written: str, count: int, nodes: int | None, per_node: int | None, num_nodes: int
) -> None:
    """Without `nodes`, the last node may have devices to spare."""
    devices = tutorial(written).devices
    assert (devices.count, devices.nodes, devices.per_node, devices.node_of(devices.count - 1) + 1) == (
        count,
        nodes,
        per_node,
        num_nodes,
    )


def test_a_device_is_on_the_node_that_its_number_says() -> None:
    """Nodes are filled one after another."""
    devices = Devices.model_validate({"gpu": {"name": "gpu"}, "nodes": 2, "per_node": 3})
    assert [devices.node_of(device) for device in range(devices.count)] == [0, 0, 0, 1, 1, 1]


def test_a_document_with_nodes_and_workers_loads_again(tmp_path: Path) -> None:
    """What was filled in does not contradict what was written."""
    scenario = tutorial("nodes: 2, per_node: 4, workers: [0, 1, 2, 4, 5]")
    document = scenario_document(scenario)
    copy = tmp_path / "copy.json"
    copy.write_text(str(document).replace("None", "null").replace("True", "true").replace("False", "false"))
    assert scenario_sha256(load_scenario(copy)) == scenario_sha256(scenario)


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("nodes: 2, per_node: 4, count: 9", "devices.count is 9: must be nodes x per_node, 2 x 4 = 8"),
        ("nodes: 2, count: 9", "devices.count is 9: must be a multiple of nodes, 2"),
        ("per_node: 4", "devices.count is missing: must be given"),
        ("nodes: 2", "devices.count is missing: must be given"),
        ("nodes: 0, per_node: 4", "devices.nodes is 0: must be at least 1"),
        ("nodes: two, count: 4", 'devices.nodes is "two": must be a whole number'),
        ("nodes: true, per_node: 4, count: 4", "devices.nodes is true: must be a whole number"),
    ],
)
def test_numbers_that_contradict_each_other_are_refused(written: str, message: str) -> None:
    """One line that names the keys."""
    with pytest.raises(ScenarioError) as caught:
        tutorial(written)
    assert str(caught.value) == f"--set devices: {message}"


def test_the_schema_lets_nodes_stand_for_the_count() -> None:
    """An editor must not ask for `count` where nodes and per_node are given."""
    schema = Devices.model_json_schema()
    assert schema["required"] == ["gpu"]
    assert schema["anyOf"] == [{"required": ["count"]}, {"required": ["nodes", "per_node"]}]


# Workers


def devices_of(scenario: Scenario) -> list[int]:
    """Return the device of each worker."""
    return [worker.device for worker in place(scenario)]


@pytest.mark.parametrize(
    ("settings", "listed"),
    [
        ((), [4, 3, 2, 1, 0]),
        ((), [0, 0, 1, 1, 2]),
        (("partition.lm_head=own_device",), [0, 1, 2, 3, 4, 0]),
        (("partition.stages=1",), [3]),
        (("draft.placement=stage_0",), [2, 0, 1, 3, 4]),
    ],
)
def test_a_list_says_the_device_of_each_worker(settings: tuple[str, ...], listed: list[int]) -> None:
    """Whatever the rule of placement would say."""
    assert devices_of(tutorial(f"count: 5, workers: {listed}", *settings)) == listed


@pytest.mark.parametrize(
    ("settings", "listed", "message"),
    [
        ((), [0, 1, 2, 9, 3], "devices.workers[3] puts worker 3 on device 9: there are 8 devices, 0 to 7"),
        ((), [0, 1, 2, 3], "devices.workers has 4 entries: must have 5: 1 for the draft rank, 4 for the stages"),
        (
            ("partition.lm_head=own_device",), [0],
            "devices.workers has 1 entry: must have 6: 1 for the draft rank, 4 for the stages, "
            "1 for the LM head's own worker",
        ),
        (("partition.stages=1",), [0, 1], "devices.workers has 2 entries: must have 1: 1 for the stages"),
        ((), [0, -1, 0, 0, 0], "devices.workers[1] is -1: must be at least 0"),
        ((), [], "devices.workers has 0 entries: must have 5: 1 for the draft rank, 4 for the stages"),
    ],
)  # fmt: skip
def test_a_list_that_does_not_fit_is_refused(settings: tuple[str, ...], listed: list[int], message: str) -> None:
    """A worker too many or too few, or a device that is not there."""
    with pytest.raises(ScenarioError) as caught:
        tutorial(f"count: 8, workers: {listed}", *settings)
    assert str(caught.value) == f"--set devices: {message}"


def test_there_may_be_one_device() -> None:
    """In the singular."""
    with pytest.raises(ScenarioError, match=r"puts worker 4 on device 1: there is 1 device, 0$"):
        tutorial("count: 1, workers: [0, 0, 0, 0, 1]")


def test_the_rule_serves_where_a_listed_scenario_is_cut_anew() -> None:
    """To tell how many stages would fit, say; the scenario itself would be refused."""
    scenario = tutorial("count: 5, workers: [4, 3, 2, 1, 0]")
    anew = scenario.model_copy(update={"partition": Partition(stages=3)})
    assert devices_of(anew) == [0, 1, 2, 3]
    assert [problem.path for problem in check(anew)] == [("devices", "workers")]


@pytest.mark.parametrize(
    ("written", "num_nodes"),
    [
        ("count: 8", 1),
        ("nodes: 4, per_node: 2", 3),
        ("nodes: 4, per_node: 2, workers: [0, 1, 1, 0, 0]", 1),
        ("nodes: 4, per_node: 2, workers: [0, 7, 6, 7, 6]", 2),
    ],
)
def test_only_nodes_with_a_worker_are_used(written: str, num_nodes: int) -> None:
    """The others may be there and do nothing."""
    scenario = tutorial(written)
    assert num_nodes_used(scenario.devices, place(scenario)) == num_nodes


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
@pytest.mark.parametrize("stages", [1, 2, 3])
def test_shipped_scenarios_can_be_cut_anew(path: Path, stages: int) -> None:
    """None of them lists its workers, so the number of stages may be changed alone."""
    devices = load_scenario(path).devices
    assert devices.workers is None
    if not path.stem.startswith("qwen"):
        load_scenario(path, [f"partition.stages={stages}"])


def test_a_list_that_overfills_a_device_is_told_what_the_rule_would_do() -> None:
    """All stages on one device: the same devices would do, each with a stage."""
    settings = ["devices={gpu: h100, count: 5, workers: [0, 1, 1, 1, 1]}", "partition.stages=4"]
    with pytest.raises(ScenarioError, match=r"53\.3 GB too much; the same without devices\.workers would fit$"):
        load_scenario(Path(__file__).parent.parent / "scenarios" / "h100x8.yaml", settings)
