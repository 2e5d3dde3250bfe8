"""The scenario of a run that computes, as it is here: on the devices that there are, in the number format of the run.

Knows nothing of prompts and drafts.
"""

from executor.planning.hardware import DTYPE_BYTES, Hardware
from executor.planning.place import Place
from executor.planning.scenario import LINK, TIMING
from spdsim.errors import InputError
from spdsim.scenario import Scenario
from spdsim.scenario.hardware import Devices, Gpu, LinkFigures, Links
from spdsim.scenario.placement import place as place_workers
from spdsim.scenario.times import ProfileTimes
from spdsim.schedules.spd import Layout


def as_it_runs(scenario: Scenario, layout: Layout, hardware: Hardware, place: Place, *, is_file: bool) -> Scenario:
    """Return `scenario` on the devices that are here. is_file: it was read from a file.

    GPUs that a file names must be here: raises InputError if they are not. A CPU stands in for any device.
    """
    model = scenario.model.model_copy(update={"dtype_bytes": DTYPE_BYTES[hardware.dtype]})
    runtime = scenario.runtime.model_copy(update={"launch": hardware.launch})
    scenario = scenario.model_copy(update={"model": model, "runtime": runtime})
    if is_file and hardware.device == "cuda":
        _check(scenario, layout, hardware, place)
        return scenario
    link = LinkFigures.model_validate(LINK)
    found = {
        "devices": _devices(layout, hardware),
        "links": Links(intra_node=scenario.links.intra_node or link, inter_node=scenario.links.inter_node or link),
        "timing": ProfileTimes.model_validate(TIMING),
    }
    return scenario.model_copy(update=found)


def as_it_is_emulated(scenario: Scenario, layout: Layout) -> Scenario:
    """Return `scenario` with a device for each worker, for a run without a file that says what devices there are."""
    count = layout.num_workers
    devices = Devices(gpu=Gpu(name="emulated"), count=count, workers=tuple(range(count)))
    return scenario.model_copy(update={"devices": devices})


def local_devices(scenario: Scenario) -> tuple[int, ...]:
    """Return the device of each worker, counted on its own node."""
    per_node = scenario.devices.per_node or scenario.devices.count
    return tuple(worker.device % per_node for worker in place_workers(scenario))


def _devices(layout: Layout, hardware: Hardware) -> Devices:
    """Worker i on device i where each has a process of its own; all on a CPU, or by the rule of placement on GPUs."""
    workers: tuple[int, ...] | None = tuple(range(layout.num_workers))
    if hardware.backend == "local":
        workers = None if hardware.device == "cuda" else (0,) * layout.num_workers
    gpu = Gpu(name="cpu" if hardware.device == "cpu" else "gpu")
    return Devices(gpu=gpu, count=hardware.num_devices, per_node=hardware.per_node, workers=workers)


def _check(scenario: Scenario, layout: Layout, hardware: Hardware, place: Place) -> None:
    """Raise InputError unless the scenario's GPUs are here."""
    devices, world = scenario.devices, place.world
    used = tuple(worker.device for worker in place_workers(scenario))
    if hardware.backend == "nccl" and len(set(used)) < len(used):
        rule = f"needs a device for each of {layout.num_workers} workers, and the scenario has {len(set(used))}"
        raise InputError(f"--backend is nccl: {rule}: use --backend local")
    if world is None and max(used) >= (there := place.count_gpus()):
        rule = f"must be at most {there}, as many as are here: --set devices.count={there}, or --device cpu"
        raise InputError(f"devices.count is {devices.count}: {rule}")
    if world is not None and (used != tuple(range(world.size)) or devices.per_node not in (None, world.per_node)):
        rule = f"must be a device for each process of torchrun, {world.size} with {world.per_node} in a node, in order"
        raise InputError(f"devices of the scenario are {devices.count} with {devices.per_node} in a node: {rule}")
