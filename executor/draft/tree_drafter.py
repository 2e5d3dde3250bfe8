"""The draft rank's module with a tree of drafts: what `drafter` is for a chain.

Rows of a draft, oldest first: the token that has completed every stage, the oldest in flight, both verified and
written by position; then every level that is younger, all its nodes, in the scratch block of the caches, each seeing
its ancestors. The rows of the newest level give the logits of what may follow its nodes.

Knows nothing of tokens that are right or of how many nodes are alive: dead ones are computed like others.
Shapes: W nodes of a level, A anchors of one stage, H hidden size, F all anchors side by side, R rows, V vocabulary.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from executor.draft.features import FeatureRing, prompt_chunks
from executor.draft.module import DraftModule
from executor.model.rows import Rows, RowTable
from executor.model.tree import Ancestors, LevelCaches, num_levels


class TreeDrafter:
    """A draft module at work on levels of `width` nodes. embed: token ids (T,) to hidden states (T, H)."""

    def __init__(self, module: DraftModule, table: RowTable, embed: Callable[[Tensor], Tensor], width: int) -> None:
        shape, self._device = module.shape, module.head.device
        self._module, self._table, self._embed, self._width = module, table, embed, width
        self._cut = cut = shape.cut
        self._parts = [cut.anchors_of_stage(stage) for stage in range(cut.num_stages)]
        levels = num_levels(cut.num_stages)
        self._ancestors = ancestors = Ancestors(levels, width, self._device)
        self._num_slots = ancestors.num_slots
        self._caches = LevelCaches.of(module.layers, ancestors.num_slots, table.max_rows)
        self._ring = FeatureRing(
            ancestors.num_slots, len(cut.anchors), shape.layer.hidden_size, module.head.dtype, self._device
        )
        most_rows = 2 + (cut.num_stages - 1) * width
        self._mask_RS = torch.ones(
            most_rows, ancestors.num_slots + table.max_rows, dtype=torch.bool, device=self._device
        )
        self._mask_RS[:, : self._num_slots] = False
        self._blocks = {count: cut.row_blocks(count, width) for count in range(2, cut.num_stages + 2)}
        self._right: dict[int, int] = {}
        self._prompt: tuple[int, ...] = ()
        self._of_prompt: dict[int, Tensor] = {}

    def reset(self, prompt: Sequence[int]) -> None:
        """Begin a sequence."""
        self._prompt = tuple(prompt)
        self._of_prompt.clear()
        # Of the prompt's last token there is one only.
        self._right = {len(prompt) - 1: 0}

    def put_prompt_features(self, stage: int, features_TAH: Tensor) -> None:
        """Take what `stage` put out for the prompt; it must hold until `prefill`."""
        self._of_prompt[stage] = features_TAH

    def prefill(self) -> None:
        """Run the prompt, whose tokens have completed every stage. Needs the features of all stages that have any."""
        of_stages = [self._of_prompt[stage] for stage, part in enumerate(self._parts) if part]
        for start, features_TF in prompt_chunks(self._prompt, of_stages, self._embed, self._device):
            completed = ((self._cut.deepest_type, slice(len(features_TF))),)
            at = self._table.rows(start, len(features_TF))
            self._module.forward(features_TF, completed, at, self._caches.positions)
        self._ring.put_rows(self._row(len(self._prompt) - 1), 0, features_TF[-1:, None])
        self._of_prompt.clear()

    def put_token(self, position: int, token_1: Tensor) -> None:
        """Begin a tree with a verified token."""
        self._ancestors.clear()
        self._put_tokens(position, token_1)
        self._keep(position, 0)

    def grow(self, position: int, tokens_W: Tensor, parents_W: Tensor) -> None:
        """Add a level; int64, on the device."""
        self._ancestors.grow(position, parents_W)
        self._put_tokens(position, tokens_W)

    def keep(self, position: int, node: int) -> None:
        """Take a node of the oldest level that was not verified as verified."""
        self._ancestors.settle(position)
        self._keep(position, node)

    def put_features(self, stage: int, position: int, features_TAH: Tensor) -> None:
        """Take what `stage` put out for the nodes at a position: the last stage for the right one only."""
        is_last = stage == self._cut.num_stages - 1
        row = self._row(position) if is_last else self._ancestors.slot(position)
        self._ring.put_rows(row, self._parts[stage].start, features_TAH)

    def draft(self, newest: int, num_in_flight: int) -> Tensor:
        """Return the logits (W, V) of what follows each node at position `newest`; (1, V) where the tree begins there.

        Raises RunError where the caches have too few rows.
        """
        oldest, width = newest + 1 - num_in_flight, self._width
        levels = range(oldest + 1, newest + 1)
        slots = [row for level in levels for row in self._rows_of(level)]
        positions = [oldest - 1, oldest, *(level for level in levels for _ in range(width))]
        row_R = torch.tensor([self._num_slots + oldest - 1, self._num_slots + oldest, *slots], device=self._device)
        ring_R = torch.tensor([self._row(oldest - 1), self._row(oldest), *slots], device=self._device)
        num_visible, hidden_by = self._num_slots + oldest + 1, self._mask_RS[0]
        self._mask_RS[2 : 2 + len(slots), : self._num_slots] = self._ancestors.sees_SS[ring_R[2:]]
        # The older of the two verified tokens does not see the younger one.
        hidden_by[num_visible - 1] = False
        at = self._table.static(torch.tensor(positions, device=self._device), 0)
        rows = Rows(row_R, at.cos_TD, at.sin_TD, num_visible, self._mask_RS[: len(positions), :num_visible])
        blocks = self._blocks[num_in_flight + 1]
        hidden_RH = self._module.forward(self._ring.gather(ring_R), blocks, rows, self._caches.whole)
        hidden_by[num_visible - 1] = True
        return self._module.logits_of(hidden_RH[-(width if slots else 1) :])

    def _put_tokens(self, position: int, tokens_T: Tensor) -> None:
        self._ring.put_rows(self._ancestors.slot(position), 0, self._embed(tokens_T)[:, None])

    def _keep(self, position: int, node: int) -> None:
        self._right[position] = node
        # A draft looks no further back than the token before the oldest in flight.
        self._right.pop(position - 3, None)

    def _row(self, position: int) -> int:
        """The ring's row of the right node at a verified position."""
        return self._ancestors.slot(position) + self._right[position]

    def _rows_of(self, position: int) -> range:
        start = self._ancestors.slot(position)
        return range(start, start + self._width)
