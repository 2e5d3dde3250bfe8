"""The frozen target as a teacher: features, last hidden states and logits of whole texts.

Shapes: T tokens, H hidden size, F = M · H features of all anchors side by side, V token ids.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from executor.model.architecture import Architecture
from executor.model.head import Head
from executor.model.parts import RmsNorm
from executor.model.stage import StageModel
from executor.model.weights import Weights


@dataclass(frozen=True, slots=True)
class Lesson:
    """A text as the target sees it. hidden_TH: after the last decoder layer, before the final norm."""

    tokens_T: Tensor
    features_TF: Tensor
    hidden_TH: Tensor


class Teacher:
    """A whole target on one device. anchors: the hidden states that lessons hold, 0 (the embedding) first.

    max_rows: the longest text. Raises InputError as its `weights` do.
    """

    def __init__(
        self, architecture: Architecture, weights: Weights, anchors: tuple[int, ...], max_rows: int,
        device: torch.device, dtype: torch.dtype,
    ) -> None:  # fmt: skip
        self._model = StageModel(
            architecture, weights, 0, architecture.num_layers, anchors[1:], True, max_rows, 1, device, dtype
        )
        assert self._model.embedding is not None
        self._embed = self._model.embedding
        table_VH = self._embed.table_VH
        self._head = Head(architecture, weights, 0, architecture.vocab_size, device, dtype, table_VH)
        self._chosen: tuple[Tensor, Tensor] | None = None

    @property
    def norm(self) -> RmsNorm:
        """The final norm."""
        return self._head.norm

    @property
    def head_VH(self) -> Tensor:
        """The weights of the LM head."""
        return self._head.rows_VH

    def __call__(self, tokens_T: Tensor) -> Lesson:
        """Return the lesson of a text, int64 (T,), from its first token on."""
        output = self._model.prefill(tokens_T)
        # Copies: what is made in inference mode cannot be kept for a backward pass.
        features_TF = torch.cat((self._embed(tokens_T), output.features_TAH.flatten(1)), dim=1)
        return Lesson(tokens_T, features_TF, output.hidden_TH.clone())

    @torch.no_grad()
    def logits(self, hidden_TH: Tensor, ids_V: Tensor | None = None) -> Tensor:
        """Return the target's logits (T, V), float32, of the token ids `ids_V` (int64), or of all."""
        return F.linear(self.norm.forward(hidden_TH), self._rows(ids_V)).float()

    def _rows(self, ids_V: Tensor | None) -> Tensor:
        if ids_V is None:
            return self._head.rows_VH
        # The rows of one choice are kept: gathering them is as much work as a product.
        if self._chosen is None or self._chosen[0] is not ids_V:
            self._chosen = ids_V, self._head.rows_VH.index_select(0, ids_V)
        return self._chosen[1]
