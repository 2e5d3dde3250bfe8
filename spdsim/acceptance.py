"""Acceptance models: which drafts the target accepts.

The coin of a position is keyed by (seed, sequence, position), never by the order of use, so that two runs
that differ in anything else see the same coins (common random numbers). A chain verifies each position once,
so no further attempt number is needed.

Knows nothing of time or devices.
"""

from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_COINS, _STATES, _SKILL = 1, 2, 3


@dataclass(frozen=True, slots=True)
class Bernoulli:
    """Every draft is accepted with the same probability `p`."""

    p: float


@dataclass(frozen=True, slots=True)
class ByFillDepth:
    """A draft made with d tokens in flight is accepted with probability `p[d - 1]`; the last entry serves deeper."""

    p: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Markov:
    """Runs of easy and hard text: a two-state chain over positions.

    p: acceptance in the (easy, hard) state. stay: probability that the next position is in the same state.
    The first position is drawn from the stationary distribution.
    """

    p: tuple[float, float]
    stay: tuple[float, float]

    @property
    def easy_fraction(self) -> float:
        """Stationary probability of the easy state."""
        leave_easy, leave_hard = 1.0 - self.stay[0], 1.0 - self.stay[1]
        return 0.5 if leave_easy + leave_hard == 0.0 else leave_hard / (leave_easy + leave_hard)


@dataclass(frozen=True, slots=True)
class BetaPerSequence:
    """Some sequences are harder: each draws its own probability from a Beta with mean `p`.

    concentration: a + b of the Beta; the variance between sequences is p (1 - p) / (concentration + 1).
    """

    p: float
    concentration: float


@dataclass(frozen=True, slots=True)
class Replay:
    """Recorded verdicts: `accepted[s][j]` is the j-th verified draft of sequence s (position j + 1).

    Sequences beyond the last recorded one start again at the first; a sequence ends where its record ends.
    """

    accepted: tuple[tuple[bool, ...], ...]


Acceptance = Bernoulli | ByFillDepth | Markov | BetaPerSequence | Replay


@dataclass(frozen=True, slots=True)
class Coins:
    """The verdicts of one sequence, by position.

    Either `fixed[position]` (position 0, y_1, is never drafted), or `uniform[position]` held against the
    acceptance at the fill depth at which the draft was made. key: (seed, sequence), for events that are no verdicts.
    """

    fixed: list[bool] | None
    uniform: list[float] | None = None
    p_by_depth: tuple[float, ...] = ()
    key: tuple[int, int] = (0, 0)

    def accepts(self, position: int, fill_depth: int) -> bool:
        """Return the verdict on the draft for `position`, made with `fill_depth` (>= 1) tokens in flight."""
        if self.fixed is not None:
            return self.fixed[position]
        assert self.uniform is not None
        return self.uniform[position] < self.p_by_depth[min(fill_depth, len(self.p_by_depth)) - 1]

    def event(self, name: str, index: int) -> float:
        """Return a uniform number of [0, 1) for what else happens at `index`, independent of all verdicts."""
        told = f"{self.key[0]} {self.key[1]} {name} {index}".encode()
        return (int.from_bytes(blake2b(told, digest_size=8).digest(), "big") >> 11) * 2.0**-53


def toss(model: Acceptance, seed: int, sequence: int, num_tokens: int) -> Coins:
    """Return the coins of positions 0 to num_tokens - 1 of one sequence (of as many as a record has, and then True)."""
    key = (seed, sequence)
    if isinstance(model, Replay):
        record = model.accepted[sequence % len(model.accepted)][: num_tokens - 1]
        return Coins([True, *record, *[True] * (num_tokens - 1 - len(record))], key=key)
    uniform = _uniform(seed, sequence, _COINS, num_tokens)
    match model:
        case Bernoulli(p):
            return Coins((uniform < p).tolist(), key=key)
        case ByFillDepth(p):
            return Coins(None, uniform.tolist(), p, key)
        case Markov():
            return Coins((uniform < _markov_p(model, seed, sequence, num_tokens)).tolist(), key=key)
        case BetaPerSequence(p, concentration):
            skill = (
                _generator(seed, sequence, _SKILL).beta(p * concentration, (1.0 - p) * concentration)
                if 0 < p < 1
                else p
            )
            return Coins((uniform < skill).tolist(), key=key)


def max_tokens(model: Acceptance, sequence: int) -> int | None:
    """Return how many tokens a recorded sequence can give (its drafts and y_1); None without a record."""
    if isinstance(model, Replay):
        return len(model.accepted[sequence % len(model.accepted)]) + 1
    return None


def mean_acceptance(model: Acceptance, capacity: int) -> float:
    """Return the mean acceptance of verified drafts in a long run.

    capacity: tokens in flight when the pipeline is full. By fill depth it follows from the renewal at each
    rejection: drafts are made at depths 1, 2, ..., capacity, capacity, ... until the first is rejected, so
    the mean is 1 - 1 / E[drafts verified until then].
    """
    match model:
        case Bernoulli(p) | BetaPerSequence(p, _):
            return p
        case Markov(p, _):
            return model.easy_fraction * p[0] + (1.0 - model.easy_fraction) * p[1]
        case Replay(accepted):
            drafts = sum(len(record) for record in accepted)
            return sum(sum(record) for record in accepted) / drafts if drafts else 0.0
        case ByFillDepth(p):
            at = [p[min(depth, len(p)) - 1] for depth in range(1, capacity + 1)]
            if at[-1] >= 1.0:
                return 1.0
            survive, until_rejection = 1.0, 0.0
            for p_depth in at[:-1]:
                until_rejection += survive
                survive *= p_depth
            return 1.0 - 1.0 / (until_rejection + survive / (1.0 - at[-1]))


def _generator(seed: int, sequence: int, stream: int) -> "np.random.Generator":
    import numpy as np

    return np.random.Generator(np.random.PCG64(np.random.SeedSequence((seed, sequence, stream))))


def _uniform(seed: int, sequence: int, stream: int, count: int) -> "NDArray[np.float64]":
    return _generator(seed, sequence, stream).random(count)


def _markov_p(model: Markov, seed: int, sequence: int, count: int) -> "NDArray[np.float64]":
    import numpy as np

    p = np.empty(count)
    moves = _uniform(seed, sequence, _STATES, count)
    state = 0 if moves[0] < model.easy_fraction else 1
    for position in range(count):
        if position and moves[position] >= model.stay[state]:
            state = 1 - state
        p[position] = model.p[state]
    return p
