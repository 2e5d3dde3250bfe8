"""The features of the newest tokens: a ring of hidden states by absolute position.

A position is put anchor by anchor, as its token passes through the stages. Overwriting by position is all that a
rejection needs: a position that is drafted again is put again before it is read. Memory does not grow with tokens.

Knows nothing of stages or of the draft module. What was never put of a position is not to be read.
Shapes: S rows of the ring, R rows of a draft, A anchors of one stage, H hidden size, F = M · H: all anchors in a row.
"""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

_CHUNK_ROWS = 512
"""Rows of a prompt that are run at a time: enough to keep a device busy, few enough to need little memory."""


def prompt_chunks(
    prompt: Sequence[int], of_stages: Sequence[Tensor], embed: Callable[[Tensor], Tensor], device: torch.device
) -> Iterator[tuple[int, Tensor]]:
    """Yield the features of a prompt, a chunk of rows after another: its first position, and features_TF.

    of_stages: all anchors but the embedding, in order, some in each features_TAH.
    """
    for start in range(0, len(prompt), _CHUNK_ROWS):
        rows = slice(start, start + _CHUNK_ROWS)
        tokens_T = torch.tensor(prompt[rows], dtype=torch.int64, device=device)
        yield start, torch.cat((embed(tokens_T), *(each_TAH[rows].flatten(1) for each_TAH in of_stages)), dim=1)


def ring_rows(num_stages: int, verification_lag: int) -> int:
    """Return enough rows: all in flight (n + k), the token before them, the one drafted, and one to spare."""
    return num_stages + verification_lag + 3


class FeatureRing:
    """Features of the newest positions, (S, F)."""

    def __init__(self, num_rows: int, num_anchors: int, hidden_size: int, dtype: torch.dtype, device: torch.device):
        self._num_rows, self._hidden_size = num_rows, hidden_size
        self._features_SF = torch.zeros(num_rows, num_anchors * hidden_size, dtype=dtype, device=device)
        # Views made once: making them for every token costs a host more than the copy.
        self._rows = self._features_SF.unbind()

    def put(self, position: int, first_anchor: int, features_AH: Tensor) -> None:
        """Put anchors `first_anchor` and following (by index) of an absolute position."""
        start = first_anchor * self._hidden_size
        row_F = self._rows[position % self._num_rows]
        row_F[start : start + features_AH.numel()].copy_(features_AH.reshape(-1))

    def put_rows(self, first_row: int, first_anchor: int, features_TAH: Tensor) -> None:
        """Put anchors `first_anchor` and following of several rows of the ring, which a tree has for one position."""
        features_TF = features_TAH.flatten(1)
        start = first_anchor * self._hidden_size
        self._features_SF[first_row : first_row + len(features_TF), start : start + features_TF.shape[1]] = features_TF

    def gather(self, positions_R: Tensor) -> Tensor:
        """Return (R, F) of absolute positions (int64, on the device)."""
        return self._features_SF.index_select(0, positions_R % self._num_rows)
