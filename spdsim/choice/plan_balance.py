"""Uneven cuts: the layers of each stage with which the slowest stage is as fast as it can be.

A stage takes what its layers take, one after another, and what else is to be done beside them on its device (a draft,
the LM head). Exact, by dynamic programming over where each stage begins; knows nothing of scenarios.
"""

from collections.abc import Callable
from functools import lru_cache
from itertools import accumulate
from math import inf

_ROUNDING = 1e-12


@lru_cache(maxsize=1024)
def balanced(
    layers_s: tuple[float, ...],
    beside_s: tuple[float, ...],
    layers_bytes: tuple[float, ...] = (),
    room_bytes: tuple[float, ...] = (),
) -> tuple[int, ...] | None:
    """Return the number of layers of each stage; None if no cut fits.

    layers_s: seconds of each layer, the first one first. beside_s: of what each stage's device has to do beside.
    layers_bytes, room_bytes: what each layer holds, and what each stage has room for; nothing is held against nothing.
    Of all cuts whose slowest stage is fastest it is the one with the least sum of squares of the stages' times, so
    that the other stages are even too. Every stage has a layer at least.
    """
    time_s = [0.0, *accumulate(layers_s)]
    size = [0.0, *accumulate(layers_bytes or (0.0,) * len(layers_s))]
    room = room_bytes or (inf,) * len(beside_s)

    def stage_s(stage: int, first: int, stop: int) -> float:
        """Seconds of a stage with layers `first` to `stop` - 1; infinite where they have no room."""
        return inf if size[stop] - size[first] > room[stage] else time_s[stop] - time_s[first] + beside_s[stage]

    found = _cut(len(layers_s), len(beside_s), stage_s, inf, max)
    if found is None:
        return None
    slowest_s = found[0] * (1.0 + _ROUNDING)
    best = _cut(len(layers_s), len(beside_s), stage_s, slowest_s, lambda one_s, others: one_s * one_s + others)
    return None if best is None else best[1]


def _cut(
    num_layers: int, num_stages: int, stage_s: Callable[[int, int, int], float], most_s: float,
    join: Callable[[float, float], float],
) -> tuple[float, tuple[int, ...]] | None:  # fmt: skip
    """Return the least cost and its cut, where no stage takes longer than `most_s`.

    join: of a stage's seconds and the cost of those after it, not less for either being more. Costs rise with stop,
    so that a stage that takes too long ends the search for a longer one.
    """
    # At `first`: the least cost of the stages from here on if they begin there, and their layers.
    after: dict[int, tuple[float, tuple[int, ...]]] = {num_layers: (0.0, ())}
    for stage in reversed(range(num_stages)):
        here: dict[int, tuple[float, tuple[int, ...]]] = {}
        for first in range(stage, num_layers) if stage else (0,):
            least = inf
            for stop in range(first + 1, num_layers + 1):
                one_s = stage_s(stage, first, stop)
                if one_s > most_s or one_s == inf or join(one_s, 0.0) >= least:
                    break
                if stop in after and (cost := join(one_s, after[stop][0])) < least:
                    least = cost
                    here[first] = (cost, (stop - first, *after[stop][1]))
        after = here
    return after.get(0)
