"""Durations and profiles as people write them: seconds of every task and message.

A duration is a number of seconds or a mapping with a `kind`. Knows nothing of stages or devices.
"""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, Tag
from pydantic_core import PydanticCustomError

from spdsim import distributions
from spdsim.distributions import Distribution
from spdsim.machine import Duration
from spdsim.scenario.fields import Part, Seconds, Spread, by_kind, is_number

_SHORTEST_S = 1e-9

Growth = Annotated[float, Field(strict=True, ge=0, le=10)]


class ConstantDraw(Part):
    """Always the same."""

    kind: Literal["constant"] = "constant"
    mean_s: Seconds


class NormalDraw(Part):
    """A normal distribution, cut off at zero."""

    kind: Literal["normal"]
    mean_s: Seconds = Field(description="Mean before the cut.")
    std_s: Seconds = Field(description="Standard deviation before the cut.")


class LogNormalDraw(Part):
    """A lognormal distribution."""

    kind: Literal["lognormal"]
    mean_s: Seconds
    cv: Spread = Field(description="Standard deviation over mean.")


class GammaDraw(Part):
    """A gamma distribution."""

    kind: Literal["gamma"]
    mean_s: Seconds
    cv: Spread = Field(description="Standard deviation over mean.")


class EmpiricalDraw(Part):
    """Measured seconds, drawn with replacement."""

    kind: Literal["empirical"]
    samples_s: Annotated[tuple[Seconds, ...], Field(min_length=1)]


def _as_mapping(written: Any) -> Any:
    if isinstance(written, str):
        # "0.5 ms" has a unit, and units are in the keys.
        raise PydanticCustomError("text_for_seconds", "must be a number of seconds, or a mapping with a `kind`")
    return {"kind": "constant", "mean_s": written} if is_number(written) else written


Draw = Annotated[
    Annotated[ConstantDraw, Tag("@constant")]
    | Annotated[NormalDraw, Tag("@normal")]
    | Annotated[LogNormalDraw, Tag("@lognormal")]
    | Annotated[GammaDraw, Tag("@gamma")]
    | Annotated[EmpiricalDraw, Tag("@empirical")],
    by_kind("constant"),
]
AnyDraw = Annotated[Draw, BeforeValidator(_as_mapping, json_schema_input_type=float | Draw)]


class _OfTask(Part):
    per_context_token_s: Seconds = Field(default=0.0, description="Seconds added for each token of context.")
    by_fill_depth: Annotated[tuple[AnyDraw, ...], Field(min_length=1)] | None = Field(
        default=None, description="Entry d - 1 is drawn instead with d tokens in flight; the last one serves deeper."
    )


class ConstantTask(ConstantDraw, _OfTask):
    """A task that always takes the same."""


class NormalTask(NormalDraw, _OfTask):
    """A task with a normal duration, cut off at zero."""


class LogNormalTask(LogNormalDraw, _OfTask):
    """A task with a lognormal duration."""


class GammaTask(GammaDraw, _OfTask):
    """A task with a gamma duration."""


class EmpiricalTask(EmpiricalDraw, _OfTask):
    """A task with measured durations."""


AnyTaskKind = Annotated[
    Annotated[ConstantTask, Tag("@constant")]
    | Annotated[NormalTask, Tag("@normal")]
    | Annotated[LogNormalTask, Tag("@lognormal")]
    | Annotated[GammaTask, Tag("@gamma")]
    | Annotated[EmpiricalTask, Tag("@empirical")],
    by_kind("constant"),
]
TaskTime = Annotated[AnyTaskKind, BeforeValidator(_as_mapping, json_schema_input_type=float | AnyTaskKind)]


class MessageTime(Part):
    """What a message costs, where it is not the link's figures that say so."""

    post_s: AnyDraw | None = Field(default=None, description="Seconds of the sender's host; null: the link's.")
    inter_node_post_s: AnyDraw | None = Field(default=None, description="The same between nodes; null: as post_s.")
    transit_s: AnyDraw | None = Field(default=None, description="Seconds on the way; null: from the link's figures.")
    inter_node_transit_s: AnyDraw | None = Field(
        default=None, description="The same between nodes; null: as transit_s."
    )
    transit_per_worker_fraction: Growth = Field(
        default=0.0,
        description="By how much of itself transit_s grows with each worker beyond two: processes that wait for the "
        "same cores wake each other later. Not between nodes.",
    )
    measured_bytes: Annotated[float, Field(strict=True, gt=0)] | None = Field(
        default=None,
        description="Mean bytes of the messages whose transit_s was measured; messages of other sizes take longer or "
        "shorter as the profile's `link` says. null: their size makes no difference.",
    )
    receive_s: Seconds | None = Field(
        default=None, description="Seconds of the receiver's host for each tensor; null: the link's."
    )


class MessageTimes(Part):
    """Costs by payload."""

    hidden: MessageTime = MessageTime()
    features: MessageTime = MessageTime()
    draft: MessageTime = MessageTime()
    verdict: MessageTime = MessageTime()
    partial: MessageTime = MessageTime()


class ControlTime(Part):
    """Host time of whoever tells stage 0 what to run next, once in every cycle, before that message leaves."""

    per_cycle_s: Seconds = Field(default=0.0, description="Whatever the number of workers.")
    per_worker_s: Seconds = Field(default=0.0, description="For each worker, the draft rank too.")
    per_node_s: Seconds = Field(default=0.0, description="For each node after the first.")
    between_cycles_s: AnyDraw = Field(
        default=ConstantDraw(mean_s=0.0), description="Seconds of every worker's host, before each of its cycles."
    )


def distribution(draw: Draw) -> Distribution:
    """Return the distribution that was written."""
    match draw:
        case ConstantDraw(mean_s=mean_s):
            return distributions.Constant(mean_s)
        case NormalDraw(mean_s=mean_s, std_s=std_s):
            return distributions.Normal(mean_s, std_s)
        case LogNormalDraw(mean_s=mean_s, cv=cv):
            return distributions.LogNormal(mean_s, cv)
        case GammaDraw(mean_s=mean_s, cv=cv):
            return distributions.Gamma(mean_s, cv)
        case EmpiricalDraw(samples_s=samples_s):
            return distributions.Empirical(samples_s)


def takes_time(written: AnyTaskKind) -> bool:
    """Whether a task's mean is a nanosecond or more, in an empty pipeline or a full one."""
    drawn = written.by_fill_depth or (written,)
    return written.per_context_token_s > 0 or any(
        distributions.mean_s(distribution(draw)) >= _SHORTEST_S for draw in drawn
    )


def duration(written: AnyTaskKind, factor: float = 1.0) -> Duration:
    """Return the duration of a task, `factor` times what was written; draws keep their spread over mean."""
    by_depth = written.by_fill_depth
    return Duration(
        distributions.scaled(distribution(written), factor),
        written.per_context_token_s * factor,
        None if by_depth is None else tuple(distributions.scaled(distribution(draw), factor) for draw in by_depth),
    )
