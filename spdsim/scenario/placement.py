"""Who runs where: layers of stages, devices of workers, anchors of the draft module.

The rule of placement. The draft rank is on device 0. If it has a device of its own, the stages start on device 1,
otherwise on device 0; one device each, and the LM head's own worker on the device after them. Where there are
too few devices, stages share them in contiguous, balanced blocks; the draft rank keeps its device as long as
there are two, the LM head's worker as long as the stages keep one. With one stage there is one worker, on device 0.
A list of devices in the scenario (`devices.workers`) takes the place of the rule.

With `partition.tensor_parallel` a stage runs on a group of so many devices, one after another and of one node; its
worker's device is the first of them. The rule then gives each stage a group of its own, and goes on at the next node
where one has too few devices left; it does not look whether there are so many. Groups are the same or apart. What
runs on a device of a group, such as a draft rank on the first one, takes turns with the whole group.
"""

from collections.abc import Iterable

from spdsim.machine import Worker
from spdsim.scenario.hardware import Devices
from spdsim.scenario.model import Scenario
from spdsim.schedules.spd import Layout


def layers_of_stages(scenario: Scenario) -> tuple[int, ...]:
    """Return the number of layers of each stage; cut evenly, the first (layers mod stages) have one more."""
    if isinstance(scenario.partition.layers, tuple):
        return scenario.partition.layers
    each, rest = divmod(scenario.model.num_layers, scenario.partition.stages)
    return tuple(each + (stage < rest) for stage in range(scenario.partition.stages))


def anchors(scenario: Scenario) -> tuple[int, ...]:
    """Return the hidden states that the draft module reads (0: embedding, k: output of layer k - 1)."""
    written, num_layers = scenario.draft.anchors, scenario.model.num_layers
    if isinstance(written, tuple):
        return written
    if written == 1:
        return (0,)
    spread = (min(index * num_layers // (written - 1), num_layers - 1) for index in range(written))
    return tuple(sorted(set(spread)))


def anchors_in_stages(scenario: Scenario) -> tuple[int, ...]:
    """Return how many anchors each stage puts out; the embedding (anchor 0) the draft rank has itself."""
    counts, first = [], 0
    for num_layers in layers_of_stages(scenario):
        counts.append(sum(first < anchor <= first + num_layers for anchor in anchors(scenario)))
        first += num_layers
    return tuple(counts)


def layout_of(scenario: Scenario) -> Layout:
    """Return the options of the schedule; with one stage the verification lag is 0, and there is no tree."""
    stages = scenario.partition.stages
    return Layout(
        num_stages=stages,
        lm_head=scenario.partition.lm_head,
        verification_lag=scenario.partition.verification_lag if stages > 1 else 0,
        feature_stages=tuple(stage for stage, count in enumerate(anchors_in_stages(scenario)) if count),
        control=scenario.runtime.control,
        sampled=scenario.runtime.sampling == "sampled",
        messages=scenario.runtime.messages,
        width=scenario.draft.width if stages > 1 else 1,
    )


def group_size(scenario: Scenario) -> int:
    """Return the number of devices of a stage."""
    return scenario.partition.tensor_parallel


def place(scenario: Scenario) -> tuple[Worker, ...]:
    """Return the workers and their (first) devices: those of `devices.workers`, or by the rule above.

    A list that is not one device for each worker is left aside: in a scenario that was checked the list fits, and
    where such a scenario is cut anew, to see what would fit, the rule must serve.
    """
    layout, written = layout_of(scenario), scenario.devices.workers
    is_listed = written is not None and len(written) == layout.num_workers and max(written) < scenario.devices.count
    devices = written if written is not None and is_listed else _by_rule(scenario, layout)
    return tuple(Worker(index, layout.role(index), devices[index]) for index in range(layout.num_workers))


def devices_of(scenario: Scenario, worker: Worker) -> range:
    """Return the devices that a placed worker runs on: a stage's group, or one."""
    size = group_size(scenario) if worker.role == "stage" else 1
    return range(worker.device, worker.device + size)


def has_room(scenario: Scenario) -> bool:
    """Whether there are as many devices as the workers are placed on."""
    return devices_needed(scenario) <= scenario.devices.count


def devices_needed(scenario: Scenario) -> int:
    """Return how many devices there must be for the workers to be where they are placed."""
    return max(devices_of(scenario, worker).stop for worker in place(scenario))


def units_of(scenario: Scenario) -> tuple[range, ...]:
    """Return what workers take turns on, in the order of devices: every stage's group, and every other device."""
    groups = {devices_of(scenario, worker) for worker in place(scenario) if worker.role == "stage"}
    grouped = {device for group in groups for device in group}
    others = {range(device, device + 1) for device in range(scenario.devices.count) if device not in grouped}
    return tuple(sorted(groups | others, key=lambda unit: unit.start))


def unit_indices(scenario: Scenario) -> tuple[int, ...]:
    """Return the index in `units_of` of each worker's unit."""
    units = units_of(scenario)
    return tuple(next(index for index, unit in enumerate(units) if worker.device in unit) for worker in place(scenario))


def head_shards(scenario: Scenario, layout: Layout) -> int:
    """Return over how many devices a sharded LM head is cut: those of every worker."""
    return layout.num_workers + layout.num_stages * (group_size(scenario) - 1)


def num_nodes_used(devices: Devices, workers: Iterable[Worker]) -> int:
    """Return how many nodes hold at least one of `workers`."""
    return len({devices.node_of(worker.device) for worker in workers})


def _by_rule(scenario: Scenario, layout: Layout) -> tuple[int, ...]:
    """The (first) device of each worker."""
    if group_size(scenario) > 1:
        return _in_groups(scenario, layout)
    n, count = layout.num_stages, scenario.devices.count
    first = int(n > 1 and scenario.draft.placement == "own_device" and count > 1)
    has_head = layout.num_workers == n + 2
    num_stage_devices = min(n, max(1, count - first - has_head))
    stages = tuple(first + stage * num_stage_devices // n for stage in range(n))
    draft = (0,) if n > 1 else ()
    head = (min(first + num_stage_devices, count - 1),) if has_head else ()
    return draft + stages + head


def _in_groups(scenario: Scenario, layout: Layout) -> tuple[int, ...]:
    n, size, per_node = layout.num_stages, group_size(scenario), scenario.devices.per_node
    free = int(n > 1 and scenario.draft.placement == "own_device")
    stages = []
    for _ in range(n):
        if per_node is not None and free % per_node + size > per_node:
            free += -free % per_node
        stages.append(free)
        free += size
    draft = (0,) if n > 1 else ()
    return (*draft, *stages, *((free,) if layout.num_workers == n + 2 else ()))
