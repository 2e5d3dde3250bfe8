"""The coins of many sequences at a time."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from spdsim.acceptance import Coins

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]
    Bools = NDArray[np.bool_]


class Verdicts:
    """The verdict on the newest draft for each position of each sequence: `accepted`, shape (positions, S)."""

    def __init__(self, coins: Sequence[Coins], num_tokens: "Ints") -> None:
        """Read the coins of positions 0 to num_tokens - 1 of each sequence."""
        shape = (int(num_tokens.max()), len(coins))
        self._depends_on_depth = any(coin.fixed is None for coin in coins)
        accepted = np.ones(shape[::-1], np.bool_)
        self._uniform = np.zeros(shape[::-1] if self._depends_on_depth else (0, 0))
        deepest = max((len(coin.p_by_depth) for coin in coins), default=0)
        self._p = np.ones((deepest, len(coins)))
        for sequence, (coin, count) in enumerate(zip(coins, num_tokens.tolist(), strict=True)):
            if coin.fixed is not None:
                accepted[sequence, :count] = np.frombuffer(bytes(coin.fixed[:count]), np.bool_)
            else:
                assert coin.uniform is not None
                self._uniform[sequence, :count] = coin.uniform[:count]
                self._p[:, sequence] = [*coin.p_by_depth, *coin.p_by_depth[-1:] * (deepest - len(coin.p_by_depth))]
        self._is_fixed = np.array([coin.fixed is not None for coin in coins])
        self.accepted: Bools = np.ascontiguousarray(accepted.T)
        self._uniform = np.ascontiguousarray(self._uniform.T)

    def of(self, position: int, sequences: "Ints") -> "Bools":
        """Return the verdicts on `position`, shape (len(sequences),)."""
        found: Bools = self.accepted[position, sequences]
        return found

    def draft(self, position: int, fill_depth: int, sequences: "Ints") -> None:
        """A draft for `position` is made with `fill_depth` tokens in flight, in each of these sequences."""
        if self._depends_on_depth and position < len(self.accepted):
            # The last probability serves all deeper drafts.
            p = self._p[min(fill_depth, len(self._p)) - 1, sequences]
            is_accepted = self._uniform[position, sequences] < p
            fixed = self._is_fixed[sequences]
            self.accepted[position, sequences] = np.where(fixed, self.accepted[position, sequences], is_accepted)
