"""What a tree of drafts needs of the caches: rows for nodes that may turn out wrong, and who sees whom.

A cache begins with a scratch block, a ring of levels with a few rows each, and goes on with a row for each verified
position. A node of a level writes its scratch row; it sees the verified positions, and in the scratch block its own
ancestors and itself. Once a node is verified its scratch row is copied to its position, and what was beside it is
overwritten when the ring comes round.

Knows nothing of tokens, or of why a node is right.
Shapes: W nodes of a level, S scratch rows, R rows of a cache: those, and the positions.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from executor.model.attention import KVCache
from executor.model.dense import DenseLayer
from executor.model.rows import Rows, RowTable


def num_levels(capacity: int) -> int:
    """Return enough levels for a ring: all in flight, the one drafted, and one to spare."""
    return capacity + 2


class Ancestors:
    """Which nodes in flight each node in flight descends from, itself included, by scratch row: `sees_SS`."""

    def __init__(self, levels: int, width: int, device: torch.device) -> None:
        self.width, self.num_slots = width, levels * width
        self._levels = levels
        self._itself_WW = torch.eye(width, dtype=torch.bool, device=device)
        self.sees_SS = torch.zeros(self.num_slots, self.num_slots, dtype=torch.bool, device=device)

    def slot(self, position: int) -> int:
        """Return the scratch row of node 0 of the level at `position`; the others follow it."""
        return position % self._levels * self.width

    def clear(self) -> None:
        """Begin anew: nothing is in flight but what is verified."""
        self.sees_SS.zero_()

    def grow(self, position: int, parents_W: Tensor) -> None:
        """Add a level; parents_W: int64, nodes of the level before. A node without a parent is as good as any."""
        start, before = self.slot(position), self.slot(position - 1)
        sees_WS = self.sees_SS[before : before + self.width].index_select(0, parents_W.clamp(min=0))
        sees_WS[:, start : start + self.width] = self._itself_WW
        self.sees_SS[start : start + self.width] = sees_WS

    def settle(self, position: int) -> None:
        """Let nobody see the scratch rows of a level: the right one of them is among the positions now."""
        start = self.slot(position)
        self.sees_SS[:, start : start + self.width] = False


@dataclass(frozen=True, slots=True)
class LevelCaches:
    """The caches of some layers of one shape. rows_LHRD: all of them. whole, positions: each with and without scratch.

    What writes and reads by position, as a chain does, is given `positions`.
    """

    rows_LHRD: Tensor
    whole: list[KVCache]
    positions: list[KVCache]

    @classmethod
    def of(cls, layers: Sequence[DenseLayer], num_slots: int, max_rows: int) -> "LevelCaches":
        """Return empty caches of `num_slots` scratch rows and `max_rows` positions."""
        shape, like = layers[0].shape, layers[0].self_attn.qkv
        heads, num_rows = shape.num_kv_heads, num_slots + max_rows
        size = (len(layers), 2 * heads, num_rows, shape.head_dim)
        rows_LHRD = torch.zeros(size, dtype=like.dtype, device=like.device)
        whole = [KVCache(rows, rows.view(2, 1, heads, num_rows, shape.head_dim)) for rows in rows_LHRD]
        positions = [KVCache(kept.rows_HSD[:, num_slots:], kept.pair_21HSD[:, :, :, num_slots:]) for kept in whole]
        return cls(rows_LHRD, whole, positions)

    def copy(self, source: int, to: int) -> None:
        """Copy a row of every layer."""
        self.rows_LHRD[:, :, to].copy_(self.rows_LHRD[:, :, source])


class LevelMemory:
    """The caches of a stage's layers, and where the nodes of a level stand in them.

    table: of positions. levels: those of the ring.
    """

    def __init__(
        self, layers: Sequence[DenseLayer], table: RowTable, levels: int, width: int, device: torch.device
    ) -> None:
        self._ancestors = ancestors = Ancestors(levels, width, device)
        self._table, self._width, self._num_slots = table, width, ancestors.num_slots
        self.caches = LevelCaches.of(layers, ancestors.num_slots, table.max_rows)
        self._row_R = torch.arange(ancestors.num_slots + table.max_rows, device=device)
        # Positions are seen by all; what is seen of the scratch block is written before every level.
        self._mask_WR = torch.ones(width, len(self._row_R), dtype=torch.bool, device=device)
        self._has_windows = any(layer.shape.window is not None for layer in layers)
        self._position_R = self._row_R - ancestors.num_slots
        self._verified = -1

    def begin(self, position: int) -> Rows:
        """Return where a verified token stands, with as many rows beside it as a level has: node 0 counts."""
        self._ancestors.clear()
        self._verified = position
        slot = self._ancestors.slot(position)
        rows_W = self._row_R[slot : slot + self._width].clone()
        rows_W[0] = self._num_slots + position
        self._mask_WR[:, : self._num_slots] = False
        return self._rows(position, rows_W)

    def grow(self, position: int, parents_W: Tensor) -> Rows:
        """Return where the nodes of a level stand, and whom each of them sees."""
        self._ancestors.grow(position, parents_W)
        slot = self._ancestors.slot(position)
        self._mask_WR[:, : self._num_slots] = self._ancestors.sees_SS[slot : slot + self._width]
        self._position_R[slot : slot + self._width] = position
        return self._rows(position, self._row_R[slot : slot + self._width])

    def keep(self, position: int, node: int) -> None:
        """Take a node as verified: the one after the last that was."""
        self.caches.copy(self._ancestors.slot(position) + node, self._num_slots + position)
        self._ancestors.settle(position)
        self._verified = position

    def _rows(self, position: int, rows_W: Tensor) -> Rows:
        at = self._table.rows(position, 1)
        num_visible = self._num_slots + self._verified + 1
        mask_WR = self._mask_WR[:, :num_visible]
        age_R = position - self._position_R[:num_visible] if self._has_windows else None
        return replace(at, positions_T=rows_W, num_visible=num_visible, mask_TS=mask_WR, age_S=age_R)
