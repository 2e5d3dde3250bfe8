"""What a device takes for a task, from bytes and rates: the roofline of decoding at batch size 1.

A matrix-vector product takes a latency and its bytes over the bandwidth that large matrices reach, so that small
matrices reach a smaller share of it; with a few rows, the tokens of one sequence that are looked at together, it takes
a little longer. Kernels without a matrix take a fixed time. Attention reads the cached keys and values of its context,
linearly, once for all rows; a gated delta layer reads its recurrent state and writes one for each row. Rows of several
sequences share the weights, but each sequence has a cache and a state of its own to read.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from math import inf

from spdsim.scenario.rows import rows_factor
from spdsim.shapes.layers import Layer


@dataclass(frozen=True, slots=True)
class Rates:
    """What a device reaches.

    bytes_per_s: of large matrices. flops_per_s: of a long prefill. kernel_latency_s: of a matrix beside its bytes.
    small_kernel_s: of a kernel without a matrix. peak_flops_per_s: what no product exceeds.
    """

    bytes_per_s: float
    flops_per_s: float
    kernel_latency_s: float
    small_kernel_s: float
    peak_flops_per_s: float = inf

    def matrices_s(self, matrices_bytes: Iterable[float]) -> float:
        """Return seconds to multiply one token with matrices, one kernel each."""
        return sum(self.kernel_latency_s + num_bytes / self.bytes_per_s for num_bytes in matrices_bytes)

    def products_s(self, matrices_bytes: Iterable[float], num_params: float, rows: int = 1) -> float:
        """Return seconds to multiply `rows` tokens with matrices of `num_params` weights, one kernel each.

        Never less than their bytes take for one row, nor than two operations a weight and row at the peak rate.
        """
        one_s = self.matrices_s(matrices_bytes)
        if rows == 1:
            return one_s
        return max(one_s * rows_factor(rows), 2 * num_params * rows / self.peak_flops_per_s)

    def kernels_s(self, num_ops: float, num_matrices: int) -> float:
        """Return seconds of the kernels without a matrix among `num_ops`."""
        return max(0.0, num_ops - num_matrices) * self.small_kernel_s

    def layer_s(self, layer: Layer, num_ops: float, num_shards: int = 1, rows: int = 1, sequences: int = 1) -> float:
        """Return seconds of a layer for `rows` tokens with no context; its matrices cut into `num_shards`.

        sequences: that the rows belong to.
        """
        shards = [num_bytes / num_shards for num_bytes in layer.matrices_bytes]
        state_s = (sequences + rows) * layer.state_bytes / num_shards / self.bytes_per_s
        products_s = self.products_s(shards, layer.active_params / num_shards, rows)
        return products_s + state_s + self.kernels_s(num_ops, len(shards))

    def context_s(self, layer: Layer, prompt_tokens: int) -> tuple[float, float]:
        """Return what a layer's attention adds: seconds whatever the context, and seconds a token of it.

        A window that the prompt already fills is read whole, however long the context becomes; one that it does
        not fill is taken to grow on, which is too long by a little once it is full.
        """
        token_s = layer.kv_bytes_per_token / self.bytes_per_s
        if layer.window_tokens is not None and prompt_tokens >= layer.window_tokens:
            return layer.window_tokens * token_s, 0.0
        return 0.0, token_s

    def prefill_s(self, flops: float, num_bytes: float) -> float:
        """Return seconds of so many floating-point operations that read so many bytes of weights."""
        return max(flops / self.flops_per_s, num_bytes / self.bytes_per_s)
