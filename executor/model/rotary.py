"""Rotary position embeddings: the frequencies that a model's configuration asks for.

Knows nothing of sequences or caches.
"""

from dataclasses import dataclass
from math import pi

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class LinearScaling:
    """Positions are stretched: every frequency is divided by `factor`."""

    factor: float


@dataclass(frozen=True, slots=True)
class Llama3Scaling:
    """Low frequencies are divided by `factor`, high ones kept, those between interpolated.

    A frequency is low if `original_rows` positions hold fewer than `low_freq_factor` of its turns, and high if they
    hold more than `high_freq_factor`. Source: the Llama 3.1 models.
    """

    factor: float
    low_freq_factor: float
    high_freq_factor: float
    original_rows: int


@dataclass(frozen=True, slots=True)
class Rotary:
    """How queries and keys are rotated: `dim` leading entries of each head, in pairs (i, i + dim / 2)."""

    dim: int
    theta: float
    scaling: LinearScaling | Llama3Scaling | None = None


def frequencies(rotary: Rotary) -> Tensor:
    """Return the angle by which each pair turns from one position to the next, radians (dim / 2,), float32."""
    exponents = torch.arange(0, rotary.dim, 2, dtype=torch.float32) / rotary.dim
    plain = 1.0 / rotary.theta**exponents
    match rotary.scaling:
        case None:
            return plain
        case LinearScaling(factor):
            return plain / factor
        case Llama3Scaling(factor, low, high, original_rows):
            turns = original_rows * plain / (2.0 * pi)
            kept = ((turns - low) / (high - low)).clamp(0.0, 1.0)
            return (1.0 - kept) * plain / factor + kept * plain
