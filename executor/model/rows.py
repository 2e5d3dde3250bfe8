"""Where tokens stand in the one sequence: absolute positions, their rotations, and the cached rows that they see.

Batch 1: T tokens at contiguous positions. Knows nothing of layers.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from executor.model.rotary import Rotary, frequencies
from spdsim.errors import RunError


@dataclass(frozen=True, slots=True)
class Rows:
    """Where T tokens stand, at contiguous absolute positions.

    positions_T: absolute positions, int64. cos_TD, sin_TD: their rotation, D = rotary dim; the first half of `sin_TD`
    is negated, so that rotated = x * cos + roll(x, D / 2) * sin.
    num_visible: attention reads the cached rows 0 to num_visible - 1.
    mask_TS: bool (T, num_visible), True where a token sees a row, which is where row <= position. None where the
    shape says it: one token that sees every row, or as many tokens as rows (causal from the first row).
    age_S: where rows are not positions, as in a tree of drafts, how many positions each is before the tokens, which
    then are nodes at one position; positions_T are the rows that they write, and cos_TD, sin_TD (1, D) serve all.
    """

    positions_T: Tensor
    cos_TD: Tensor
    sin_TD: Tensor
    num_visible: int
    mask_TS: Tensor | None
    age_S: Tensor | None = None

    @property
    def count(self) -> int:
        """How many tokens there are, T."""
        return self.positions_T.shape[0]


class RowTable:
    """The rotations and positions of `max_rows` rows on one device."""

    def __init__(self, rotary: Rotary, max_rows: int, dtype: torch.dtype, device: torch.device | str) -> None:
        self.max_rows = max_rows
        self._positions = torch.arange(max_rows, device=device)
        half = torch.outer(torch.arange(max_rows, dtype=torch.float32), frequencies(rotary))
        cos, sin = half.cos(), half.sin()
        self._cos = torch.cat((cos, cos), dim=-1).to(device, dtype)
        self._sin = torch.cat((-sin, sin), dim=-1).to(device, dtype)

    def rows(self, start: int, count: int) -> Rows:
        """Return the rows start to start + count - 1, which see exactly what is before them and each other.

        Raises RunError where that is more than `max_rows`.
        """
        end = start + count
        if end > self.max_rows:
            raise RunError(f"row {end - 1} is asked for: the sequence may have at most {self.max_rows} rows")
        positions_T = self._positions[start:end]
        mask_TS = None if count in (1, end) else self._positions[:end] <= positions_T[:, None]
        return Rows(positions_T, self._cos[start:end], self._sin[start:end], end, mask_TS)

    def static(self, positions_T: Tensor, num_visible: int) -> Rows:
        """Return the rows at `positions_T`, all computed on the device, so that a graph can be captured.

        Rows 0 to num_visible - 1 are read and masked; positions_T: int64, contiguous, below `num_visible`, which is
        not checked.
        """
        mask_TS = self._positions[:num_visible] <= positions_T[:, None]
        cos_TD, sin_TD = self._cos.index_select(0, positions_T), self._sin.index_select(0, positions_T)
        return Rows(positions_T, cos_TD, sin_TD, num_visible, mask_TS)
