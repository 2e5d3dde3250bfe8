"""SPD on a scenario's devices: as the scenario has it, and variants of it on the same devices."""

from collections.abc import Mapping
from math import ceil

from spdsim.errors import ScenarioError
from spdsim.methods.durations import mean_s
from spdsim.methods.method import CannotBeHadError, Method
from spdsim.methods.target import refuse_whole_stages
from spdsim.scenario import Scenario, acceptance_of
from spdsim.scenario.memory import device_bytes, fits
from spdsim.scenario.model import Draft, Partition
from spdsim.scenario.placement import layers_of_stages
from spdsim.timing import machine_of


def as_written(scenario: Scenario) -> Method:
    """Return SPD as the scenario has it. Raises CannotBeHadError with one stage, which is plain decoding."""
    if scenario.partition.stages == 1:
        raise CannotBeHadError("the scenario has one stage, which is plain decoding: set partition.stages")
    return _method("spd", "SPD as in the scenario", scenario)


def colocated(scenario: Scenario) -> Method:
    """Return SPD with a stage on every device, the draft module beside stage 0. Raises CannotBeHadError if that fails.

    Stage 0 gets fewer layers, so that its device, draft included, takes as long as the others.
    """
    stages = _most_stages(scenario, scenario.devices.count - _of_head(scenario))
    alone = {"stages": stages, "tensor_parallel": 1}
    cut = _recut(scenario, {**alone, "layers": _balanced(_recut(scenario, alone, "stage_0"))}, "stage_0")
    return _method("spd_colocated", "SPD, draft module beside stage 0", cut)


def sharded(scenario: Scenario) -> Method:
    """Return SPD with the LM head sharded over all workers. Raises CannotBeHadError if it cannot be."""
    stages = _most_stages(scenario, scenario.devices.count - 1)
    cut = {"stages": stages, "lm_head": "sharded", "verification_lag": 0, "tensor_parallel": 1}
    return _method("spd_sharded", "SPD, LM head sharded", _recut(scenario, cut, "own_device"))


def in_groups(scenario: Scenario) -> Method:
    """Return SPD whose stages are tensor-parallel pairs. Raises CannotBeHadError if it cannot be."""
    stages = _most_stages(scenario, (scenario.devices.count - 1 - _of_head(scenario)) // 2)
    cut = {"stages": stages, "tensor_parallel": 2}
    return _method("spd_tensor_parallel", "SPD, tensor-parallel stages", _recut(scenario, cut, "own_device"))


def _of_head(scenario: Scenario) -> int:
    """Devices that the LM head has to itself."""
    return int(scenario.partition.lm_head == "own_device")


def _balanced(even: Scenario) -> tuple[int, ...]:
    """Return the layers of each stage with which the slowest device of a cycle is fastest.

    Every layer is taken to last as long as those of stage 1 on average; the others share what stage 0 leaves.
    """
    try:
        machine = machine_of(even)
    except ScenarioError as error:
        raise CannotBeHadError(str(error)) from None
    stages, num_layers = even.partition.stages, even.model.num_layers
    layer_s = mean_s(machine.tasks[2, "forward"], 0.0) / layers_of_stages(even)[1]
    beside = [machine.tasks[0, "draft"], *([machine.tasks[0, "verify"]] if (0, "verify") in machine.tasks else [])]
    beside_s = sum(mean_s(each, 0.0) for each in beside)

    def slowest_s(first: int) -> float:
        return max(beside_s + first * layer_s, ceil((num_layers - first) / (stages - 1)) * layer_s)

    first = min(range(1, num_layers - stages + 2), key=slowest_s)
    each, rest = divmod(num_layers - first, stages - 1)
    return (first, *(each + (stage < rest) for stage in range(stages - 1)))


def _most_stages(scenario: Scenario, num_devices: int) -> int:
    stages = min(num_devices, scenario.model.num_layers)
    refuse_whole_stages(scenario, stages)
    if stages < 2:
        raise CannotBeHadError(f"{scenario.devices.count} devices are too few for two stages of it")
    return stages


def _recut(scenario: Scenario, partition: Mapping[str, object], placement: str) -> Scenario:
    cut = Partition.model_validate(scenario.partition.model_dump() | {"layers": "even", **partition})
    draft = Draft.model_validate(scenario.draft.model_dump() | {"placement": placement})
    devices = scenario.devices.model_copy(update={"workers": None})
    return scenario.model_copy(update={"partition": cut, "draft": draft, "devices": devices})


def _method(key: str, name: str, scenario: Scenario) -> Method:
    try:
        machine = machine_of(scenario)
    except ScenarioError as error:
        raise CannotBeHadError(str(error)) from None
    if not fits(scenario):
        raise CannotBeHadError("it does not fit the devices")
    stages, size = scenario.partition.stages, scenario.partition.tensor_parallel
    group = f" of {size} devices" if size > 1 else ""
    tree = f", trees of width {scenario.draft.width}" * (scenario.draft.width > 1)
    held = device_bytes(scenario)
    return Method(
        key, f"{name}: {stages} stages{group}{tree}", machine, acceptance_of(scenario), sum(num > 0 for num in held),
        max(held),
    )  # fmt: skip
