"""A gated delta rule with a short convolution before it: linear attention, whose past is a state of fixed size.

    S_t = a_t S_(t-1) + k_t d_t,    d_t = b_t (v_t - a_t k_t S_(t-1)),    o_t = q_t S_t

S is a matrix (keys by values) for each head, a_t its decay, b_t the step. States are kept by position, so that a
rejected token needs no undoing: the next one at its position starts from the state before it.
Sources: arXiv:2412.06464 (the rule), Qwen3-Next and Qwen3.5 (the layer around it).
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from executor.model.parts import RmsNorm, Weight
from executor.model.rows import Rows

_CHUNK = 64
_UNIT_EPS = 1e-6


@dataclass(frozen=True, slots=True)
class DeltaShape:
    """The sizes of a gated delta rule. conv_kernel: the tokens that its convolution sees, at least 2."""

    hidden_size: int
    num_key_heads: int
    num_value_heads: int
    key_head_dim: int
    value_head_dim: int
    conv_kernel: int
    rms_eps: float

    @property
    def num_channels(self) -> int:
        """Channels of the convolution: queries, keys and values."""
        return 2 * self.num_key_heads * self.key_head_dim + self.num_values

    @property
    def num_values(self) -> int:
        """Values of all heads."""
        return self.num_value_heads * self.value_head_dim


@dataclass(frozen=True, slots=True)
class StateRing:
    """What N positions left behind, each in slot position modulo N: states (heads, keys, values), float32, and inputs.

    inputs_NWC: the last W inputs of the convolution, oldest first.
    """

    states_NHKV: Tensor
    inputs_NWC: Tensor

    def before(self, positions_1: Tensor) -> tuple[Tensor, Tensor]:
        """Return copies of the state (H, K, V) and the inputs (W, C) that the position before left."""
        slot_1 = (positions_1 - 1) % self.states_NHKV.shape[0]
        return self.states_NHKV.index_select(0, slot_1)[0], self.inputs_NWC.index_select(0, slot_1)[0]

    def begin(self) -> None:
        """Let the first position, 0, start from nothing."""
        self.states_NHKV[-1].zero_()
        self.inputs_NWC[-1].zero_()

    def keep(self, positions_1: Tensor, state_HKV: Tensor, inputs_WC: Tensor) -> None:
        """Keep what a position leaves."""
        slot_1 = positions_1 % self.states_NHKV.shape[0]
        self.states_NHKV.index_copy_(0, slot_1, state_HKV[None])
        self.inputs_NWC.index_copy_(0, slot_1, inputs_WC[None])


class GatedDelta(nn.Module):
    """The rule with its projections, its convolution and its gate; the projections inward are one matrix."""

    def __init__(self, shape: DeltaShape, dtype: torch.dtype, device: torch.device | str) -> None:
        super().__init__()
        self.shape = shape
        self.sizes = [shape.num_channels, shape.num_values, shape.num_value_heads, shape.num_value_heads]
        self.inward = torch.empty(sum(self.sizes), shape.hidden_size, dtype=dtype, device=device)
        names = ("in_proj_qkv", "in_proj_z", "in_proj_b", "in_proj_a")
        for name, weight in zip(names, torch.split(self.inward, self.sizes), strict=True):
            self.add_module(name, Weight(weight))
        self.conv1d = Weight(self.inward.new_empty(shape.num_channels, 1, shape.conv_kernel))
        heads = torch.empty(2, shape.num_value_heads, device=device)
        self.A_log = nn.Parameter(heads[0], requires_grad=False)
        self.dt_bias = nn.Parameter(heads[1], requires_grad=False)
        self.norm = RmsNorm(shape.value_head_dim, shape.rms_eps, dtype, device)
        self.output = self.inward.new_empty(shape.hidden_size, shape.num_values)
        self.out_proj = Weight(self.output)
        self.rate_H, self.kernel_C1W, self.kernel_WC = heads[0], heads[0], heads[0]

    def derive(self) -> None:
        """Work out what follows from the weights, once they are there."""
        self.rate_H = -self.A_log.exp()
        self.kernel_C1W = self.conv1d.weight.float()
        self.kernel_WC = self.kernel_C1W[:, 0].t().contiguous()

    def new_states(self, num_states: int) -> StateRing:
        """Return an empty ring of `num_states` positions."""
        shape = self.shape
        state = (num_states, shape.num_value_heads, shape.key_head_dim, shape.value_head_dim)
        inputs_NWC = self.inward.new_zeros(num_states, shape.conv_kernel - 1, shape.num_channels)
        return StateRing(torch.zeros(state, device=self.inward.device), inputs_NWC)

    def forward(self, normed_TH: Tensor, residual_TH: Tensor, rows: Rows, ring: StateRing) -> Tensor:
        """Return `residual_TH` and the mixture of `normed_TH`, and keep the state of the last token.

        One token goes on from what the position before left; several are a prompt, and start from nothing.
        """
        shape, num_tokens = self.shape, rows.count
        inputs_TC, gate_TV, step_TH, decay_TH = torch.split(F.linear(normed_TH, self.inward), self.sizes, dim=-1)
        decay_HT = (F.softplus(decay_TH.float() + self.dt_bias) * self.rate_H).t()
        step_HT1 = step_TH.float().sigmoid().t()[..., None]
        if num_tokens == 1:
            state_HKV, past_WC = ring.before(rows.positions_T)
            window = torch.cat((past_WC, inputs_TC))
            mixed_TC = F.silu((window * self.kernel_WC).sum(0, keepdim=True))
        else:
            state_HKV = torch.zeros_like(ring.states_NHKV[0])
            window = F.pad(inputs_TC, (0, 0, shape.conv_kernel - 1, 0))
            mixed_TC = F.silu(F.conv1d(window.float().t()[None], self.kernel_C1W, groups=shape.num_channels))[0].t()
        query_HTK, key_HTK, value_HTV = self._heads(mixed_TC)
        rule = _one_token if num_tokens == 1 else _prompt
        out_HTV, state_HKV = rule(query_HTK, key_HTK, value_HTV, decay_HT, step_HT1, state_HKV)
        ring.keep(rows.positions_T[-1:], state_HKV, window[1 - shape.conv_kernel :])
        normed = self.norm.forward(out_HTV.transpose(0, 1).to(normed_TH.dtype)).reshape(num_tokens, -1)
        gated = (normed * F.silu(gate_TV.float())).to(normed_TH.dtype)
        return torch.addmm(residual_TH, gated, self.output.t())

    def _heads(self, mixed_TC: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries and keys of unit length, queries over the root of their size, and values; for each value head."""
        shape, num_tokens = self.shape, mixed_TC.shape[0]
        pairs = mixed_TC[:, : -shape.num_values].view(num_tokens, 2, shape.num_key_heads, shape.key_head_dim)
        pairs = pairs * (pairs.square().sum(-1, keepdim=True) + _UNIT_EPS).rsqrt_()
        # Each query and key head serves consecutive value heads.
        query, key = pairs.repeat_interleave(shape.num_value_heads // shape.num_key_heads, dim=2).permute(1, 2, 0, 3)
        value = mixed_TC[:, -shape.num_values :].view(num_tokens, -1, shape.value_head_dim).transpose(0, 1)
        return query * shape.key_head_dim**-0.5, key, value


def _one_token(
    query_H1K: Tensor, key_H1K: Tensor, value_H1V: Tensor, decay_H1: Tensor, step_H11: Tensor, state_HKV: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the output and the state after one token; `decay` is the logarithm of the rule's."""
    state_HKV = state_HKV * decay_H1.exp()[..., None]
    change_H1V = (value_H1V - torch.bmm(key_H1K, state_HKV)) * step_H11
    state_HKV.baddbmm_(key_H1K.transpose(1, 2), change_H1V)
    return torch.bmm(query_H1K, state_HKV), state_HKV


def _prompt(
    query_HTK: Tensor, key_HTK: Tensor, value_HTV: Tensor, decay_HT: Tensor, step_HT1: Tensor, state_HKV: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the outputs and the state after many tokens, a chunk at a time."""
    outputs = []
    pieces = (torch.split(x, _CHUNK, dim=1) for x in (query_HTK, key_HTK, value_HTV, decay_HT, step_HT1))
    for query, key, value, decay, step in zip(*pieces, strict=True):
        out_HTV, state_HKV = _chunk(query, key, value, decay, step, state_HKV)
        outputs.append(out_HTV)
    return torch.cat(outputs, dim=1), state_HKV


def _chunk(
    query_HTK: Tensor, key_HTK: Tensor, value_HTV: Tensor, decay_HT: Tensor, step_HT1: Tensor, state_HKV: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the outputs and the state after a few tokens, all at once.

    With c_t the product of the decays up to t, unrolling the rule from the state S before the chunk gives
    d_t + b_t Σ_(i<t) c_t / c_i (k_t · k_i) d_i = b_t (v_t - c_t k_t S), a triangular system for all d, and then
    o_t = c_t q_t S + Σ_(i≤t) c_t / c_i (q_t · k_i) d_i.
    """
    total_HT = decay_HT.cumsum(1)
    # Where i > t the quotient could overflow, so its logarithm is masked, not the quotient.
    future = torch.ones(2 * total_HT.shape[1:], dtype=torch.bool, device=total_HT.device).triu(1)
    shrink_HTI = (total_HT[:, :, None] - total_HT[:, None]).masked_fill(future, -torch.inf).exp()
    since_HT1 = total_HT.exp()[..., None]
    system = step_HT1 * shrink_HTI * (key_HTK @ key_HTK.transpose(1, 2))
    known = step_HT1 * (value_HTV - since_HT1 * (key_HTK @ state_HKV))
    change_HTV = torch.linalg.solve_triangular(system, known, upper=False, unitriangular=True)
    seen = shrink_HTI * (query_HTK @ key_HTK.transpose(1, 2))
    out_HTV = since_HT1 * (query_HTK @ state_HKV) + seen @ change_HTV
    left_HKT = key_HTK.transpose(1, 2) * shrink_HTI[:, -1:]
    return out_HTV, since_HT1[:, -1:] * state_HKV + left_HKT @ change_HTV
