"""What a profile says of its own figures: where each is known from, how well, and where the profile holds.

A figure is named by its dotted key, such as `control.per_node_s` or `forward_fixed`; its unit is that of the key.
"""

from typing import Annotated

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from spdsim.scenario.fields import Count, Part, Positive, Seconds

Change = Annotated[float, Field(strict=True, ge=-1e6, le=1e6)]
MOST_SCATTER = 0.5
"""A profile that is further off says nothing."""

Scatter = Annotated[float, Field(strict=True, gt=0, le=MOST_SCATTER)]


def _ordered(span: tuple[float, float]) -> tuple[float, float]:
    if span[0] > span[1]:
        raise PydanticCustomError("not_ordered", "must be the least, then the most")
    return span


Between = Annotated[tuple[Count, Count], AfterValidator(_ordered)]


class Uncertainty(Part):
    """One independent source of error: what it adds to several figures together, by one standard deviation."""

    says: str = Field(description="What is uncertain, in words.")
    shifts: Annotated[dict[str, Change], Field(min_length=1)] = Field(description="What it adds to each figure.")


class Alternative(Part):
    """Figures that would explain the measurements as well, or that nothing measured rules out."""

    says: str = Field(description="What would then be so, in words.")
    figures: Annotated[dict[str, Seconds], Field(min_length=1)] = Field(description="What each figure would be.")
    draft_per_row_s: Seconds | None = Field(
        default=None,
        description="What a draft would take besides for each of its rows, one more than there are stages; "
        "`spdsim validate` looks at it.",
    )


class Range(Part):
    """Where the measurements were made; a null says nothing. Outside, the profile is an extrapolation."""

    models: tuple[str, ...] | None = Field(default=None, description="Names of models.")
    stages: Between | None = Field(default=None, description="Fewest and most stages.")
    sampled_stages: tuple[Count, ...] | None = Field(
        default=None, description="Numbers of stages that were measured with sampling; an empty list: none was."
    )
    draft_layers: Between | None = Field(default=None, description="Fewest and most layers of the draft module.")
    drafts: tuple[tuple[Count, Count], ...] | None = Field(
        default=None, description="Stages and draft layers, a pair for each draft that was timed; an empty list: none."
    )
    even_cuts: bool | None = Field(
        default=None, description="Whether all stages had the same number of layers wherever it was measured."
    )
    nodes: Between | None = Field(default=None, description="Fewest and most nodes.")
    launch: tuple[str, ...] | None = Field(default=None, description="Ways of launching.")
    early_exit_stages: tuple[Count, ...] | None = Field(
        default=None, description="Numbers of stages that an early exit was measured with."
    )
    round_drafts: tuple[Count, ...] | None = Field(
        default=None, description="Drafts of a round that drafting in rounds was measured with."
    )
    plain_token_s: Annotated[tuple[Positive, Positive], AfterValidator(_ordered)] | None = Field(
        default=None, description="Least and most seconds of a token in plain decoding on one device."
    )


class Backing(Part):
    """What the figures of a profile rest on."""

    scatter_fraction: Scatter | None = Field(
        default=None, description="Standard deviation of a measurement around the profile, within its range."
    )
    unseen_fraction: Scatter | None = Field(
        default=None, description="The same for a configuration that the fit did not see."
    )
    uncertainty: tuple[Uncertainty, ...] = Field(default=(), description="Independent errors of the figures.")
    alternatives: tuple[Alternative, ...] = Field(default=(), description="Other readings of the measurements.")
