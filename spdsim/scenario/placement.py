"""Who runs where: layers of stages, devices of workers, anchors of the draft module.

The rule of placement. The draft rank is on device 0. If it has a device of its own, the stages start on device 1,
otherwise on device 0; one device each, and the LM head's own worker on the device after them. Where there are
too few devices, stages share them in contiguous, balanced blocks; the draft rank keeps its device as long as
there are two, the LM head's worker as long as the stages keep one. With one stage there is one worker, on device 0.
A list of devices in the scenario (`devices.workers`) takes the place of the rule.
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
    """Return the options of the schedule; with one stage the verification lag is 0."""
    stages = scenario.partition.stages
    return Layout(
        num_stages=stages,
        lm_head=scenario.partition.lm_head,
        verification_lag=scenario.partition.verification_lag if stages > 1 else 0,
        feature_stages=tuple(stage for stage, count in enumerate(anchors_in_stages(scenario)) if count),
        control=scenario.runtime.control,
        sampled=scenario.runtime.sampling == "sampled",
        messages=scenario.runtime.messages,
    )


def place(scenario: Scenario) -> tuple[Worker, ...]:
    """Return the workers and their devices: those of `devices.workers`, or by the rule above.

    A list that is not one device for each worker is left aside: in a scenario that was checked the list fits, and
    where such a scenario is cut anew, to see what would fit, the rule must serve.
    """
    layout, written = layout_of(scenario), scenario.devices.workers
    is_listed = written is not None and len(written) == layout.num_workers and max(written) < scenario.devices.count
    devices = written if written is not None and is_listed else _by_rule(scenario, layout)
    return tuple(Worker(index, layout.role(index), devices[index]) for index in range(layout.num_workers))


def num_nodes_used(devices: Devices, workers: Iterable[Worker]) -> int:
    """Return how many nodes hold at least one of `workers`."""
    return len({devices.node_of(worker.device) for worker in workers})


def _by_rule(scenario: Scenario, layout: Layout) -> tuple[int, ...]:
    """The device of each worker."""
    n, count = layout.num_stages, scenario.devices.count
    first = int(n > 1 and scenario.draft.placement == "own_device" and count > 1)
    has_head = layout.num_workers == n + 2
    num_stage_devices = min(n, max(1, count - first - has_head))
    stages = tuple(first + stage * num_stage_devices // n for stage in range(n))
    draft = (0,) if n > 1 else ()
    head = (min(first + num_stage_devices, count - 1),) if has_head else ()
    return draft + stages + head
