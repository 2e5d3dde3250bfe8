"""The learning rate of each step: a linear rise, then half a cosine down to nothing."""

from math import cos, pi


def learning_rate(step: int, steps: int, warm_up: int, peak: float) -> float:
    """Return the rate of a step, counted from 0; `peak` is that of the step after `warm_up` others."""
    if step < warm_up:
        return peak * (step + 1) / (warm_up + 1)
    return 0.5 * peak * (1.0 + cos(pi * (step - warm_up) / max(1, steps - warm_up)))
