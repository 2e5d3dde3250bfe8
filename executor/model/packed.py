"""Products of a few rows on a CPU, with weights in the order in which oneDNN reads them.

BLAS multiplies two to sixteen rows about as slowly as one after another; oneDNN with packed weights reads each weight
once for all rows, and takes about half the time. A single row is limited by memory either way, so stages leave their
weights as they are.
The operators are those that `torch.compile` puts in place of a linear layer whose weight does not change.
"""

import platform

import torch
from torch import Tensor

_LIKELY_ROWS = 4
"""What the order is chosen for; any number of rows may follow."""


def can_pack(weight: Tensor) -> bool:
    """Whether products with `weight` can be made, and are faster: 32-bit floats on an x86 CPU."""
    is_right_kind = weight.device.type == "cpu" and weight.dtype is torch.float32
    is_there = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return is_right_kind and is_there and platform.machine().lower() in ("x86_64", "amd64")


def pack(weight_OI: Tensor) -> Tensor:
    """Return `weight_OI` packed, for `linear` and `add_linear` only."""
    packed: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight_OI, _LIKELY_ROWS)
    return packed


def linear(x: Tensor, packed_OI: Tensor, bias_O: Tensor | None = None) -> Tensor:
    """Return `x` times the transposed weight, as F.linear does."""
    product: Tensor = torch.ops.mkldnn._linear_pointwise(x, packed_OI, bias_O, "none", [], "")
    return product


def add_linear(residual: Tensor, x: Tensor, packed_OI: Tensor) -> Tensor:
    """Return `residual` and the product of `x`."""
    return linear(x, packed_OI).add_(residual)
