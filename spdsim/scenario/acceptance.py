"""Acceptance as people write it: which drafts the target accepts, and where that is known from."""

from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field, Tag

from spdsim import acceptance as models
from spdsim.machine import OriginKind
from spdsim.scenario.fields import Part, Positive, Probability, by_kind

Probabilities = Annotated[tuple[Probability, ...], Field(min_length=1)]
Verdicts = Annotated[str, Field(pattern="^[AR]*$")]
# Not strict: in JSON every key is text.
Stages = Annotated[int, Field(ge=1)]
DraftLayers = Annotated[int, Field(ge=1)]
Width = Annotated[int, Field(ge=1)]


class _Acceptance(Part):
    origin: OriginKind = Field(default="assumed", description="How the acceptance is known.")
    source: str = Field(default="", description="Where it is known from, in words.")


class Bernoulli(_Acceptance):
    """Every draft is accepted with the same probability."""

    kind: Literal["bernoulli"]
    p: Probability = Field(description="Probability that a draft is accepted.")


class ByFillDepth(_Acceptance):
    """The probability depends on how many tokens were in flight when the draft was made."""

    kind: Literal["by_fill_depth"]
    p: Probabilities = Field(description="Entry d - 1 is for d tokens in flight; the last one serves deeper.")


class ByStages(_Acceptance):
    """The probability depends on the number of stages: a table, interpolated, held constant beyond its ends."""

    kind: Literal["by_stages"]
    p: Annotated[dict[Stages, Probability], Field(min_length=1)] = Field(description="Probability by stages.")


class ByDraftLayers(_Acceptance):
    """The probability depends on the depth of the draft module: a table, as by stages."""

    kind: Literal["by_draft_layers"]
    p: Annotated[dict[DraftLayers, Probability], Field(min_length=1)] = Field(
        description="Probability by draft.layers; interpolated, held constant beyond its ends."
    )


class ByWidth(_Acceptance):
    """The probability that a level holds the target's token depends on how many nodes it has: a table, as by stages."""

    kind: Literal["by_width"]
    p: Annotated[dict[Width, Probability], Field(min_length=1)] = Field(
        description="Probability by draft.width; interpolated, held constant beyond its ends."
    )


class Markov(_Acceptance):
    """Runs of easy and of hard text."""

    kind: Literal["markov"]
    p: tuple[Probability, Probability] = Field(description="Probability in the easy and in the hard state.")
    stay: tuple[Probability, Probability] = Field(description="Probability that the next position is as this one.")


class Beta(_Acceptance):
    """Some sequences are harder: each draws its own probability from a Beta distribution."""

    kind: Literal["beta"]
    p: Probability = Field(description="Mean over sequences.")
    concentration: Positive = Field(description="a + b; the variance is p (1 - p) / (concentration + 1).")


class Replay(_Acceptance):
    """Recorded verdicts."""

    kind: Literal["replay"]
    file: str | None = Field(
        default=None,
        description='JSON lines {"sequence": 0, "accepted": [true, …]}, entry j for the j-th verified draft; '
        "the path is relative to the scenario. What it says takes the place of `accepted`.",
    )
    accepted: Annotated[tuple[Verdicts, ...], Field(min_length=1)] | None = Field(
        default=None, description='One text per sequence, A for accepted and R for rejected: "AAR".'
    )


Acceptance = Annotated[
    Annotated[Bernoulli, Tag("@bernoulli")]
    | Annotated[ByFillDepth, Tag("@by_fill_depth")]
    | Annotated[ByStages, Tag("@by_stages")]
    | Annotated[ByDraftLayers, Tag("@by_draft_layers")]
    | Annotated[ByWidth, Tag("@by_width")]
    | Annotated[Markov, Tag("@markov")]
    | Annotated[Beta, Tag("@beta")]
    | Annotated[Replay, Tag("@replay")],
    by_kind(),
]


def acceptance_model(written: Acceptance, num_stages: int, draft_layers: int, width: int = 1) -> models.Acceptance:
    """Return the acceptance model of a scenario with `num_stages` stages and a draft module of `draft_layers`.

    width: drafts for one position. With several a position is accepted if one of them is the target's token.
    """
    match written:
        case Bernoulli(p=p):
            return models.Bernoulli(p)
        case ByFillDepth(p=by_depth):
            return models.ByFillDepth(by_depth)
        case ByStages(p=table):
            return models.Bernoulli(interpolate(table, num_stages))
        case ByDraftLayers(p=table):
            return models.Bernoulli(interpolate(table, draft_layers))
        case ByWidth(p=table):
            return models.Bernoulli(interpolate(table, width))
        case Markov(p=by_state, stay=stay):
            return models.Markov(by_state, stay)
        case Beta(p=p, concentration=concentration):
            return models.BetaPerSequence(p, concentration)
        case Replay(accepted=accepted):
            return models.Replay(tuple(tuple(verdict == "A" for verdict in record) for record in accepted or ()))


def interpolate(table: dict[int, float], at: int) -> float:
    """Return the value at `at`, linear between the table's entries and constant beyond its ends."""
    known = sorted(table)
    if at <= known[0]:
        return table[known[0]]
    for low, high in pairwise(known):
        if at <= high:
            return table[low] + (table[high] - table[low]) * (at - low) / (high - low)
    return table[known[-1]]
