"""How the operations of one decode step are issued: one by one, compiled, or as one CUDA graph.

The three give the same numbers up to rounding, each the same ones every time. What is captured or compiled has fixed
shapes: it reads a bucket of cached rows, a power of two, and masks those from its position on.
Knows nothing of what a step computes.
"""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from executor.model.rows import Rows, RowTable
from spdsim.errors import InputError, RunError

Launch = Literal["eager", "compiled", "cuda_graph"]
Run = Callable[[Tensor, Rows], tuple[Tensor, Tensor]]
Step = Callable[[Tensor, int], tuple[Tensor, Tensor]]

_SMALLEST_BUCKET = 256
_WARM_UP_RUNS = 3


def make_step(launch: Launch, run: Run, table: RowTable, device: torch.device) -> Step:
    """Return what runs one token at a position. Raises InputError for CUDA graphs on another device."""
    match launch:
        case "eager":
            return lambda inputs, position: run(inputs, table.rows(position, 1))
        case "compiled":
            return _CompiledStep(run, table, device)
        case "cuda_graph":
            if device.type != "cuda":
                raise InputError(f"launch is cuda_graph on {device}: must be eager or compiled, or the device cuda")
            return _GraphStep(run, table, device)


def buckets(max_rows: int) -> list[int]:
    """Return every bucket of a cache of `max_rows` rows."""
    found = [bucket(1, max_rows)]
    while found[-1] < max_rows:
        found.append(bucket(found[-1] + 1, max_rows))
    return found


def bucket(num_rows: int, max_rows: int) -> int:
    """Return how many rows a fixed shape reads to see `num_rows` of them: a power of two, but at most `max_rows`."""
    return min(max(_SMALLEST_BUCKET, 1 << (num_rows - 1).bit_length()), max_rows)


def _visible(position: int, table: RowTable) -> int:
    """The bucket for a token at `position`."""
    if position >= table.max_rows:
        raise RunError(f"row {position} is asked for: the sequence may have at most {table.max_rows} rows")
    return bucket(position + 1, table.max_rows)


class _CompiledStep:
    """A step that torch compiles, once for each bucket, when it is first needed."""

    def __init__(self, run: Run, table: RowTable, device: torch.device) -> None:
        self._run, self._table = run, table
        self._position_1 = torch.zeros(1, dtype=torch.int64, device=device)
        self._programs: dict[int, Callable[[Tensor, Tensor, int], tuple[Tensor, Tensor]]] = {}

    def __call__(self, inputs: Tensor, position: int) -> tuple[Tensor, Tensor]:
        num_visible = _visible(position, self._table)
        if num_visible not in self._programs:
            # Isolated: torch makes only a few versions of one function, which all stages and buckets would share.
            self._programs[num_visible] = torch.compile(  # type: ignore[call-overload]  # they lack the last argument
                self._static, fullgraph=True, dynamic=False, isolate_recompiles=True
            )
        return self._programs[num_visible](inputs, self._position_1.fill_(position), num_visible)

    def _static(self, inputs: Tensor, position_1: Tensor, num_visible: int) -> tuple[Tensor, Tensor]:
        return self._run(inputs, self._table.static(position_1, num_visible))


class _GraphStep:
    """A step that is one CUDA graph for each bucket, captured when it is first needed and kept for every sequence.

    Its outputs are the graph's own buffers, valid until the next step of any bucket.
    """

    def __init__(self, run: Run, table: RowTable, device: torch.device) -> None:
        self._run, self._table = run, table
        self._position_1 = torch.zeros(1, dtype=torch.int64, device=device)
        self._input: Tensor | None = None
        self._pool = torch.cuda.graph_pool_handle()
        self._graphs: dict[int, tuple[torch.cuda.CUDAGraph, tuple[Tensor, Tensor]]] = {}

    def __call__(self, inputs: Tensor, position: int) -> tuple[Tensor, Tensor]:
        num_visible = _visible(position, self._table)
        self._position_1.fill_(position)
        if self._input is None:
            self._input = inputs.clone()
        else:
            self._input.copy_(inputs)
        if num_visible not in self._graphs:
            self._graphs[num_visible] = self._capture(self._input, num_visible)
        graph, outputs = self._graphs[num_visible]
        graph.replay()
        return outputs

    def _capture(self, inputs: Tensor, num_visible: int) -> tuple[torch.cuda.CUDAGraph, tuple[Tensor, Tensor]]:
        """Capture one bucket. To warm up writes what the step itself will write again."""
        stream = torch.cuda.Stream(inputs.device)  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream(inputs.device))
        with torch.cuda.stream(stream):
            for _ in range(_WARM_UP_RUNS):
                self._run(inputs, self._table.static(self._position_1, num_visible))
        torch.cuda.current_stream(inputs.device).wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        # Named, since torch's own stream for captures is that of the first device that captured.
        with torch.cuda.graph(graph, pool=self._pool, stream=stream, capture_error_mode="thread_local"):
            outputs = self._run(inputs, self._table.static(self._position_1, num_visible))
        return graph, outputs
