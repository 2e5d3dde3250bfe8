"""What a profile says of its own figures: where each is known from, how well, and where the profile holds.

A figure is named by its dotted key, such as `control.per_node_s` or `forward_fixed`; its unit is that of the key.
"""

from typing import Annotated

from pydantic import Field

from spdsim.scenario.fields import Count, Fraction, Part, Positive, Seconds

Change = Annotated[float, Field(strict=True, ge=-1e6, le=1e6)]
Between = tuple[Count, Count]


class Uncertainty(Part):
    """One independent source of error: what it adds to several figures together, by one standard deviation."""

    says: str = Field(description="What is uncertain, in words.")
    shifts: Annotated[dict[str, Change], Field(min_length=1)] = Field(description="What it adds to each figure.")


class Alternative(Part):
    """Figures that would explain the measurements as well, or that nothing measured rules out."""

    says: str = Field(description="What would then be so, in words.")
    figures: Annotated[dict[str, Seconds], Field(min_length=1)] = Field(description="What each figure would be.")


class Range(Part):
    """Where the measurements were made; a null says nothing. Outside, the profile is an extrapolation."""

    models: tuple[str, ...] | None = Field(default=None, description="Names of models.")
    stages: Between | None = Field(default=None, description="Fewest and most stages.")
    sampled_stages: tuple[Count, ...] | None = Field(
        default=None, description="Numbers of stages that were measured with sampling; an empty list: none was."
    )
    draft_layers: Between | None = Field(default=None, description="Fewest and most layers of the draft module.")
    nodes: Between | None = Field(default=None, description="Fewest and most nodes.")
    launch: tuple[str, ...] | None = Field(default=None, description="Ways of launching.")
    plain_token_s: tuple[Positive, Positive] | None = Field(
        default=None, description="Least and most seconds of a token in plain decoding on one device."
    )


class Backing(Part):
    """What the figures of a profile rest on."""

    scatter_fraction: Fraction | None = Field(
        default=None, description="Standard deviation of a measurement around the profile, within its range."
    )
    unseen_fraction: Fraction | None = Field(
        default=None, description="The same for a configuration that the fit did not see."
    )
    uncertainty: tuple[Uncertainty, ...] = Field(default=(), description="Independent errors of the figures.")
    alternatives: tuple[Alternative, ...] = Field(default=(), description="Other readings of the measurements.")
