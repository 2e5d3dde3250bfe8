"""What is decoded: prompt, output lengths, number of sequences."""

from math import ceil, inf, log
from typing import Annotated, Literal

from pydantic import Field, Tag

from spdsim.scenario.fields import Count, Part, by_kind, by_shape

_LENGTHS = 4
"""The stream of random numbers that lengths are drawn from; acceptance uses the streams before it."""


class UniformLength(Part):
    """Every length from `low` to `high` is as likely."""

    kind: Literal["uniform"]
    low: Count
    high: Count


class GeometricLength(Part):
    """Each token ends the output with the same probability; cut off at `max`."""

    kind: Literal["geometric"]
    mean: Annotated[float, Field(strict=True, ge=1)] = Field(description="Mean before the cut, tokens.")
    max: Count


class EmpiricalLength(Part):
    """Lengths that were measured, drawn with replacement."""

    kind: Literal["empirical"]
    lengths: Annotated[tuple[Count, ...], Field(min_length=1)]


Length = Annotated[
    Annotated[UniformLength, Tag("@uniform")]
    | Annotated[GeometricLength, Tag("@geometric")]
    | Annotated[EmpiricalLength, Tag("@empirical")],
    by_kind(),
]
NewTokens = Annotated[Annotated[Count, Tag("@a number")] | Annotated[Length, Tag("@a mapping")], by_shape()]


class Workload(Part):
    """Sequences decoded one after another, or `concurrency` of them at a time."""

    prompt_tokens: Count = Field(default=128, description="Tokens of every prompt.")
    new_tokens: NewTokens = Field(
        default=512, description="Tokens to generate, the prefill's token included: a number, or a distribution."
    )
    sequences: Count = Field(default=1, description="Sequences in one replication.")
    concurrency: Annotated[int, Field(strict=True, ge=1, le=1024)] = Field(
        default=1,
        description="Sequences in flight at a time; more than 1 is for `spdsim compare`, which then tells tokens per "
        "second of all of them.",
    )

    @property
    def max_new_tokens(self) -> int:
        """The longest output that can be drawn."""
        match self.new_tokens:
            case int():
                return self.new_tokens
            case UniformLength(high=longest) | GeometricLength(max=longest):
                return longest
            case EmpiricalLength(lengths=lengths):
                return max(lengths)


def draw_length(workload: Workload, seed: int, sequence: int) -> int:
    """Return the output length of one sequence, keyed by (seed, sequence)."""
    match workload.new_tokens:
        case int():
            return workload.new_tokens
        case UniformLength(low=low, high=high):
            return low + int(_uniform(seed, sequence) * (high - low + 1))
        case GeometricLength(mean=mean, max=longest):
            # The inverse of the geometric law on 1, 2, ... at a uniform draw.
            survival = log(1.0 - 1.0 / mean) if mean > 1.0 else -inf
            return min(longest, max(1, ceil(log(1.0 - _uniform(seed, sequence)) / survival)))
        case EmpiricalLength(lengths=lengths):
            return lengths[int(_uniform(seed, sequence) * len(lengths))]


def _uniform(seed: int, sequence: int) -> float:
    import numpy as np

    return float(np.random.Generator(np.random.PCG64(np.random.SeedSequence((seed, sequence, _LENGTHS)))).random())
