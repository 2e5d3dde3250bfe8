"""A profile: seconds of every task and message as somebody measured them, and where that holds."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag
from pydantic_core import PydanticCustomError

from spdsim.machine import OriginKind
from spdsim.scenario.backing import Backing, Range
from spdsim.scenario.durations import ControlTime, MessageTimes, TaskTime
from spdsim.scenario.fields import Part, Positive, Seconds
from spdsim.scenario.hardware import Provenance

VERSION = 1
"""The version of profiles that this program writes and reads."""


def _of_this_version(written: Any) -> Any:
    if isinstance(written, int) and written != VERSION:
        raise PydanticCustomError("other_version", f"this spdsim reads version {VERSION}")
    return written


StageTimes = Annotated[
    Annotated[TaskTime, Tag("@one")] | Annotated[tuple[TaskTime, ...], Tag("@stages")],
    Discriminator(lambda written: "@stages" if isinstance(written, list | tuple) else "@one"),
]


Speed = Annotated[float, Field(strict=True, gt=0, le=1e4)]


def _begins_with_one(curve: tuple[float, ...]) -> tuple[float, ...]:
    if curve and curve[0] != 1.0:
        raise PydanticCustomError("not_relative", "must begin with 1.0, what one worker alone does")
    return curve


Portion = Annotated[float, Field(strict=True, ge=0, le=1)]
Curve = Annotated[tuple[Speed, ...], AfterValidator(_begins_with_one)]


class ProfileRuntime(Part):
    """What takes the place of the scenario's `runtime` keys of the same names."""

    posting: Literal["grouped", "separate"]
    receipts: Literal["posted", "serial", "taken"] = Field(
        description="taken: serial, and what the receiver's host does about a message belongs to its receipt."
    )
    departure: Literal["posted", "posting"] = Field(
        default="posted",
        description="posting: a message is on its way from the beginning of its posting, so that transit_s holds what "
        "of the posting comes before; posted: from its end.",
    )


class RivalTimes(Part):
    """What other methods take on the machine of a profile; `spdsim validate` predicts their rows with it."""

    early_exit_s: Seconds | None = Field(
        default=None, description="A draft by an early exit of one layer, on the first stage's device (PPSD)."
    )
    round_token_s: Seconds | None = Field(
        default=None,
        description="What every token takes beside the drafts and verifications of its round (EAGLE-3).",
    )


class MeasuredLink(Part):
    """One way of a message by its size, within a node: latency_s + bytes / bandwidth_bytes_per_s."""

    latency_s: Seconds
    bandwidth_bytes_per_s: Positive = Field(description="Bytes/s, one way.")


class Profile(Part):
    """Seconds of every task. `forward`, `draft` (with two stages or more) and `verify` are needed; others are 0.

    `forward` and `draft` may be written per layer, `verify` per byte of the LM head.

    `forward` and `prefill` are one duration for all stages or a list with one for each stage;
    with `_per_layer`, a stage takes the number of its layers times what is written.
    """

    format: Literal["spd-profile"] = "spd-profile"
    version: Annotated[Literal[1], BeforeValidator(_of_this_version)] = 1
    origin: OriginKind = Field(default="assumed", description="How the durations are known.")
    source: str = Field(default="", description="Where they are known from, in words.")
    prefill: StageTimes | None = None
    prefill_per_layer: TaskTime | None = None
    forward: StageTimes | None = None
    forward_per_layer: TaskTime | None = None
    forward_fixed: TaskTime | None = Field(default=None, description="Once in each stage, beside its layers.")
    draft: TaskTime | None = None
    draft_per_layer: TaskTime | None = Field(default=None, description="For each layer of the draft module.")
    draft_fixed: TaskTime | None = Field(default=None, description="Once in each draft, beside its layers.")
    draft_sampling: TaskTime | None = Field(default=None, description="What sampling adds to a draft.")
    draft_prefill: TaskTime | None = None
    verify: TaskTime | None = Field(default=None, description="The whole LM head and the verdict.")
    verify_per_byte_s: Seconds | None = Field(default=None, description="Seconds for each byte of the LM head.")
    verify_sampling: TaskTime | None = Field(default=None, description="What sampling adds to a verification.")
    verify_shard: TaskTime | None = Field(default=None, description="One shard; without it, verify over the shards.")
    combine: TaskTime | None = Field(default=None, description="Putting the shards' results together.")
    commit: TaskTime | None = Field(default=None, description="Bookkeeping of the driver, once a verdict.")
    rollback: TaskTime | None = Field(default=None, description="What a stage does first after a rejection.")
    contention: Curve = Field(
        default=(),
        description="What 1, 2, 3 … workers of a node that compute at a time get done together, over what one alone "
        "does: cores that share a memory, or are fewer than the workers. Beyond the last entry each worker adds what "
        "the last one did. Empty: none slows another down.",
    )
    shared_fraction: Portion = Field(
        default=0.0,
        description="Part of the cycles in which what is random of the stages' forwards is the same quantile for all: "
        "what holds up a machine holds up all of its workers.",
    )
    runtime: ProfileRuntime | None = Field(
        default=None, description="How the runtime that was measured sends and receives; null: as the scenario says."
    )
    control: ControlTime = ControlTime()
    messages: MessageTimes = MessageTimes()
    link: MeasuredLink | None = Field(
        default=None,
        description="How the way of a message depends on its size, within a node: what carries `transit_s` over to "
        "messages of other sizes than `measured_bytes`.",
    )
    rivals: RivalTimes = RivalTimes()
    figures: dict[str, Provenance] = Field(
        default_factory=dict, description="Origin of single figures, by dotted key such as control.per_cycle_s."
    )
    machine: dict[str, str] = Field(
        default_factory=dict, description="What was measured: device, driver, versions, dtype, launch, backend, date."
    )
    backing: Backing = Field(default=Backing(), description="How well the figures are known.")
    range: Range = Field(default=Range(), description="Where the figures were measured.")
