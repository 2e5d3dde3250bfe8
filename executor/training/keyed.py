"""Random choices by address: what a step draws depends on the seed and its number, not on what was drawn before.

So a run that is resumed goes on exactly as one that was never stopped. Standard library only.
"""

from collections.abc import Sequence
from hashlib import blake2b
from random import Random


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
