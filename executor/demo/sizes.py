"""How large the demonstration is: the model, how long it and its draft modules train, and what is decoded.

Plain values; standard library only.
"""

from dataclasses import dataclass, replace
from typing import Literal

SizeName = Literal["tiny", "small", "large"]

MINUTES = 20.0
"""What the steps below take on the machine that they were chosen for: two CPU cores, or one GPU for `large`."""


@dataclass(frozen=True, slots=True)
class LanguageSize:
    """A language model of bytes and its training.

    batch: texts of `sequence_length` tokens in a step. matrix_rate: the learning rate of matrices between layers, in
    the spectral norm; vector_rate: of all else.
    """

    hidden_size: int
    intermediate_size: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    sequence_length: int
    batch: int
    steps: int
    matrix_rate: float = 0.02
    vector_rate: float = 3e-3
    weight_decay: float = 0.1


@dataclass(frozen=True, slots=True)
class DraftSize:
    """The training of one draft module, one window of `sequence_length` tokens after another.

    windows: in a step. measured_windows: of held-out text, on which drafts are measured while they are trained.
    """

    sequence_length: int
    windows: int
    steps: int
    learning_rate: float
    measured_windows: int = 16


@dataclass(frozen=True, slots=True)
class DecodingSize:
    """What is decoded: `new_tokens` after each prompt of held-out text.

    measured: prompts that are decoded and predicted. fitted: other ones, whose verdicts the acceptance is fitted to;
    timed: how many of those are decoded by the pipeline too, so that times can be fitted.
    """

    measured: int
    fitted: int
    timed: int
    prompt_tokens: int
    new_tokens: int


@dataclass(frozen=True, slots=True)
class Size:
    """A size of the demonstration."""

    name: SizeName
    language: LanguageSize
    draft: DraftSize
    decoding: DecodingSize

    def lasting(self, minutes: float) -> "Size":
        """Return the same size with training as long as fits into about `minutes` rather than `MINUTES`."""
        share = minutes / MINUTES
        language = replace(self.language, steps=max(1, round(self.language.steps * share)))
        draft = replace(self.draft, steps=max(1, round(self.draft.steps * share)))
        return replace(self, language=language, draft=draft)


SIZES: dict[SizeName, Size] = {
    "tiny": Size(
        "tiny",
        LanguageSize(32, 64, 4, 2, 2, sequence_length=64, batch=2, steps=60),
        DraftSize(sequence_length=64, windows=1, steps=30, learning_rate=3e-3, measured_windows=4),
        DecodingSize(measured=4, fitted=6, timed=3, prompt_tokens=24, new_tokens=24),
    ),
    "small": Size(
        "small",
        LanguageSize(96, 256, 8, 3, 3, sequence_length=256, batch=2, steps=3000),
        DraftSize(sequence_length=256, windows=1, steps=800, learning_rate=3e-3),
        DecodingSize(measured=160, fitted=480, timed=40, prompt_tokens=128, new_tokens=48),
    ),
    "large": Size(
        "large",
        LanguageSize(512, 1408, 16, 8, 8, sequence_length=512, batch=64, steps=3000),
        DraftSize(sequence_length=512, windows=8, steps=1500, learning_rate=1e-3, measured_windows=64),
        DecodingSize(measured=256, fitted=768, timed=48, prompt_tokens=256, new_tokens=96),
    ),
}
"""By name: seconds on a CPU, for tests; minutes on a CPU; minutes on a GPU."""
