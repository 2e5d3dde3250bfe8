"""What each step of a run is, by its number: its fill depth, its learning rate, whether held-out text is measured.

What is drawn has an address: it depends on the seed and the number, not on what was drawn before. So a run that is
resumed goes on exactly as one that was never stopped. Standard library only.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from math import ceil, cos, pi
from random import Random

MOST_WINDOWS = 64
"""Windows that are measured at most: with 1,000 tokens each, a share is known to a fifth of a percent."""

_FEWEST_WINDOWS, _MOST_TIMES = 4, 20
_SHARE = 0.1
"""Of the time of training, what measuring may take."""


def key_of(seed: int, *address: str | int) -> int:
    """Return a number below 2^63 for an address, always the same one."""
    text = "/".join(map(str, (seed, *address)))
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def fill_of_step(seed: int, step: int, shares: Sequence[float]) -> int:
    """Return how many tokens are in flight, 1 to n, as a step simulates it. shares: as `fill_shares` has them."""
    return 1 + Random(key_of(seed, "fill", step)).choices(range(len(shares)), shares)[0]


def fill_shares(num_stages: int, acceptance: float | None) -> tuple[float, ...]:
    """Return in what part of the steps 1 to n tokens are in flight.

    acceptance: as often as drafts at each fill are verified, if so many of them are right: of those made d tokens after
    a rejection p^(d - 1) are, and then 1 / (1 - p) in a full pipeline. None: n half of the time, else 1 to n - 1 alike,
    as the v11 release has it.
    """
    filling = num_stages - 1
    if filling == 0:
        return (1.0,)
    if acceptance is None:
        return (*[0.5 / filling] * filling, 0.5)
    counts = [acceptance**depth for depth in range(filling)]
    counts.append(acceptance**filling / (1.0 - acceptance))
    return tuple(count / sum(counts) for count in counts)


def learning_rate(step: int, steps: int, warm_up: int, peak: float) -> float:
    """Return the rate of a step, counted from 0: a linear rise, then half a cosine down to nothing.

    peak: that of the step after `warm_up` others.
    """
    if step < warm_up:
        return peak * (step + 1) / (warm_up + 1)
    return 0.5 * peak * (1.0 + cos(pi * (step - warm_up) / max(1, steps - warm_up)))


@dataclass(frozen=True, slots=True)
class Measuring:
    """After how many steps held-out text is measured: at the beginning, every so many, and at the end.

    few: windows of it each time, on all processes together. last: at the end.
    """

    every: int
    few: int
    last: int


def measuring(steps: int, windows_per_step: int, num_stages: int, every: int | None) -> Measuring:
    """Return when to measure, and how much: in a tenth of the time of training, where that is enough for anything.

    every: as it was asked for; None: 20 times at most, in short runs less often.
    """
    # What a window costs, measured, in times a window that is trained on: drafts at every fill depth are looked at,
    # but no gradient is needed.
    cost = (num_stages + 4) / 6
    affordable = int(_SHARE * steps * windows_per_step / cost)
    last = _within(affordable // 2)
    rest = affordable - last
    if every is None:
        every = ceil(steps / max(1, min(_MOST_TIMES, rest // _FEWEST_WINDOWS)))
    return Measuring(every, _within(rest // ceil(steps / every)), last)


def _within(windows: int) -> int:
    return min(max(windows, _FEWEST_WINDOWS), MOST_WINDOWS)
