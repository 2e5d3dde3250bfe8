"""What a probe found: the samples of each case, and what was not measured and why. Standard library only."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Params = Mapping[str, int | float | str]
"""What tells one case of a probe from another."""
Unit = Literal["s", "bytes/s", "ratio"]


@dataclass(frozen=True, slots=True)
class Measured:
    """The samples of one case, in `unit`; at least one."""

    what: str
    params: Params
    samples: tuple[float, ...]
    unit: Unit = "s"

    def to_document(self) -> dict[str, Any]:
        """Return the case as plain data: how many samples, their middle and their spread."""
        ordered = sorted(self.samples)
        return {
            "what": self.what,
            "params": dict(self.params),
            "unit": self.unit,
            "count": len(ordered),
            "median": quantile(ordered, 0.5),
            "mean": sum(ordered) / len(ordered),
            "p05": quantile(ordered, 0.05),
            "p95": quantile(ordered, 0.95),
        }


@dataclass(frozen=True, slots=True)
class Skipped:
    """A case, or all of a probe, that was not measured."""

    what: str
    why: str


Finding = Measured | Skipped


def quantile(ordered: Sequence[float], fraction: float) -> float:
    """Return the quantile of rising numbers, linear between two of them."""
    place = fraction * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])


def in_words(params: Params) -> str:
    """Return what tells a case, as people read it: "context_tokens 256, launch eager"."""
    return ", ".join(f"{key} {value}" for key, value in params.items())
