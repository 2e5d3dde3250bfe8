"""The draft module in training: all positions of a sequence at once, with gradients.

Its parameters carry the names of v11 checkpoints. What it computes is what `executor.draft.module` computes token by
token, where each depth has a block of its own (`executor.training.layout`).

Shapes: T tokens of one sequence at positions 0 to T - 1, M anchors, H hidden size, F = M · H features of a token, all
anchors side by side; B blocks; V draft vocabulary.
"""

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from executor.draft.shape import DraftShape
from executor.model.dense import DenseShape
from executor.model.parts import RmsNorm
from executor.model.rotary import Rotary, frequencies
from executor.training.attention import attend
from executor.training.layout import COMPLETED, Block, blocks_of


class Student(nn.Module):
    """A draft module of the given shape. norm: the target's final norm, which is not trained."""

    def __init__(
        self, shape: DraftShape, rotary: Rotary, norm: RmsNorm, device: torch.device, dtype: torch.dtype = torch.float32
    ) -> None:
        super().__init__()
        self.shape, hidden_size = shape, shape.layer.hidden_size
        linear = partial(nn.Linear, bias=False, device=device, dtype=dtype)
        num_types = len(shape.cut.anchors)
        self.aggr_projs = nn.ModuleList([linear((kind + 1) * hidden_size, hidden_size) for kind in range(num_types)])
        self.spec_layers = nn.ModuleList([StudentLayer(shape.layer, device, dtype) for _ in range(shape.num_layers)])
        self.lm_head = linear(hidden_size, shape.draft_vocab_size)
        # In a tuple, so that it is no submodule: it is the target's, and frozen.
        self._norm = (norm,)
        self._dtype = dtype
        self._turns_D = frequencies(rotary).to(device)

    @torch.no_grad()
    def initialise(self, seed: int) -> None:
        """Draw the weights, the same ones on every device: normal with variance 1 / inputs; norms are one."""
        generator = torch.Generator().manual_seed(seed)
        for parameter in self.parameters():
            if parameter.ndim == 1:
                parameter.fill_(1.0)
            else:
                drawn = torch.empty(parameter.shape).normal_(0.0, parameter.shape[1] ** -0.5, generator=generator)
                parameter.copy_(drawn)

    def forward(self, features_TF: Tensor, fill: int, per_depth: bool = True) -> Tensor:
        """Return the hidden states after the last layer of the rows that draft, (T, H).

        Row t is what drafts the token after position t while `fill` tokens are in flight, the one at t the newest.
        per_depth: one block for each depth, exactly as decoding; else one for each type of features.
        Raises InputError unless 1 <= fill <= n.
        """
        blocks = blocks_of(self.shape.cut, fill, per_depth=per_depth)
        cos_TD, sin_TD = self._turned(features_TF.shape[0])
        # With products in fewer bits (autocast), what runs along the layers keeps those of the weights.
        hidden_BTH = torch.stack([self._project(features_TF, block.kind) for block in blocks]).to(self._dtype)
        for index, layer in enumerate(self.spec_layers):
            is_last = index == len(self.spec_layers) - 1
            hidden_BTH = layer(hidden_BTH, blocks, cos_TD, sin_TD, is_last)
        return hidden_BTH[-1]

    def logits(self, hidden_TH: Tensor) -> Tensor:
        """Return the logits (T, V), float32, of the tokens that the rows draft."""
        norm = self._norm[0]
        normed_TH = F.rms_norm(hidden_TH.float(), norm.shape, norm.scale.float(), norm.eps)
        logits_TV: Tensor = self.lm_head(normed_TH.to(self.lm_head.weight.dtype))
        return logits_TV.float()

    def _project(self, features_TF: Tensor, kind: int) -> Tensor:
        projection = self.aggr_projs[kind]
        projected_TH: Tensor = projection(features_TF[:, : (kind + 1) * self.shape.layer.hidden_size])
        return projected_TH

    def _turned(self, num_tokens: int) -> tuple[Tensor, Tensor]:
        """The rotation of positions 0 to T - 1; the first half of the sines is negated."""
        half = torch.outer(torch.arange(num_tokens, dtype=torch.float32, device=self._turns_D.device), self._turns_D)
        cos, sin = half.cos(), half.sin()
        return torch.cat((cos, cos), dim=-1).to(self._dtype), torch.cat((-sin, sin), dim=-1).to(self._dtype)


class StudentNorm(nn.RMSNorm):
    """An RMS norm in the number format of its weight."""

    def forward(self, x: Tensor) -> Tensor:
        """Return `x` normalised."""
        return super().forward(x.to(self.weight.dtype))


class StudentLayer(nn.Module):
    """A dense decoder layer with query and key norms, over blocks of rows."""

    def __init__(self, shape: DenseShape, device: torch.device, dtype: torch.dtype) -> None:
        super().__init__()
        size, eps = shape.hidden_size, shape.rms_eps
        self.self_attn = StudentAttention(shape, device, dtype)
        self.mlp = StudentMlp(size, shape.intermediate_size, device, dtype)
        self.input_layernorm = StudentNorm(size, eps, device=device, dtype=dtype)
        self.post_attention_layernorm = StudentNorm(size, eps, device=device, dtype=dtype)

    def forward(
        self, hidden_BTH: Tensor, blocks: tuple[Block, ...], cos_TD: Tensor, sin_TD: Tensor, is_last: bool
    ) -> Tensor:
        """Return the hidden states after this layer, of all blocks, or of the last block alone."""
        first = len(blocks) - 1 if is_last else 0
        mixed = self.self_attn(self.input_layernorm(hidden_BTH), blocks, first, cos_TD, sin_TD)
        mixed = hidden_BTH[first:] + mixed
        out: Tensor = mixed + self.mlp(self.post_attention_layernorm(mixed))
        return out


class StudentAttention(nn.Module):
    """Attention by structure, with its projections."""

    def __init__(self, shape: DenseShape, device: torch.device, dtype: torch.dtype) -> None:
        super().__init__()
        self.shape = shape
        size, linear = shape.hidden_size, partial(nn.Linear, bias=False, device=device, dtype=dtype)
        num_queries, num_keys = shape.num_heads * shape.head_dim, shape.num_kv_heads * shape.head_dim
        self.q_proj = linear(size, num_queries)
        self.k_proj = linear(size, num_keys)
        self.v_proj = linear(size, num_keys)
        self.o_proj = linear(num_queries, size)
        self.q_norm = StudentNorm(shape.head_dim, shape.rms_eps, device=device, dtype=dtype)
        self.k_norm = StudentNorm(shape.head_dim, shape.rms_eps, device=device, dtype=dtype)

    def forward(
        self, normed_BTH: Tensor, blocks: tuple[Block, ...], first: int, cos_TD: Tensor, sin_TD: Tensor
    ) -> Tensor:
        """Return what the rows of the blocks from `first` on take in, (B - first, T, H)."""
        shape = self.shape
        query_ATXD = self.q_norm(_by_head(self.q_proj(normed_BTH[first:]), shape.head_dim))
        keys_BTGD = self.k_norm(_by_head(self.k_proj(normed_BTH), shape.head_dim))
        values_BTGD = _by_head(self.v_proj(normed_BTH), shape.head_dim)
        query_XATD = _rotated(query_ATXD.permute(2, 0, 1, 3), cos_TD, sin_TD).to(values_BTGD.dtype)
        keys_GBTD = _rotated(keys_BTGD.permute(2, 0, 1, 3), cos_TD, sin_TD).to(values_BTGD.dtype)
        # The query heads of one key head are neighbours.
        query_GAQTD = query_XATD.reshape(shape.num_kv_heads, -1, *query_XATD.shape[1:]).transpose(1, 2)
        near = [block.near for block in blocks[first:]]
        mixed_GAQTD = attend(query_GAQTD.contiguous(), keys_GBTD, values_BTGD.permute(2, 0, 1, 3), near, COMPLETED)
        mixed_ATO = mixed_GAQTD.permute(1, 3, 0, 2, 4).flatten(2)
        out: Tensor = self.o_proj(mixed_ATO)
        return out


class StudentMlp(nn.Module):
    """A gated MLP."""

    def __init__(self, hidden_size: int, width: int, device: torch.device, dtype: torch.dtype) -> None:
        super().__init__()
        linear = partial(nn.Linear, bias=False, device=device, dtype=dtype)
        self.gate_proj = linear(hidden_size, width)
        self.up_proj = linear(hidden_size, width)
        self.down_proj = linear(width, hidden_size)

    def forward(self, normed: Tensor) -> Tensor:
        """Return the MLP of `normed`."""
        out: Tensor = self.down_proj(F.silu(self.gate_proj(normed)) * self.up_proj(normed))
        return out


def _by_head(x_BTO: Tensor, head_dim: int) -> Tensor:
    return x_BTO.view(*x_BTO.shape[:2], -1, head_dim)


def _rotated(x: Tensor, cos_TD: Tensor, sin_TD: Tensor) -> Tensor:
    """Queries or keys rotated to their positions; entries beyond the rotary dimension stay."""
    dim = cos_TD.shape[-1]
    turning = x[..., :dim]
    turned = turning * cos_TD + turning.roll(dim // 2, -1) * sin_TD
    return turned if dim == x.shape[-1] else torch.cat((turned, x[..., dim:]), dim=-1)
