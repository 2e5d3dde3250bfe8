"""A design: everything that `spdsim plan` may choose of a scenario, and the scenario that it makes.

Knows nothing of times.
"""

from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal

from spdsim.scenario import Scenario
from spdsim.scenario.model import Draft, Partition
from spdsim.scenario.placement import layers_of_stages
from spdsim.schedules.options import LmHead

Placement = Literal["own_device", "stage_0"]

LM_HEADS: tuple[LmHead, ...] = ("draft_rank", "last_stage", "sharded", "own_device")
PLACEMENTS: tuple[Placement, ...] = ("own_device", "stage_0")

_HEAD_WORDS = {
    "draft_rank": "with the draft module", "last_stage": "on the last stage", "sharded": "sharded over all workers",
    "own_device": "on a device of its own",
}  # fmt: skip

_MOST_LISTED = 6
"""Stages whose layers are told one by one."""


@dataclass(frozen=True, slots=True)
class Design:
    """How a target is cut and placed. layers: of each stage; empty where that is still to be found.

    stages have tensor_parallel devices each. placement and draft_layers: of the draft module.
    """

    stages: int
    tensor_parallel: int
    lm_head: LmHead
    verification_lag: int
    placement: Placement
    draft_layers: int
    layers: tuple[int, ...] = ()

    @property
    def num_devices(self) -> int:
        """Devices in use: those of the stages, the draft module's own, the LM head's own."""
        own = (self.placement == "own_device") + (self.lm_head == "own_device")
        return self.stages * self.tensor_parallel + own

    @property
    def simplicity(self) -> tuple[Any, ...]:
        """What orders designs that are as fast: fewer devices and less lag first, then the order of the options."""
        return (
            self.num_devices, self.verification_lag, self.tensor_parallel, self.stages, self.draft_layers,
            LM_HEADS.index(self.lm_head), PLACEMENTS.index(self.placement), tuple(-count for count in self.layers),
        )  # fmt: skip

    @property
    def words(self) -> str:
        """The design in a sentence's part."""
        group = f" of {self.tensor_parallel} devices" if self.tensor_parallel > 1 else ""
        draft = "on a device of its own" if self.placement == "own_device" else "beside stage 0"
        return (
            f"{self.stages} stages{group} with {_with_layers(self.layers)}, LM head {_HEAD_WORDS[self.lm_head]}, "
            f"verification lag {self.verification_lag}, draft module of {self.draft_layers} "
            f"{'layer' if self.draft_layers == 1 else 'layers'} {draft}"
        )

    @property
    def slug(self) -> str:
        """The design as a part of a file's name."""
        parts = [f"{self.stages}-stages"]
        parts += [f"of-{self.tensor_parallel}"] if self.tensor_parallel > 1 else []
        parts.append(f"head-{self.lm_head}".replace("_", "-"))
        parts += [f"lag-{self.verification_lag}"] if self.verification_lag else []
        parts += ["draft-beside"] if self.placement == "stage_0" else []
        return "-".join(parts)


def cut_words(layers: tuple[int, ...]) -> str:
    """Return the layers of each stage, those of many stages in runs: "12-12-11", "3x12 4x11"."""
    if len(layers) <= _MOST_LISTED:
        return "-".join(map(str, layers))
    runs = [(count, len(list(same))) for count, same in groupby(layers)]
    return " ".join(f"{times}x{count}" if times > 1 else f"{count}" for count, times in runs)


def _with_layers(layers: tuple[int, ...]) -> str:
    return f"{layers[0]} layers each" if len(set(layers)) == 1 else f"{cut_words(layers)} layers"


def design_of(scenario: Scenario) -> Design:
    """Return the design of a scenario as it is."""
    cut, draft = scenario.partition, scenario.draft
    return Design(
        cut.stages, cut.tensor_parallel, cut.lm_head, cut.verification_lag, draft.placement, draft.layers,
        layers_of_stages(scenario),
    )  # fmt: skip


def with_design(scenario: Scenario, design: Design) -> Scenario:
    """Return the scenario cut and placed as the design has it; without layers, evenly. Workers go by the rule."""
    partition = Partition(
        stages=design.stages, tensor_parallel=design.tensor_parallel, lm_head=design.lm_head,
        verification_lag=design.verification_lag, layers=_written_cut(scenario, design),
    )  # fmt: skip
    draft = Draft.model_validate(
        scenario.draft.model_dump() | {"placement": design.placement, "layers": design.draft_layers}
    )
    devices = scenario.devices.model_copy(update={"workers": None})
    return scenario.model_copy(update={"partition": partition, "draft": draft, "devices": devices})


def settings_of(written: Scenario, design: Design) -> list[tuple[str, Any]]:
    """Return the keys that make the written scenario the design's, with their values; none that stay as they are."""
    made = with_design(written, design)
    settings: list[tuple[str, Any]] = []
    for part, keys in (
        ("partition", ("stages", "layers", "tensor_parallel", "lm_head", "verification_lag")),
        ("draft", ("placement", "layers")),
    ):
        for key in keys:
            before, after = (getattr(getattr(scenario, part), key) for scenario in (written, made))
            if before != after:
                settings.append((f"{part}.{key}", list(after) if isinstance(after, tuple) else after))
    if written.devices.workers is not None:
        settings.append(("devices.workers", None))
    return settings


def _written_cut(scenario: Scenario, design: Design) -> tuple[int, ...] | Literal["even"]:
    each, rest = divmod(scenario.model.num_layers, design.stages)
    even = tuple(each + (stage < rest) for stage in range(design.stages))
    return "even" if design.layers in ((), even) else design.layers
