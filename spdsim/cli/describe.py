"""A scenario in a few lines, for the top of a report."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from spdsim.machine import Machine
    from spdsim.methods import Method
    from spdsim.scenario import Scenario
    from spdsim.trace import TraceHeader

_LM_HEAD = {
    "draft_rank": "on the draft rank", "last_stage": "on the last stage", "sharded": "sharded over the ranks",
    "own_device": "on a device of its own",
}  # fmt: skip


def title(scenario: "Scenario") -> str:
    """Return the scenario's name and what it says of itself."""
    return f"{scenario.name}: {scenario.description}" if scenario.description else scenario.name


def lines(scenario: "Scenario", machine: "Machine") -> list[str]:
    """Return what was simulated: the machine, the schedule, the work."""
    from spdsim.scenario.placement import layout_of

    layout = layout_of(scenario)
    workers = _plural(len(machine.workers), "worker")
    devices = f"{_plural(scenario.devices.count, 'device')} ({scenario.devices.gpu.name}), {workers}"
    tree = f"trees of width {layout.width}, " * (layout.width > 1)
    schedule = f"{tree}LM head {_LM_HEAD[layout.lm_head]}, verification lag {layout.verification_lag}"
    size = scenario.partition.tensor_parallel
    stages = _plural(layout.num_stages, "stage") + (f" of {size} devices" if size > 1 else "")
    if layout.num_stages == 1:
        schedule = "plain decoding"
    return [f"{scenario.model.name} on {devices}; {stages}, {schedule}", _work(scenario)]


def method_lines(scenario: "Scenario", method: "Method") -> list[str]:
    """Return what was simulated by another method: the machine, the method, the work."""
    devices = f"{_plural(method.num_devices, 'device')} ({scenario.devices.gpu.name})"
    return [f"{scenario.model.name} on {devices}; {method.title}", _work(scenario)]


def _work(scenario: "Scenario") -> str:
    workload = scenario.workload
    tokens = workload.new_tokens if isinstance(workload.new_tokens, int) else f"up to {workload.max_new_tokens}"
    return (
        f"{workload.prompt_tokens} prompt and {tokens} new tokens, {_plural(workload.sequences, 'sequence')} "
        f"in each of {_plural(scenario.replications, 'replication')}, seed {scenario.seed}"
    )


def recorded(header: "TraceHeader") -> list[str]:
    """Return what a trace says of the run: the machine and the schedule."""
    workers, devices = len(header.workers), _num_devices(header)
    return [
        f"{header.method}: {_plural(header.num_stages, 'stage')}, verification lag {header.verification_lag}; "
        f"{_plural(workers, 'worker')} on {_plural(devices, 'device')}"
    ]


def _num_devices(header: "TraceHeader") -> int:
    """Count the devices of a trace's workers; a stage's name of a device may stand for a group of them."""
    groups = {worker.device for worker in header.workers if worker.role == "stage"}
    return len({worker.device for worker in header.workers}) + len(groups) * (header.devices_per_stage - 1)


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}" + ("" if count == 1 else "s")
