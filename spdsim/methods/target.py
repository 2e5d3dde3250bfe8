"""The target on some of a scenario's devices, looking at one token at a time or at a few: what most methods build on.

Its times are those of the scenario itself, cut anew: `spdsim.timing` works them out, and nothing here does.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from spdsim.distributions import Constant
from spdsim.errors import ScenarioError
from spdsim.machine import Duration, Machine, Message, Origin
from spdsim.methods.durations import mean_s, of_rows
from spdsim.methods.method import CannotBeHadError
from spdsim.scenario import Scenario
from spdsim.scenario.memory import device_bytes, draft_bytes, fits, show_bytes
from spdsim.scenario.model import Draft, Partition
from spdsim.scenario.placement import layout_of
from spdsim.scenario.rows import rows_factor
from spdsim.scenario.times import ProfileTimes, Roofline
from spdsim.timing import machine_of
from spdsim.timing.plain import decode_times
from spdsim.timing.profile import profile_duration

Spread = Literal["one_device", "tensor_parallel", "pipeline"]

_WORDS = {"one_device": "one device", "tensor_parallel": "tensor-parallel on {}", "pipeline": "{} stages"}


@dataclass(frozen=True)
class Target:
    """The target over `num_devices` devices, spread so that they work together or one after another.

    scenario: cut that way. machine: its own, for one token at a time; with a pipeline worker 0 drafts in it, on the
    device of stage 0. Raises CannotBeHadError, when made by `target_on`, if it does not fit or nothing is known.
    """

    scenario: Scenario
    spread: Spread
    num_devices: int
    machine: Machine
    _factors: dict[tuple[int, int], tuple[float, float]] = field(default_factory=dict, compare=False, repr=False)

    @property
    def words(self) -> str:
        """How it is spread, for people."""
        return _WORDS[self.spread].format(self.num_devices)

    @property
    def num_stages(self) -> int:
        """Workers that run a stage of it."""
        return self.machine.layout.num_stages

    @property
    def first(self) -> int:
        """The worker of stage 0 in `machine`."""
        return int(self.num_stages > 1)

    @cached_property
    def device_bytes(self) -> int:
        """What the fullest device holds, without the draft module that its scenario has."""
        held = device_bytes(self.scenario)
        held[0] -= draft_bytes(self.scenario) * (self.num_stages > 1)
        return max(held)

    @cached_property
    def context_tokens(self) -> float:
        """Tokens of context half way through the longest output."""
        workload = self.scenario.workload
        return workload.prompt_tokens + workload.max_new_tokens / 2.0

    def forwards(self, rows: int = 1) -> tuple[Duration, ...]:
        """Return the duration of each stage's forward for `rows` tokens at once."""
        factor = self.factors(rows)[0]
        workers = range(self.first, self.first + self.num_stages)
        return tuple(of_rows(self.machine.tasks[worker, "forward"], factor) for worker in workers)

    def verify(self, rows: int = 1) -> Duration:
        """Return the duration of the LM head for `rows` tokens at once."""
        last = self.first + self.num_stages - 1
        return of_rows(self.machine.tasks[last, "verify"], self.factors(rows)[1])

    @property
    def prefills(self) -> tuple[Duration, ...]:
        """The duration of each stage's prefill."""
        return tuple(self.machine.tasks[self.first + stage, "prefill"] for stage in range(self.num_stages))

    @property
    def rollbacks(self) -> tuple[Duration, ...]:
        """The duration of each stage's rollback."""
        timing, scenario = self.scenario.timing, self.scenario
        if isinstance(timing, Roofline):
            return (Duration(Constant(timing.rollback_s)),) * self.num_stages
        layout, first = layout_of(scenario), self.first
        return tuple(
            profile_duration(scenario, layout, timing.profile, first + stage, "rollback")
            for stage in range(self.num_stages)
        )

    @property
    def commit_s(self) -> float:
        """Seconds of the host's bookkeeping for a verdict."""
        return mean_s(self.machine.tasks[0, "commit"], 0.0)

    @property
    def hops(self) -> tuple[Message, ...]:
        """The messages with the hidden state from stage to stage."""
        return tuple(self.machine.messages["hidden", stage, stage + 1] for stage in range(1, self.num_stages))

    def step_s(self, rows: int = 1) -> float:
        """Return mean seconds from one token to the next on the devices and their links, hosts left out."""
        hops_s = sum(mean_s(Duration(message.transit), 0.0) for message in self.hops)
        return sum(mean_s(part, self.context_tokens) for part in (*self.forwards(rows), self.verify(rows))) + hops_s

    def factors(self, rows: int, sequences: int = 1) -> tuple[float, float]:
        """Return what a forward and the LM head take for `rows` tokens of so many sequences, over those for one.

        Of the forward what does not grow with the context: to read it is each sequence's own affair.
        """
        asked = rows, sequences
        if asked not in self._factors:
            devices = self.num_devices if self.spread == "tensor_parallel" else 1
            self._factors[asked] = batch_factors(self.scenario, rows, sequences, devices)
        return self._factors[asked]


def batch_factors(scenario: Scenario, rows: int, sequences: int, num_devices: int) -> tuple[float, float]:
    """Return what a forward (context left out) and the LM head take for `rows` tokens, over what they take for one.

    sequences: that the tokens belong to. num_devices: of a tensor-parallel group, or 1. The whole model stands for each
    of its stages. Raises CannotBeHadError if nothing is known of the group's all-reduce.
    """
    timing = scenario.timing
    if rows == 1:
        return 1.0, 1.0
    if not isinstance(timing, Roofline):
        # A profile has the times of one token; how they grow is published for large matrices.
        return rows_factor(rows), rows_factor(rows)
    given_s = scenario.links.all_reduce_s if num_devices > 1 else None
    several, one = (
        decode_times(
            scenario.model, scenario.devices.gpu, scenario.runtime.launch,
            context_tokens=scenario.workload.prompt_tokens, num_devices=num_devices, rows=number, sequences=among,
            all_reduce_s=given_s, all_reduce=scenario.links.all_reduce, roofline=timing,
            is_sampled=scenario.runtime.sampling == "sampled",
        )
        for number, among in ((rows, sequences), (1, 1))
    )  # fmt: skip
    if several is None or one is None:
        raise CannotBeHadError(f"nothing is known of an all-reduce of {rows} hidden states over {num_devices} devices")
    return several.fixed_s / one.fixed_s, several.head_s / one.head_s


def target_on(scenario: Scenario, spread: Spread, num_devices: int, *, is_drafter_apart: bool = False) -> Target:
    """Return the target over `num_devices` devices. Raises CannotBeHadError if that is not possible.

    is_drafter_apart: with a pipeline, worker 0 is on a device of its own, before those of the stages.
    """
    refuse_whole_stages(scenario, num_devices if spread == "pipeline" else 1)
    partition: dict[str, object] = {"stages": 1, "layers": "even", "verification_lag": 0, "tensor_parallel": 1}
    if spread == "tensor_parallel":
        partition["tensor_parallel"] = num_devices
    elif spread == "pipeline":
        partition |= {"stages": num_devices, "lm_head": "last_stage"}
    return _checked(_recut(scenario, partition, num_devices, is_drafter_apart), spread, num_devices)


def refuse_whole_stages(scenario: Scenario, num_stages: int) -> None:
    """Raise CannotBeHadError where the times are those of whole stages, and there would be another number of them."""
    timing = scenario.timing
    is_whole = isinstance(timing, ProfileTimes) and timing.profile.forward is not None
    if is_whole and num_stages != scenario.partition.stages:
        stages = f"{num_stages} stage{'' if num_stages == 1 else 's'}"
        raise CannotBeHadError(
            f"the profile has the time of whole stages, not of {stages}: give forward_per_layer in place of forward"
        )


def targets(scenario: Scenario, num_devices: int) -> Iterator[Target]:
    """Yield the target in every way that fits up to `num_devices` devices."""
    sizes = [size for size in (2, 4, 8) if size <= num_devices]
    ways: list[tuple[Spread, int]] = [("one_device", 1), *(("tensor_parallel", size) for size in sizes)]
    if num_devices > 1:
        ways.append(("pipeline", min(num_devices, scenario.model.num_layers)))
    for spread, size in ways:
        try:
            yield target_on(scenario, spread, size)
        except CannotBeHadError:
            continue


def best_target(scenario: Scenario, num_devices: int) -> Target:
    """Return the way that decodes a token soonest. Raises CannotBeHadError if none fits."""
    found = list(targets(scenario, num_devices))
    if not found:
        raise CannotBeHadError(f"the target does not fit on {num_devices} devices in any way that is known here")
    return min(found, key=lambda target: target.step_s())


def _recut(scenario: Scenario, partition: dict[str, object], num_stages: int, is_drafter_apart: bool) -> Scenario:
    written, num_devices = scenario.partition.model_dump() | partition, num_stages + is_drafter_apart
    placement = "own_device" if is_drafter_apart else "stage_0"
    devices = scenario.devices.model_copy(
        update={"workers": None, "count": num_devices, "per_node": _per_node(scenario, num_devices), "nodes": None}
    )
    draft = Draft.model_validate(
        scenario.draft.model_dump() | {"placement": placement, "layers": 1, "anchors": 1, "width": 1}
    )
    links, size = scenario.links, scenario.partition.tensor_parallel
    if size > 1 and written["tensor_parallel"] != size:
        # What was given of one group says nothing of another.
        links = links.model_copy(update={"all_reduce_s": None})
    cut = {"partition": Partition.model_validate(written), "devices": devices, "draft": draft, "links": links}
    return scenario.model_copy(update=cut)


def others(origins: tuple[Origin, ...]) -> tuple[Origin, ...]:
    """Return what the target's figures rest on: SPD's acceptance is none of them."""
    return tuple(origin for origin in origins if origin.what != "acceptance")


def _per_node(scenario: Scenario, num_devices: int) -> int | None:
    per_node = scenario.devices.per_node
    return None if per_node is None else min(per_node, num_devices)


def _checked(scenario: Scenario, spread: Spread, num_devices: int) -> Target:
    try:
        machine = machine_of(scenario)
    except ScenarioError as error:
        raise CannotBeHadError(str(error)) from None
    if not fits(scenario):
        held, has = max(device_bytes(scenario)), scenario.devices.gpu.memory_bytes or 0.0
        raise CannotBeHadError(f"a device would need {show_bytes(held)} and has {show_bytes(has)}")
    return Target(scenario, spread, num_devices, machine)
