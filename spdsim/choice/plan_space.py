"""The designs that there are for a scenario's devices: which are looked at, which of them can be had, and why not.

Each is cut so that no device has more to do in a cycle than it must, within memory.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from math import ceil

from spdsim.choice.plan_balance import balanced
from spdsim.choice.plan_design import LM_HEADS, PLACEMENTS, Design, design_of, with_design
from spdsim.distributions import mean_s
from spdsim.machine import Duration
from spdsim.scenario import Scenario, layout_of
from spdsim.scenario.acceptance import ByDraftLayers
from spdsim.scenario.collectives import all_reduce_of
from spdsim.scenario.memory import device_bytes, devices_that_fit, fits, layer_bytes, show_bytes, states_kept
from spdsim.scenario.placement import devices_of, has_room, place
from spdsim.scenario.times import ProfileTimes
from spdsim.schedules.ops import Task
from spdsim.timing import durations_of

_WIDTHS = (1, 2, 4, 8)
_LAGS = (0, 1, 2)

NO_ALL_REDUCE = "no all-reduce is known"
TOO_FEW = "too few devices in a node"
TOO_FULL = "a device is too full"


@dataclass(slots=True)
class Space:
    """The designs of a scenario. kept: what the search leaves as it is written, and why, a sentence each.

    infeasible: how many designs cannot be had, by reason; nearest: that which lacks the fewest bytes on its fullest
    device, and those bytes.
    """

    scenario: Scenario
    kept: list[str] = field(default_factory=list)
    infeasible: Counter[str] = field(default_factory=Counter)
    nearest: tuple[float, Design] | None = None
    _layers_s: dict[int, tuple[float, ...]] = field(default_factory=dict)

    def designs(self) -> Iterator[Design | None]:
        """Yield every design that can be had, cut evenly by time, and None for each that cannot."""
        for design in families(self.scenario, self.kept):
            yield self._cut(design)

    def lack(self) -> str:
        """Return what the nearest design lacks, and how many devices would do."""
        gpu = self.scenario.devices.gpu
        if self.nearest is None:
            reasons = ", ".join(f"{reason} ({count})" for reason, count in sorted(self.infeasible.items()))
            return reasons or "there is none to look at"
        over, design = self.nearest
        near = with_design(self.scenario, design)
        enough = devices_that_fit(near)
        ways = "no number of these would fit" if enough is None else f"{enough} devices would fit"
        return (
            f"the nearest, {design.words}, needs {show_bytes(max(device_bytes(near)))} on a device where "
            f"{gpu.name} has {show_bytes(gpu.memory_bytes or 0.0)}: {show_bytes(over)} too much; {ways}"
        )

    def _cut(self, design: Design) -> Design | None:
        scenario = with_design(self.scenario, design)
        if design.tensor_parallel > 1:
            if all_reduce_of(scenario) is None:
                self.infeasible[NO_ALL_REDUCE] += 1
                return None
            if not has_room(scenario) or design.tensor_parallel > _per_node(scenario):
                self.infeasible[TOO_FEW] += 1
                return None
        if design.tensor_parallel not in self._layers_s:
            self._layers_s[design.tensor_parallel] = layers_s(scenario)
        loads = loads_of(scenario, self._layers_s[design.tensor_parallel])
        if has_whole_stages(scenario):
            layers: tuple[int, ...] | None = design_of(self.scenario).layers
        else:
            layers = balanced(loads.layers_s, loads.beside_s, loads.layers_bytes, loads.room_bytes)
        if layers is not None and fits(with_design(self.scenario, found := replace(design, layers=layers))):
            return found
        self._note_nearest(design, loads)
        return None

    def _note_nearest(self, design: Design, loads: "Loads") -> None:
        """Count a design that is too full, and keep it if it lacks less than any before."""
        self.infeasible[TOO_FULL] += 1
        most = max(loads.room_bytes)
        # The cut whose fullest device is emptiest: what is held stands in the place of time.
        layers = balanced(loads.layers_bytes, tuple(most - room for room in loads.room_bytes))
        least = replace(design, layers=layers or ())
        over = max(device_bytes(with_design(self.scenario, least))) - (self.scenario.devices.gpu.memory_bytes or 0.0)
        if self.nearest is None or over < self.nearest[0]:
            self.nearest = over, least


@dataclass(frozen=True, slots=True)
class Loads:
    """What the layers and what is beside them take: seconds of a cycle, and bytes of a device.

    beside_s, room_bytes: by stage; the room is what its layers may hold on each of its devices.
    """

    layers_s: tuple[float, ...]
    beside_s: tuple[float, ...]
    layers_bytes: tuple[float, ...]
    room_bytes: tuple[float, ...]


def families(scenario: Scenario, kept: list[str]) -> Iterator[Design]:
    """Yield every design of a scenario's devices, without a cut; tell in `kept` what is not tried, and why."""
    written, count = design_of(scenario), scenario.devices.count
    widths = _widths(scenario, kept)
    depths = _depths(scenario, kept)
    lags = _lags(scenario, kept)
    if whole := has_whole_stages(scenario):
        kept.append("stages and layers as written: the profile's `forward` is of that cut; forward_per_layer tells all")
        kept.append("no plain method to compare with, for the same reason")
    for width in widths:
        for placement in PLACEMENTS:
            for lm_head in LM_HEADS:
                own = (placement == "own_device") + (lm_head == "own_device")
                most = min((count - own) // width, scenario.model.num_layers)
                for stages in range(2, most + 1):
                    if whole and stages != written.stages:
                        continue
                    for lag in lags:
                        yield from (Design(stages, width, lm_head, lag, placement, depth) for depth in depths)


def loads_of(scenario: Scenario, each_s: tuple[float, ...]) -> Loads:
    """Return what the stages of a scenario have to bear, each layer so many seconds; no rule is held against it."""
    layout, size = layout_of(scenario), scenario.partition.tensor_parallel
    duration, middle = durations_of(scenario, layout), _middle_tokens(scenario)
    drafts_and_heads: list[tuple[int, Task]] = [(0, "draft")]
    if layout.lm_head == "sharded":
        drafts_and_heads += [(worker, "verify") for worker in range(layout.num_workers)]
    else:
        drafts_and_heads.append((layout.verdict_source, "verify"))
    workers = place(scenario)
    groups = [devices_of(scenario, worker) for worker in workers if worker.role == "stage"]
    beside_s = [0.0] * layout.num_stages
    for worker, task in drafts_and_heads:
        for stage, group in enumerate(groups):
            if workers[worker].device in group:
                beside_s[stage] += seconds(duration(worker, task), middle)
    states = states_kept(layout)
    layers_bytes = [layer_bytes(scenario, layer, states) / size for layer in scenario.model.layers]
    held, room_bytes = device_bytes(scenario), []
    first, memory_bytes = 0, scenario.devices.gpu.memory_bytes or float("inf")
    for group, num_layers in zip(groups, design_of(scenario).layers, strict=True):
        own = ceil(sum(layers_bytes[first : first + num_layers]))
        room_bytes.append(memory_bytes - max(held[device] for device in group) + own)
        first += num_layers
    return Loads(each_s, tuple(beside_s), tuple(layers_bytes), tuple(room_bytes))


def seconds(duration: Duration, context_tokens: float) -> float:
    """Return mean seconds of a task at a context: the device's, or the host's where it issues it more slowly."""
    device_s = mean_s(duration.at_depth(1_000_000)) + duration.per_context_token_s * context_tokens
    return max(device_s, duration.issue.total_s if duration.issue is not None else 0.0)


def layers_s(scenario: Scenario) -> tuple[float, ...]:
    """Return seconds of each layer, without what a stage takes once."""
    num_layers, middle = scenario.model.num_layers, _middle_tokens(scenario)
    if num_layers < 2:
        return (1.0,) * num_layers

    def stages_s(cut: tuple[int, ...]) -> list[float]:
        partition = scenario.partition.model_copy(update={"stages": len(cut), "layers": cut})
        changed = scenario.model_copy(update={"partition": partition})
        layout = layout_of(changed)
        duration = durations_of(changed, layout)
        workers = range(layout.worker_of_stage(0), layout.worker_of_stage(0) + len(cut))
        return [seconds(duration(worker, "forward"), middle) for worker in workers]

    alone_s, (both_s, *_) = stages_s((1,) * num_layers), stages_s((2, *(1,) * (num_layers - 2)))
    once_s = alone_s[0] + alone_s[1] - both_s
    return tuple(max(each_s - once_s, 0.0) for each_s in alone_s)


def _widths(scenario: Scenario, kept: list[str]) -> tuple[int, ...]:
    written = scenario.partition.tensor_parallel
    if isinstance(scenario.timing, ProfileTimes):
        kept.append("one device a stage: a profile has no times of tensor-parallel stages")
        return (1,)
    return tuple(sorted({*_WIDTHS, written}))


def _lags(scenario: Scenario, kept: list[str]) -> tuple[int, ...]:
    if scenario.draft.width == 1:
        return _LAGS
    kept.append(f"verification lag 0: draft.width is {scenario.draft.width}, and a tree's verdict cannot be late")
    return (0,)


def _depths(scenario: Scenario, kept: list[str]) -> tuple[int, ...]:
    """The draft module's depths whose acceptance is known."""
    written = scenario.draft.layers
    if not isinstance(scenario.acceptance, ByDraftLayers):
        layers = "layer" if written == 1 else "layers"
        kept.append(f"draft module of {written} {layers}: acceptance of kind by_draft_layers would tell other depths")
        return (written,)
    if isinstance(scenario.timing, ProfileTimes) and scenario.timing.profile.draft is not None:
        kept.append("depth of the draft module as written: the profile's `draft` is of it; draft_per_layer tells all")
        return (written,)
    return tuple(sorted(scenario.acceptance.p))


def has_whole_stages(scenario: Scenario) -> bool:
    """Whether the times are those of the stages of one cut, whatever their layers."""
    return isinstance(scenario.timing, ProfileTimes) and scenario.timing.profile.forward is not None


def _per_node(scenario: Scenario) -> int:
    return scenario.devices.per_node or scenario.devices.count


def _middle_tokens(scenario: Scenario) -> float:
    """Tokens of context half way through the longest output."""
    return scenario.workload.prompt_tokens + scenario.workload.max_new_tokens / 2.0
