"""What every kind of layer is made of: named weights and RMS norms.

Parameters carry the names of checkpoints; computations use plain attributes, which are reached faster. Both are the
same memory. Knows nothing of attention.
"""

from collections.abc import Callable
from typing import NoReturn

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Weight(nn.Module):
    """A weight, and perhaps a bias, under the name that checkpoints give it: a view of what is computed with."""

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight, requires_grad=False)
        self.bias = None if bias is None else nn.Parameter(bias, requires_grad=False)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> NoReturn:
        # A moved parameter would leave behind the tensor that it is a view of.
        raise RuntimeError("a layer cannot be moved: make it with the dtype and on the device that it runs on")


class RmsNorm(Weight):
    """x / sqrt(mean(x^2) + eps) * (weight + offset), over the last dimension.

    offset: not 0 in families that store how much a weight differs from it; it is added, in float32, by `derive`.
    """

    def __init__(
        self, size: int, eps: float, dtype: torch.dtype, device: torch.device | str, offset: float = 0.0
    ) -> None:
        scale = torch.empty(size, dtype=dtype, device=device)
        super().__init__(scale)
        self.scale, self.eps, self.offset, self.shape = scale, eps, offset, (size,)
        # On the CPU F.rms_norm is made of eight operations; four, without numbers to wrap, take half the time.
        self.is_split = dtype is torch.float32 and scale.device.type == "cpu"
        self.eps_1 = torch.tensor([eps])

    def derive(self) -> None:
        """Work out what follows from the weight, once it is there."""
        if self.offset:
            self.scale = self.weight.float() + self.offset

    def forward(self, x: Tensor) -> Tensor:
        """Return `x` normalised."""
        if self.is_split:
            return x.mul(self._inverse(x)).mul_(self.scale)
        if self.scale.dtype is not x.dtype:
            return F.rms_norm(x.float(), self.shape, self.scale, self.eps).to(x.dtype)
        return F.rms_norm(x, self.shape, self.scale, self.eps)

    def to_unit(self, x: Tensor) -> None:
        """Normalise `x` in place, all but the weight."""
        if self.is_split:
            x.mul_(self._inverse(x))
        else:
            x.copy_(F.rms_norm(x, self.shape, None, self.eps))

    def _inverse(self, x: Tensor) -> Tensor:
        norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        return torch.addcmul(self.eps_1, norm, norm, value=1.0 / self.shape[0]).rsqrt_()
