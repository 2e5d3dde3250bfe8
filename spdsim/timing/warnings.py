"""What must be said of a machine before its times are believed."""

from collections.abc import Iterator, Mapping

from spdsim.distributions import mean_s
from spdsim.machine import Duration
from spdsim.scenario.acceptance import ByWidth, Replay
from spdsim.scenario.memory import device_bytes, fits, show_bytes, stages_that_fit, target_bytes
from spdsim.scenario.model import Scenario
from spdsim.scenario.placement import group_size
from spdsim.scenario.times import ProfileTimes
from spdsim.schedules.ops import Task
from spdsim.schedules.spd import Layout
from spdsim.timing.profile_range import outside


def warnings_of(scenario: Scenario, layout: Layout, tasks: Mapping[tuple[int, Task], Duration]) -> Iterator[str]:
    """Yield what a reader must know before believing the result."""
    yield from _memory_warnings(scenario)
    yield from _host_warnings(scenario, layout, tasks)
    yield from _shard_warnings(scenario)
    if layout.width > 1:
        yield from _tree_warnings(scenario)
    if isinstance(scenario.acceptance, ByWidth) and layout.num_stages > 1:
        yield from _narrow_warnings(scenario.acceptance, layout.width)
    if isinstance(scenario.timing, ProfileTimes):
        yield from outside(scenario, scenario.timing.profile)
    if isinstance(scenario.acceptance, Replay):
        yield from _replay_warnings(scenario.acceptance.accepted or (), scenario)


def _memory_warnings(scenario: Scenario) -> Iterator[str]:
    """Tell the fullest device, if it has too little memory."""
    gpu = scenario.devices.gpu
    if gpu.memory_bytes is None or fits(scenario):
        return
    held = device_bytes(scenario)
    worst, stages = held.index(max(held)), stages_that_fit(scenario)
    remedy = "no number of stages fits these devices" if stages is None else f"{stages} stages or more would fit"
    room = f"would need {show_bytes(held[worst])}, has {show_bytes(gpu.memory_bytes)}"
    yield f"hypothetical: device {worst} {room}; {remedy}"


def _shard_warnings(scenario: Scenario) -> Iterator[str]:
    """Tell where the heads of attention cannot be dealt out evenly to the devices of a stage."""
    model, size = scenario.model, group_size(scenario)
    kinds = {layer.kind for layer in model.layers}
    heads = [("query heads", model.num_heads)] if "attention" in kinds else []
    heads += [("value heads", model.linear_num_value_heads or 0)] if "gated_delta" in kinds else []
    for what, count in heads:
        if count % size:
            yield f"tensor_parallel {size} does not divide the model's {count} {what}: counted as if it did"
    kv_heads = model.num_kv_heads
    if "attention" in kinds and kv_heads % size and size % kv_heads:
        yield f"tensor_parallel {size} does not divide the model's {kv_heads} key and value heads: counted as if it did"
    elif "attention" in kinds and size > kv_heads:
        copies = "some are kept more than once, but are counted as if they were cut"
        yield f"tensor_parallel {size} is more than the model's {kv_heads} key and value heads: {copies}"


def _tree_warnings(scenario: Scenario) -> Iterator[str]:
    """Tell what a tree's acceptance rests on, and that nothing can run it where states are recurrent."""
    width, kind = scenario.draft.width, scenario.acceptance.kind
    if not isinstance(scenario.acceptance, ByWidth | Replay):
        yield f"draft.width {width}: acceptance of kind {kind} is taken to be that of a tree so wide; by_width tells"
    if any(layer.kind == "gated_delta" for layer in scenario.model.layers):
        yield f"hypothetical: draft.width {width} with recurrent states, which the executor cannot branch yet"


def _narrow_warnings(acceptance: ByWidth, width: int) -> Iterator[str]:
    """Tell that a level is narrower than all that are known, and so that its acceptance is lower than it is taken."""
    if width < (narrowest := min(acceptance.p)):
        yield f"acceptance.p begins at a width of {narrowest}: draft.width {width} has its acceptance here, so too much"


def _replay_warnings(records: tuple[str, ...], scenario: Scenario) -> Iterator[str]:
    """Tell what the records cannot give: tokens beyond their end, and sequences of their own for the interval."""
    num_sequences, wanted = scenario.workload.sequences * scenario.replications, scenario.workload.max_new_tokens
    used = records[:num_sequences]
    short = sum(len(record) + 1 < wanted for record in used)
    if short:
        tokens = f"has verdicts for fewer than the {wanted} new tokens: a sequence ends where its record ends"
        yield f"the record of {short} of {len(used)} sequences {tokens}"
    if len(records) < num_sequences:
        repeated = f"{len(records)} recorded of {num_sequences} sequences to decode"
        yield f"{repeated}: records repeat, so the intervals are too narrow"


def _host_warnings(scenario: Scenario, layout: Layout, tasks: Mapping[tuple[int, Task], Duration]) -> Iterator[str]:
    """Tell that the stages wait for their hosts, and what would mend it."""
    forwards = [tasks[layout.worker_of_stage(stage), "forward"] for stage in range(layout.num_stages)]
    issued = [(time.issue.total_s, mean_s(time.base)) for time in forwards if time.issue is not None]
    host_s, device_s = max(issued, default=(0.0, 0.0))
    if host_s > 1.1 * device_s:
        times = f"a host issues a stage in {host_s * 1e3:.3g} ms, its device needs {device_s * 1e3:.3g} ms"
        is_graph = scenario.runtime.launch == "cuda_graph"
        remedy = "" if is_graph else "; as a CUDA graph (runtime.launch) it would not wait for it"
        yield f"launch {scenario.runtime.launch}: {times}{remedy}"


def fits_one_device(scenario: Scenario) -> bool:
    """Whether the whole target fits one device; True where the memory is not known."""
    memory_bytes = scenario.devices.gpu.memory_bytes
    return memory_bytes is None or target_bytes(scenario) <= memory_bytes
