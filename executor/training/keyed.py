"""Random choices by address: what a step draws depends on the seed and its number, not on what was drawn before.

So a run that is resumed goes on exactly as one that was never stopped. Standard library only.
"""

from hashlib import blake2b
from random import Random


def key_of(seed: int, *address: str | int) -> int:
    """Return a number below 2^63 for an address, always the same one."""
    text = "/".join(map(str, (seed, *address)))
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def fill_of_step(seed: int, step: int, num_stages: int) -> int:
    """Return how many tokens are in flight, as a step simulates it: n half of the time, else 1 to n - 1 alike."""
    drawn = Random(key_of(seed, "fill", step))
    if num_stages == 1 or drawn.random() < 0.5:
        return num_stages
    return 1 + int(drawn.random() * (num_stages - 1))
