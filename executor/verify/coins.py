"""Seeded randomness, keyed by what it is for and never by the order of use.

A coin is a function of (seed, sequence, position, stream); Gumbel noise is one of the token id too. So two runs that
differ in stages, lag, shards or devices see the same randomness, and a shard makes the noise of its own rows alone.

Noise is a counter-based hash in 32-bit integers, which every device does alike and several times faster than seeding
one generator per block of rows. Position and stream choose a random line (odd slope, offset) and the token id is the
point on it, as in SplitMix with a gamma per stream (Steele, Lea, Flood, OOPSLA 2014); the finaliser is Wellons'
`triple32` (hash-prospector, measured bias close to that of an ideal permutation).

Knows nothing of laws or verdicts.
"""

from enum import IntEnum
from typing import NamedTuple

import torch
from torch import Tensor


class Key(NamedTuple):
    """What a coin is for: `position` counts the generated tokens of `sequence` (0 is y_1)."""

    seed: int
    sequence: int
    position: int


class Stream(IntEnum):
    """The draws of one position, independent of each other."""

    DRAFT = 1
    ACCEPT = 2
    RESIDUAL = 3
    TARGET = 4


_MASK_64, _MASK_32 = (1 << 64) - 1, (1 << 32) - 1
_GAMMA_64 = 0x9E3779B97F4A7C15
_TRIPLE_32 = ((17, 0xED5AD4BB), (11, 0xAC4C1B51), (15, 0x31848BAB), (14, 1))
"""Rounds of shift-and-xor, then multiply; the last multiplies by nothing."""


def uniform(key: Key, stream: Stream) -> float:
    """Return the uniform of `key` and `stream`, strictly between 0 and 1, on a grid of 2^-52."""
    return ((_state(key, stream) >> 12) + 0.5) * 2.0**-52


def gumbel_V(key: Key, stream: Stream, first_row: int, count: int, device: torch.device) -> Tensor:
    """Return the float32 Gumbel noise of the token ids first_row to first_row + count - 1, on `device`."""
    ids_V = torch.arange(first_row, first_row + count, dtype=torch.int32, device=device)
    return _gumbel_(ids_V, key, stream)


def gumbel_of(ids_C: Tensor, key: Key, stream: Stream) -> Tensor:
    """Return the float32 Gumbel noise of the token ids `ids_C`: what `gumbel_V` gives at those rows."""
    return _gumbel_(ids_C.to(torch.int32, copy=True), key, stream)


def _gumbel_(ids_C: Tensor, key: Key, stream: Stream) -> Tensor:
    """The noise of int32 ids, which are overwritten: at 250 000 of them, every further buffer costs as much as a log.

    -log(-log(1 - u)) with u from 2^-32 to 1 - 2^-24: float32 is finest near u = 0, where the winners of a draw are.
    """
    state = _state(key, stream)
    bits_C = ids_C.mul_(_signed_32(state & _MASK_32 | 1)).add_(_signed_32(state >> 32))
    scratch_C = torch.empty_like(bits_C)
    for shift, factor in _TRIPLE_32:
        # A shift of signed integers copies the sign: the mask makes it the unsigned one of the hash.
        torch.bitwise_right_shift(bits_C, shift, out=scratch_C)
        bits_C.bitwise_xor_(scratch_C.bitwise_and_(_MASK_32 >> shift)).mul_(_signed_32(factor))
    minus_u_C = scratch_C.view(torch.float32).copy_(bits_C.bitwise_and_(_MASK_32 >> 1))
    minus_u_C.add_(0.5).mul_(-(2.0**-31) * (1.0 - 2.0**-24))
    return minus_u_C.log1p_().neg_().log_().neg_()


def _state(key: Key, stream: Stream) -> int:
    """64 well-mixed bits: each word is absorbed and mixed in turn, so that words cannot stand in for one another."""
    state = 0
    for word in (*key, int(stream)):
        state = _mix_64((state ^ word) + _GAMMA_64 & _MASK_64)
    return state


def _mix_64(word: int) -> int:
    """The finaliser of SplitMix64."""
    word = (word ^ word >> 30) * 0xBF58476D1CE4E5B9 & _MASK_64
    word = (word ^ word >> 27) * 0x94D049BB133111EB & _MASK_64
    return word ^ word >> 31


def _signed_32(word: int) -> int:
    return word - (1 << 32) if word >> 31 else word
