"""The pipeline draft module (v11): features of a few rows in, logits of the token after the newest out.

Rows of a draft, oldest first: the token that has completed every stage, then those in the stages. Each is projected
from the anchors that its token has, passes through a few dense layers, and the newest one gives the logits.
The layers' caches keep a row by position; rows of tokens in the stages are overwritten by the next draft.

Knows nothing of the schedule, nor of where features come from.
Shapes: R rows, H hidden size, F = M · H features of a row, all anchors side by side; V draft vocabulary.
Source: the public v11 release of speculative pipeline decoding (arXiv:2605.30852).
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from executor.draft.cut import Block
from executor.draft.shape import DraftShape
from executor.model import packed
from executor.model.attention import KVCache
from executor.model.dense import DenseLayer, Product
from executor.model.parts import RmsNorm, Weight
from executor.model.rows import Rows


class DraftModule(nn.Module):
    """Projections, layers and head, uninitialised, their parameters named as in checkpoints.

    norm: the target's final norm, which is no part of the module and of its weights.
    """

    def __init__(self, shape: DraftShape, norm: RmsNorm, dtype: torch.dtype, device: torch.device) -> None:
        super().__init__()
        self.shape = shape
        hidden_size = shape.layer.hidden_size
        empty = torch.empty(0, dtype=dtype, device=device)
        sizes = [(hidden_size, (kind + 1) * hidden_size) for kind in range(len(shape.cut.anchors))]
        # Plain attributes beside the named parameters, in the same memory: they are reached faster.
        self.projections = [empty.new_empty(size) for size in sizes]
        self.head = empty.new_empty(shape.draft_vocab_size, hidden_size)
        self.layers = [DenseLayer(shape.layer, dtype, device) for _ in range(shape.num_layers)]
        self.aggr_projs = nn.ModuleList(map(Weight, self.projections))
        self.spec_layers = nn.ModuleList(self.layers)
        self.lm_head = Weight(self.head)
        self.normalize = norm.forward
        self.linear: Product = F.linear

    def pack(self) -> None:
        """Pack the weights for products of a few rows where that is faster, once they are loaded.

        The head multiplies one row, and stays. Parameters no longer carry the names of checkpoints afterwards.
        """
        if not packed.can_pack(self.head):
            return
        del self.aggr_projs
        self.linear = packed.linear
        self.projections = [packed.pack(weight) for weight in self.projections]
        for layer in self.layers:
            layer.pack()

    def new_caches(self, max_rows: int) -> list[KVCache]:
        """Return an empty cache for each layer."""
        return [layer.new_cache(max_rows) for layer in self.layers]

    def forward(self, features_RF: Tensor, blocks: Sequence[Block], rows: Rows, caches: Sequence[KVCache]) -> Tensor:
        """Return the hidden states after the last layer, (R, H), and write the rows into the caches.

        blocks: the rows of each type; a row's features beyond those of its type are not read.
        """
        hidden_RH = self._project(features_RF, blocks)
        for layer, cache in zip(self.layers, caches, strict=True):
            hidden_RH = layer.forward(hidden_RH, rows, cache)
        return hidden_RH

    def logits(self, hidden_1H: Tensor) -> Tensor:
        """Return the logits (V,), float32, of what follows the one row given."""
        return F.linear(self.normalize(hidden_1H), self.head)[0].float()

    def logits_of(self, hidden_RH: Tensor) -> Tensor:
        """Return the logits (R, V), float32, of what follows each of some rows."""
        return F.linear(self.normalize(hidden_RH), self.head).float()

    def _project(self, features_RF: Tensor, blocks: Sequence[Block]) -> Tensor:
        # Types differ in their weights, so one product for each reads every weight once, whatever the number of rows.
        projected = []
        for kind, rows in blocks:
            weight = self.projections[kind]
            projected.append(self.linear(features_RF[rows, : weight.shape[1]], weight))
        return projected[0] if len(projected) == 1 else torch.cat(projected)
