"""What came of a demonstration: plain values, all that the tables and the document are made of.

Standard library and `spdsim` only.
"""

from dataclasses import dataclass
from pathlib import Path

from spdsim.acceptance_fit import AcceptanceFit
from spdsim.analysis.report import Estimate


@dataclass(frozen=True, slots=True)
class LanguageFacts:
    """The language model. bits_per_byte, certainty (the mean probability of the likeliest byte): on held-out text."""

    num_weights: int
    num_tokens: int
    num_layers: int
    bits_per_byte: float
    certainty: float


@dataclass(frozen=True, slots=True)
class DraftFacts:
    """A draft module. by_fill: on held-out text as it stands, how often the likeliest token is the target's."""

    layers: int
    steps: int
    num_tokens: int
    by_fill: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Pair:
    """A figure as it was measured, with its interval over sequences, and as it was predicted."""

    measured: Estimate
    predicted: float

    @property
    def error(self) -> float:
        """How far the prediction is off, a fraction of what was measured."""
        return self.predicted / self.measured.mean - 1.0


@dataclass(frozen=True, slots=True)
class Pipeline:
    """What was measured and predicted of one number of stages.

    measured: verdicts of the sequences that are predicted, and what they say; fitted: of those that were fitted to.
    model: the fitted acceptance, as scenarios write it. num_different: sequences whose tokens are not plain decoding's.
    tokens_per_cycle, token_s: predicted from other sequences. law_tokens_per_cycle: K / C(K) of the same verdicts.
    speedup: over plain decoding of the same prompts. own_devices_speedup: what the simulator says with a device for
    every worker and free messages. draft_in_stages: how much longer a draft takes than a stage.
    """

    num_stages: int
    draft: DraftFacts
    measured: AcceptanceFit
    fitted: AcceptanceFit
    model: str
    num_different: int
    tokens_per_cycle: Pair
    law_tokens_per_cycle: float
    token_s: Pair
    speedup: float
    own_devices_speedup: float
    draft_in_stages: float

    @property
    def acceptance(self) -> Estimate:
        """Over the measured sequences, with the interval over whole sequences."""
        overall = self.measured.overall
        assert overall.fraction is not None
        low, high = self.measured.over_sequences or overall.interval
        return Estimate(overall.fraction, low, high)


@dataclass(frozen=True, slots=True)
class Sample:
    """A prompt and what follows it. from_text: what follows it in the file."""

    prompt: str
    continuation: str
    from_text: str


@dataclass(frozen=True, slots=True)
class DemoOutcome:
    """All of it. plain_token_s: of plain decoding, one stage. device: in words. loops: share of repeated 16-grams."""

    directory: Path
    size: str
    seed: int
    device: str
    num_threads: int
    language: LanguageFacts
    pipelines: tuple[Pipeline, ...]
    num_measured: int
    num_fitted: int
    new_tokens: int
    plain_token_s: Estimate
    loops: float
    sample: Sample

    @property
    def fall(self) -> tuple[float, float]:
        """By how much acceptance falls from the fewest stages to the most, with half of its 95 % interval."""
        first, last = self.pipelines[0].acceptance, self.pipelines[-1].acceptance
        halves = [(each.high - each.low) / 2.0 for each in (first, last) if None not in (each.low, each.high)]  # type: ignore[operator]
        return first.mean - last.mean, sum(half**2 for half in halves) ** 0.5
