"""Plain decoding, which drafts nothing: on one device, tensor-parallel over several, over a pipeline."""

from dataclasses import replace

from spdsim.acceptance import Bernoulli
from spdsim.distributions import Constant, mean_s
from spdsim.machine import Duration, Link, Machine, Message, Worker
from spdsim.methods.method import CannotBeHadError, Method
from spdsim.methods.target import Target, target_on, targets
from spdsim.scenario import Scenario
from spdsim.scenario.collectives import all_reduce_of
from spdsim.schedules import plain_pipeline, plain_tensor
from spdsim.schedules.ops import Payload, Task

_ALWAYS = Bernoulli(1.0)


def one_device(scenario: Scenario) -> Method:
    """Return plain decoding on one device. Raises CannotBeHadError if the target does not fit it."""
    target = target_on(scenario, "one_device", 1)
    return _method("plain", "plain decoding on one device", target, target.machine)


def tensor_parallel(scenario: Scenario) -> Method:
    """Return plain decoding on the tensor-parallel group that decodes soonest. Raises CannotBeHadError if none fits."""
    found = [target for target in targets(scenario, scenario.devices.count) if target.spread == "tensor_parallel"]
    if not found:
        # Say why the largest group that there could be is none.
        target_on(scenario, "tensor_parallel", max((k for k in (2, 4, 8) if k <= scenario.devices.count), default=2))
        raise CannotBeHadError("no group of devices fits")
    target = min(found, key=lambda each: each.step_s())
    title = f"plain decoding, tensor-parallel on {target.num_devices}"
    return _method("tensor_parallel", title, target, _machine_of_shards(target))


def pipeline(scenario: Scenario) -> Method:
    """Return plain decoding over a pipeline of all devices. Raises CannotBeHadError if the target does not fit."""
    if scenario.devices.count < 2:
        raise CannotBeHadError("a pipeline needs two devices or more")
    target = target_on(scenario, "pipeline", min(scenario.devices.count, scenario.model.num_layers))
    title = f"plain decoding over {target.num_devices} stages"
    return _method("plain_pipeline", title, target, _machine_of_stages(target))


def _method(key: str, title: str, target: Target, machine: Machine) -> Method:
    return Method(
        key, title, machine, _ALWAYS, target.num_devices, target.device_bytes, target.step_s() + target.commit_s,
        is_plain=True,
    )  # fmt: skip


def _machine_of_shards(target: Target) -> Machine:
    """Every device a worker; the all-reduces, which the target's times hold, taken out of them as messages."""
    base, count, scenario = target.machine, target.num_devices, target.scenario
    known = all_reduce_of(scenario)
    assert known is not None
    reduce_s = known[0]
    layers = scenario.model.num_layers
    meeting_s: dict[Task, float] = {"forward": 2 * layers * reduce_s, "verify": reduce_s, "prefill": 0.0}
    tasks: dict[tuple[int, Task], Duration] = {(0, "commit"): base.tasks[0, "commit"]}
    for task, seconds in meeting_s.items():
        whole = base.tasks[0, task]
        alone = replace(whole, base=Constant(mean_s(whole.base) - seconds))
        tasks |= {(worker, task): alone for worker in range(count)}
    exchanged: tuple[tuple[Payload, Task, int], ...] = (
        ("hidden", "forward", 2 * layers * scenario.model.state_vector_bytes), ("partial", "verify", 12),
    )  # fmt: skip
    links, messages = [], dict[tuple[Payload, int, int], Message]()
    for worker in range(count):
        to = (worker + 1) % count
        links.append(Link(f"all-reduce {worker} to {to}"))
        for payload, task, num_bytes in exchanged:
            transit = Constant(meeting_s[task])
            # The prefill's all-reduces are in its own time.
            prefill = Constant(0.0 if payload == "hidden" else meeting_s[task])
            messages[payload, worker, to] = Message(worker, num_bytes, num_bytes, transit, prefill, receipt="posted")
    name = scenario.devices.gpu.name
    return replace(
        base, layout=plain_tensor.Layout(count), schedule=plain_tensor,
        workers=tuple(Worker(w, "shard" if w else "stage", w) for w in range(count)),
        devices=tuple(f"{name} {device}" for device in range(count)), nodes=(0,) * count,
        tasks=tasks, links=tuple(links), messages=messages,
    )  # fmt: skip


def _machine_of_stages(target: Target) -> Machine:
    """The target's own workers without the one that would draft."""
    base, count = target.machine, target.num_stages
    tasks: dict[tuple[int, Task], Duration] = {
        (0, "commit"): base.tasks[0, "commit"],
        (count - 1, "verify"): target.verify(),
    }
    forwards = target.forwards()
    for stage in range(count):
        tasks[stage, "forward"], tasks[stage, "prefill"] = forwards[stage], target.prefills[stage]
    messages: dict[tuple[Payload, int, int], Message] = {
        ("hidden", stage, stage + 1): hop for stage, hop in enumerate(target.hops)
    }
    messages["verdict", count - 1, 0] = base.messages["verdict", count, 0]
    workers = tuple(Worker(stage, "stage", base.workers[stage + 1].device) for stage in range(count))
    return replace(
        base, layout=plain_pipeline.Layout(count), schedule=plain_pipeline, workers=workers, tasks=tasks,
        messages=messages,
    )  # fmt: skip
