"""How the draft module is run: operation by operation, or as static programs, compiled or captured as CUDA graphs.

A static program serves R rows and a bucket of visible cache rows: it reads rows that are not written yet, and masks
them. The position is a tensor on the device, so that one program serves every token.

Knows nothing of tokens or stages.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from executor.draft.cut import Block
from executor.draft.features import FeatureRing, ring_rows
from executor.draft.module import DraftModule
from executor.model.rows import Rows, RowTable
from executor.model.steps import Launch, bucket, buckets
from spdsim.errors import InputError, RunError

_WARM_UP_RUNS = 3

Program = Callable[[Tensor], Tensor]
"""Drafts after a position, int64 (1,), on the device."""


class Runner:
    """A draft module, its caches of `table.max_rows` rows, and the ring of features that it reads.

    Raises InputError for CUDA graphs on another device.
    """

    def __init__(self, module: DraftModule, table: RowTable, verification_lag: int, launch: Launch) -> None:
        shape, self.device = module.shape, module.head.device
        if launch == "cuda_graph" and self.device.type != "cuda":
            raise InputError(f"launch is cuda_graph on {self.device}: must be eager or compiled, or the device cuda")
        self.module, self._table, self._launch = module, table, launch
        self.ring = FeatureRing(
            ring_rows(shape.cut.num_stages, verification_lag), len(shape.cut.anchors), shape.layer.hidden_size,
            module.head.dtype, self.device,
        )  # fmt: skip
        self._caches = module.new_caches(table.max_rows)
        self._blocks = {count: shape.cut.row_blocks(count) for count in range(2, shape.cut.num_stages + 2)}
        self._newest_1 = torch.zeros(1, dtype=torch.int64, device=self.device)
        self._programs: dict[tuple[int, int], Program] = {}
        self._pool = torch.cuda.graph_pool_handle() if launch == "cuda_graph" else None

    def prefill(self, features_TF: Tensor, start: int) -> None:
        """Write the rows of completed tokens, positions `start` and following."""
        count = features_TF.shape[0]
        completed = ((self.module.shape.cut.deepest_type, slice(count)),)
        self.module.forward(features_TF, completed, self._table.rows(start, count), self._caches)

    def draft(self, newest: int, num_rows: int) -> Tensor:
        """Return the logits (V,) of the token after position `newest`; they hold until the next draft.

        Raises RunError where the caches have too few rows.
        """
        if self._launch == "eager":
            return self._run(self._table.rows(newest + 1 - num_rows, num_rows), self._blocks[num_rows])
        if newest >= self._table.max_rows:
            raise RunError(f"row {newest} is asked for: the sequence may have at most {self._table.max_rows} rows")
        program = self._program(num_rows, bucket(newest + 1, self._table.max_rows))
        return program(self._newest_1.fill_(newest))

    def prepare(self) -> None:
        """Make every static program that a sequence may need; only between sequences.

        To capture a graph waits for all that the device was asked for, posted receipts too, so that it is better not
        left to a draft. The rows that it writes are overwritten before anything sees them.
        """
        if self._launch == "eager":
            return
        for num_rows in self._blocks:
            self._newest_1.fill_(num_rows - 1)
            for num_visible in buckets(self._table.max_rows):
                self._program(num_rows, num_visible)(self._newest_1)

    def static_program(self, num_rows: int, num_visible: int) -> Program:
        """Return a program of fixed shapes that drafts as `draft` does, after positions below `num_visible`."""
        blocks, offsets_R = self._blocks[num_rows], torch.arange(1 - num_rows, 1, device=self.device)

        def program(newest_1: Tensor) -> Tensor:
            return self._run(self._table.static(newest_1 + offsets_R, num_visible), blocks)

        return program

    def _program(self, num_rows: int, num_visible: int) -> Program:
        key = (num_rows, num_visible)
        if key not in self._programs:
            program = self.static_program(num_rows, num_visible)
            is_captured = self._launch == "cuda_graph"
            self._programs[key] = self._captured(program) if is_captured else _compiled(program)
        return self._programs[key]

    def _captured(self, program: Program) -> Program:
        """The program as one CUDA graph, bound to the one tensor of the position. A warm-up writes what drafts do."""
        here = torch.cuda.current_stream(self.device)
        beside = torch.cuda.Stream(self.device)  # type: ignore[no-untyped-call]
        beside.wait_stream(here)
        with torch.cuda.stream(beside):
            for _ in range(_WARM_UP_RUNS):
                program(self._newest_1)
        here.wait_stream(beside)
        graph = torch.cuda.CUDAGraph()
        # Other threads of the process, such as a communication library's, may go on calling CUDA meanwhile.
        # Named, since torch's own stream for captures is that of the first device that captured.
        with torch.cuda.graph(graph, pool=self._pool, stream=beside, capture_error_mode="thread_local"):
            logits_V = program(self._newest_1)

        def replay(newest_1: Tensor) -> Tensor:
            graph.replay()
            return logits_V

        return replay

    def _run(self, rows: Rows, blocks: Sequence[Block]) -> Tensor:
        features_RF = self.ring.gather(rows.positions_T)
        return self.module.logits(self.module.forward(features_RF, blocks, rows, self._caches)[-1:])


def _compiled(program: Program) -> Program:
    # Isolated, since all programs are closures of one function, of which torch makes but a few versions otherwise.
    compiled: Program = torch.compile(  # type: ignore[call-overload]  # its overloads lack the last argument
        program, fullgraph=True, dynamic=False, isolate_recompiles=True
    )
    return compiled
