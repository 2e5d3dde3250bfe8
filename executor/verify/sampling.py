"""How tokens are sampled, as a value; and the names of the two rules of verification.

Standard library only. Knows nothing of logits.
"""

from dataclasses import dataclass
from typing import Literal

from spdsim.errors import InputError

Rule = Literal["match", "rejection"]
"""match: the target chooses its own token and the draft must be that one. rejection: the draft has a law of its own."""

_COLDEST, _HOTTEST = 0.01, 100.0
"""Beyond these, logits over temperature leave too few of float32's digits to the noise, or to the logits."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How draft and target are warped alike: temperature first, then top-k, then top-p.

    temperature: 0 is greedy decoding, whatever the other two say. top_k: how many most likely tokens are kept;
    0 keeps all. top_p: the smallest set of most likely tokens with at least this mass is kept; 1 keeps all.

    Raises InputError when a value is out of its range.
    """

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0

    def __post_init__(self) -> None:
        if self.temperature != 0.0 and not _COLDEST <= self.temperature <= _HOTTEST:
            rule = f"must be 0 (greedy), or from {_COLDEST:g} to {_HOTTEST:g}"
            raise InputError(f"sampling.temperature is {self.temperature}: {rule}")
        if self.top_k < 0:
            raise InputError(f"sampling.top_k is {self.top_k}: must be at least 1, or 0 to keep all tokens")
        if not 0.0 < self.top_p <= 1.0:
            raise InputError(f"sampling.top_p is {self.top_p}: must be above 0 and at most 1 (1 keeps all tokens)")

    @property
    def is_greedy(self) -> bool:
        """The most likely token is taken, and nothing is drawn."""
        return self.temperature == 0.0

    @property
    def is_truncated(self) -> bool:
        """Top-k or top-p may cut tokens off."""
        return self.top_k > 0 or self.top_p < 1.0
