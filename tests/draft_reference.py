"""The draft module by its definition: every row anew, under a whole mask, with nothing remembered.

Slow, in 64-bit floats, and of no code that it judges: torch's plain operations and nothing else.
Shapes: T tokens from position 0 on, M anchors, H hidden size, D entries of a head, V draft vocabulary.
"""

from collections.abc import Callable, Mapping, Sequence
from math import sqrt
from typing import Any

import torch
from torch import Tensor

State = Mapping[str, Tensor]
"""Weights by their v11 names."""


def draft_logits(
    state: State, config: Mapping[str, Any], norm: Callable[[Tensor], Tensor], angles: Tensor, features_TMH: Tensor,
    depths: Sequence[int], layers: Sequence[int], anchors: Sequence[int],
) -> Tensor:  # fmt: skip
    """Return the logits (V,) of the token after the last one.

    config: the language model's part of the target's config.json. norm: the target's final norm. angles: by how much
    each rotated pair turns in one position, radians. features_TMH: hidden states at the anchors; what a token does
    not have yet may be anything. depths: stages that each token has completed. layers: of each stage.
    """
    kinds = [max(kind for kind, anchor in enumerate(anchors) if anchor <= sum(layers[:depth])) for depth in depths]
    rows = []
    for features_MH, kind in zip(features_TMH.double(), kinds, strict=True):
        rows.append(state[f"aggr_projs.{kind}.weight"].double() @ features_MH[: kind + 1].flatten())
    hidden_TH, number = torch.stack(rows), 0
    while of_layer := under(state, f"spec_layers.{number}."):
        hidden_TH, number = decoder_layer(of_layer, config, angles, hidden_TH), number + 1
    return state["lm_head.weight"].double() @ norm(hidden_TH[-1])


def decoder_layer(weights: State, config: Mapping[str, Any], angles: Tensor, hidden_TH: Tensor) -> Tensor:
    """Return the hidden states after one layer."""
    eps = config["rms_norm_eps"]
    normed_TH = rms_norm(hidden_TH, weights["input_layernorm.weight"], eps)
    mixed_TH = hidden_TH + _attention(under(weights, "self_attn."), config, angles, normed_TH)
    normed_TH = rms_norm(mixed_TH, weights["post_attention_layernorm.weight"], eps)
    gate, up, down = (weights[f"mlp.{name}_proj.weight"].double() for name in ("gate", "up", "down"))
    gated = normed_TH @ gate.T
    return mixed_TH + (gated * torch.sigmoid(gated) * (normed_TH @ up.T)) @ down.T


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """Return x over the root of its mean square, times a weight."""
    return x / torch.sqrt((x * x).mean(-1, keepdim=True) + eps) * weight.double()


def angles_of(config: Mapping[str, Any], fraction: float = 1.0) -> Tensor:
    """Return by how much each rotated pair turns in one position; fraction: of a head's entries that are rotated."""
    dim = int(config["head_dim"] * fraction)
    return torch.tensor([config["rope_theta"] ** (-2 * pair / dim) for pair in range(dim // 2)], dtype=torch.float64)


def under(state: State, prefix: str) -> dict[str, Tensor]:
    """Return the weights whose names begin with a prefix, by the rest of their names."""
    return {name.removeprefix(prefix): weight for name, weight in state.items() if name.startswith(prefix)}


def _attention(weights: State, config: Mapping[str, Any], angles: Tensor, normed_TH: Tensor) -> Tensor:
    num_heads, num_kv_heads, dim = (config[key] for key in ("num_attention_heads", "num_key_value_heads", "head_dim"))
    count, eps = len(normed_TH), config["rms_norm_eps"]
    query, key, value = (normed_TH @ weights[f"{name}_proj.weight"].double().T for name in "qkv")
    mask_TT = torch.zeros(count, count, dtype=torch.float64)
    for row in range(count):
        mask_TT[row, row + 1 :] = float("-inf")
    heads = []
    for head in range(num_heads):
        of_key = head // (num_heads // num_kv_heads)
        query_TD, key_TD = query[:, head * dim : (head + 1) * dim], key[:, of_key * dim : (of_key + 1) * dim]
        query_TD = _rotated(rms_norm(query_TD, weights["q_norm.weight"], eps), angles)
        key_TD = _rotated(rms_norm(key_TD, weights["k_norm.weight"], eps), angles)
        scores_TT = query_TD @ key_TD.T / sqrt(dim) + mask_TT
        heads.append(torch.softmax(scores_TT, -1) @ value[:, of_key * dim : (of_key + 1) * dim])
    return torch.cat(heads, -1) @ weights["o_proj.weight"].double().T


def _rotated(x_TD: Tensor, angles: Tensor) -> Tensor:
    """Turn the pairs (i, i + pairs) of the leading entries by position; the others stay."""
    pairs, positions = len(angles), torch.arange(len(x_TD), dtype=torch.float64)
    turned = positions[:, None] * angles
    left, right, rest = x_TD[:, :pairs], x_TD[:, pairs : 2 * pairs], x_TD[:, 2 * pairs :]
    cos, sin = torch.cos(turned), torch.sin(turned)
    return torch.cat((left * cos - right * sin, right * cos + left * sin, rest), -1)
