"""Grades of a prediction by the size of its error: the same letters mean the same wherever one is given.

Standard library only.
"""

from collections.abc import Sequence

GRADES = ((0.025, "A"), (0.05, "B"), (0.10, "C"))
"""The grade up to an error (a fraction)."""


def grade(error: float, steps: Sequence[tuple[float, str]], beyond: str) -> str:
    """Return the grade of the first of `steps` that `error` (a fraction, at least 0) does not exceed, or `beyond`."""
    return next((letter for most, letter in steps if error <= most), beyond)
