"""The two ends of a model: the table of embeddings, and the final norm with the LM head or a shard of it.

Knows nothing of decoder layers.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from executor.model.architecture import Architecture
from executor.model.parts import RmsNorm
from executor.model.weights import Weights, load

_EMBEDDINGS = "model.embed_tokens.weight"


class Embedding:
    """Token ids to hidden states (the features of anchor 0). `table_VH` may serve a tied LM head too.

    Raises InputError as `weights` do.
    """

    def __init__(
        self, architecture: Architecture, weights: Weights, device: torch.device | str, dtype: torch.dtype
    ) -> None:
        size = (architecture.vocab_size, architecture.hidden_size)
        self.table_VH = torch.empty(size, dtype=dtype, device=device)
        weights.fill(_EMBEDDINGS, self.table_VH)

    def __call__(self, tokens_T: Tensor) -> Tensor:
        """Return the hidden states hidden_TH of token ids, int64 (T,)."""
        return F.embedding(tokens_T, self.table_VH)


class Head:
    """The final norm, and rows `first_row` to `first_row + num_rows - 1` of the LM head.

    table_VH: the embedding table, where embeddings are tied and this worker has it already.
    Raises InputError as `weights` do.
    """

    def __init__(
        self,
        architecture: Architecture,
        weights: Weights,
        first_row: int,
        num_rows: int,
        device: torch.device | str,
        dtype: torch.dtype,
        table_VH: Tensor | None = None,
    ) -> None:
        self.norm = final_norm(architecture, weights, device, dtype)
        if architecture.tied_embeddings and table_VH is not None:
            self.rows_VH = table_VH[first_row : first_row + num_rows]
            return
        self.rows_VH = torch.empty(num_rows, architecture.hidden_size, dtype=dtype, device=device)
        name = _EMBEDDINGS if architecture.tied_embeddings else "lm_head.weight"
        weights.fill(name, self.rows_VH, first_row, architecture.vocab_size)

    @torch.inference_mode()
    def __call__(self, hidden_1H: Tensor) -> Tensor:
        """Return the logits of these rows for one token's last hidden state, float32 (num_rows,)."""
        return F.linear(self.norm.forward(hidden_1H), self.rows_VH).float().view(-1)


def final_norm(architecture: Architecture, weights: Weights, device: torch.device | str, dtype: torch.dtype) -> RmsNorm:
    """Return the norm after the last layer. Raises InputError as `weights` do."""
    size, eps, offset = architecture.hidden_size, architecture.rms_eps, architecture.norm_offset
    norm = RmsNorm(size, eps, dtype, device, offset)
    load(norm, weights, "model.norm.")
    return norm
