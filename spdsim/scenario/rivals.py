"""The methods that a user would pick instead of SPD, as people write them: what drafts, and what is accepted of it.

Each states its acceptance in its own terms. What is left out is not compared with, and the comparison says so.
"""

from typing import Annotated, Literal

from pydantic import Field, Tag

from spdsim import acceptance as models
from spdsim.machine import OriginKind
from spdsim.scenario.acceptance import Probabilities
from spdsim.scenario.fields import Count, Part, Probability, Seconds, by_kind, by_shape
from spdsim.scenario.target import ModelChoice
from spdsim.theory import acceptance_of_accept_length

DraftTokens = Annotated[
    Annotated[Literal["best"], Tag("@a name")] | Annotated[Annotated[Count, Field(le=64)], Tag("@a number")], by_shape()
]
"""Drafts in a round: a number, or the number with the least time per token by the method's law."""


class _Accepted(Part):
    origin: OriginKind = Field(default="assumed", description="How the acceptance is known.")
    source: str = Field(default="", description="Where it is known from, in words.")


class Constant(_Accepted):
    """Every draft is accepted with the same probability, those before it being accepted."""

    kind: Literal["constant"] = "constant"
    p: Probability = Field(description="Probability that a draft is accepted.")


class AcceptLength(_Accepted):
    """Tokens of a round, the target's own token among them, as most papers report it."""

    kind: Literal["accept_length"]
    tokens: Annotated[float, Field(strict=True, ge=1)] = Field(description="Mean tokens of a round, tau.")
    draft_tokens: Count = Field(description="Drafts in a round when it was measured.")


class ByPosition(_Accepted):
    """The probability falls from one draft of a round to the next, as with heads that draft all of them at once."""

    kind: Literal["by_position"]
    p: Probabilities = Field(description="Entry i - 1 is for the i-th draft of a round; the last one serves beyond.")


Accepted = Annotated[
    Annotated[Constant, Tag("@constant")]
    | Annotated[AcceptLength, Tag("@accept_length")]
    | Annotated[ByPosition, Tag("@by_position")],
    by_kind("constant"),
]

_STEP = "null: worked out from its shape, where the model of time is the roofline."


class DraftModel(Part):
    """A small model that drafts token by token (draft-then-verify, asynchronous, SSD, DSI, SpecPipe)."""

    model: ModelChoice | None = Field(
        default=None, description="Catalogue name, path of a config.json, or shape; null: only step_s is known."
    )
    step_s: Seconds | None = Field(default=None, description=f"Seconds of one draft; {_STEP}")
    draft_tokens: DraftTokens = Field(default="best", description="Drafts in a round: a number, or best.")
    acceptance: Accepted


class Eagle(Part):
    """A head of a few layers that reads the target's features and drafts token by token (EAGLE-3, a chain)."""

    layers: Count = Field(default=1, description="Its decoder layers, each of the target's shape.")
    step_s: Seconds | None = Field(default=None, description=f"Seconds of one draft; {_STEP}")
    draft_tokens: DraftTokens = Field(default="best", description="Drafts in a round: a number, or best.")
    acceptance: Accepted


class OnePass(Part):
    """A head that drafts all tokens of a round at once (Medusa, MTP, P-EAGLE, DFlash)."""

    layers: Count = Field(default=1, description="Its decoder layers, each of the target's shape.")
    step_s: Seconds | None = Field(default=None, description=f"Seconds of its pass; {_STEP}")
    draft_tokens: DraftTokens = Field(default="best", description="Drafts in a round: a number, or best.")
    acceptance: Accepted


class Ppsd(Part):
    """An early-exit head behind the first stage drafts the next token, in series with the stage (PPSD)."""

    layers: Annotated[int, Field(strict=True, ge=0)] = Field(
        default=1, description="Layers of the head before its LM head."
    )
    step_s: Seconds | None = Field(default=None, description=f"Seconds of one draft; {_STEP}")
    acceptance: Accepted


class SpecPipe(Part):
    """The draft model pushes one layer of a tree a step into the pipeline (PipeDec, SpecPipe)."""

    width: Annotated[Count, Field(le=64)] = Field(default=4, description="Tokens in a layer of the tree.")
    acceptance: Accepted = Field(description="Probability that the true token is in a layer of this width.")


class Asynchronous(Part):
    """Draft model and target run side by side (PEARL, AMUSD, PipeSpec with two models, SwiftSpec)."""

    pre_verify: bool = Field(
        default=True, description="After a rejection the target verifies the first draft while the others are made."
    )


class Ssd(Part):
    """While the target verifies, the draft model prepares answers to the likely outcomes (SSD, Saguaro)."""

    hit_rate: Probability = Field(description="Probability that an answer to the outcome was prepared.")
    origin: OriginKind = Field(default="assumed", description="How the hit rate is known.")
    source: str = Field(default="", description="Where it is known from, in words.")


class Rivals(Part):
    """What `spdsim compare` compares with, beside the plain methods, which need nothing."""

    draft_model: DraftModel | None = Field(default=None, description="A small model that drafts.")
    eagle: Eagle | None = Field(default=None, description="A head that drafts token by token.")
    one_pass: OnePass | None = Field(default=None, description="A head that drafts all tokens of a round at once.")
    ppsd: Ppsd | None = Field(default=None, description="An early-exit head behind the first stage.")
    specpipe: SpecPipe | None = Field(default=None, description="A tree of drafts in the pipeline; needs draft_model.")
    asynchronous: Asynchronous = Field(
        default=Asynchronous(), description="How draft model and target run side by side."
    )
    ssd: Ssd | None = Field(default=None, description="Answers prepared for outcomes; needs draft_model.")


def accepted_model(written: Accepted) -> models.Acceptance:
    """Return the acceptance model of a rival; entry i - 1 of one by position serves the i-th draft of a round."""
    match written:
        case Constant(p=p):
            return models.Bernoulli(p)
        case AcceptLength(tokens=tokens, draft_tokens=draft_tokens):
            return models.Bernoulli(acceptance_of_accept_length(tokens, draft_tokens))
        case ByPosition(p=by_position):
            return models.ByFillDepth(by_position)


__all__ = [
    "AcceptLength", "Accepted", "Asynchronous", "ByPosition", "Constant", "DraftModel", "Eagle", "OnePass",
    "Ppsd", "Rivals", "SpecPipe", "Ssd", "accepted_model",
]  # fmt: skip
