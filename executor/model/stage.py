"""One stage of the target: consecutive decoder layers with their caches, which run one token of a sequence at a time.

Positions are absolute: the row of a token in the caches. A rejected token needs no undoing: the next token at its
position overwrites what it left. Knows nothing of drafts, verdicts or other stages.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from executor.model import packed
from executor.model.architecture import Architecture
from executor.model.delta import StateRing
from executor.model.dense import DenseLayer
from executor.model.head import Embedding
from executor.model.hybrid import HybridShape
from executor.model.layers import make_layer, new_memory
from executor.model.rows import Rows, RowTable
from executor.model.steps import Launch, buckets, make_step
from executor.model.tree import LevelMemory
from executor.model.weights import Weights, load
from spdsim.errors import InputError, RunError

_Layer = tuple[Callable[[Tensor, Rows, Any], Tensor], Any, bool]
"""What runs a layer, what it remembers (each kind its own), and whether it is an anchor."""


@dataclass(frozen=True, slots=True)
class StageOutput:
    """hidden_TH: after the stage's last layer. features_TAH: after each layer that is an anchor, in their order."""

    hidden_TH: Tensor
    features_TAH: Tensor


class StageModel:
    """Layers `first_layer` to `first_layer + num_layers - 1`, with the embedding before them on the first stage.

    anchors: the hidden states to put out: k is the output of decoder layer k - 1, before the final norm.
    max_rows: the longest sequence, with what is in flight. num_states: of how many positions recurrent states are
    kept, where there are any: a token may be run num_states - 1 positions before the newest one's successor.
    launch: how the operations of a step are issued; the prefill's and those of a tree are issued one by one.
    width, levels: of a tree of drafts, the nodes of a level and the levels that may be in flight; width 1: a chain.

    Raises InputError where layers or anchors are not there, where recurrent states would have to branch, for CUDA
    graphs without CUDA, and as `weights` do.
    """

    def __init__(
        self,
        architecture: Architecture,
        weights: Weights,
        first_layer: int,
        num_layers: int,
        anchors: tuple[int, ...],
        has_embedding: bool,
        max_rows: int,
        num_states: int,
        device: torch.device | str,
        dtype: torch.dtype,
        launch: Launch = "eager",
        width: int = 1,
        levels: int = 0,
    ) -> None:
        _check(architecture, first_layer, num_layers, anchors)
        check_branches(architecture, width)
        hidden_1H = torch.zeros(1, architecture.hidden_size, dtype=dtype, device=device)
        self._any_input = torch.zeros(1, dtype=torch.int64, device=device) if has_embedding else hidden_1H
        self._table = RowTable(architecture.rotary, max_rows, dtype, device)
        self._step = make_step(launch, self._run, self._table, torch.device(device))
        self.embedding = Embedding(architecture, weights, device, dtype) if has_embedding else None
        indices = range(first_layer, first_layer + num_layers)
        layers = [make_layer(architecture.layers[index], dtype, device) for index in indices]
        for index, layer in zip(indices, layers, strict=True):
            load(layer, weights, f"model.layers.{index}.")
        runs, are_anchors = [layer.forward for layer in layers], [index + 1 in anchors for index in indices]
        self._tree: LevelMemory | None = None
        self._of_levels: list[_Layer] | None = None
        if width == 1:
            memories: list[Any] = [new_memory(layer, max_rows, num_states) for layer in layers]
        else:
            dense = [layer for layer in layers if isinstance(layer, DenseLayer)]
            self._tree = LevelMemory(dense, self._table, levels, width, torch.device(device))
            memories = self._tree.caches.positions
            self._of_levels = list(zip(runs, self._tree.caches.whole, are_anchors, strict=True))
            for layer in dense:
                if launch == "eager" and packed.can_pack(layer.self_attn.qkv):
                    layer.pack()
        self._layers: list[_Layer] = list(zip(runs, memories, are_anchors, strict=True))
        self._rings = [memory for _, memory, _ in self._layers if isinstance(memory, StateRing)]
        self._num_states = num_states
        self.reset()

    def reset(self) -> None:
        """Forget the sequence: the next call is a prefill."""
        self._next, self._newest, self._oldest = 0, -1, 0

    @torch.inference_mode()
    def prepare(self) -> None:
        """Compile or capture every step that a sequence may need, and forget the sequence.

        To capture a graph waits for all that the device was asked for, so that it should not happen amid messages.
        """
        for num_rows in buckets(self._table.max_rows):
            self._step(self._any_input, num_rows - 1)
        self.reset()

    @torch.inference_mode()
    def prefill(self, inputs: Tensor) -> StageOutput:
        """Run a whole prompt from row 0 on.

        inputs: token ids (T,), int64, on the first stage, else hidden_TH. Raises RunError for more rows than there are.
        """
        num_rows = inputs.shape[0]
        for ring in self._rings:
            ring.begin()
        output = StageOutput(*self._run(inputs, self._table.rows(0, num_rows)))
        self._next, self._newest = num_rows, num_rows - 1
        # A recurrent state was left by the last token alone.
        self._oldest = num_rows if self._rings else 0
        return output

    @torch.inference_mode()
    def forward(self, inputs: Tensor, position: int) -> StageOutput:
        """Run one token, whose row is `position`, over the rows before it; later rows are as good as forgotten.

        inputs: its id (1,), int64, on the first stage, else hidden_1H. With CUDA graphs the output is valid until the
        next call.
        Raises RunError where a row before `position` was never written or its recurrent state is no longer kept, or
        for more rows than there are.
        """
        if not self._oldest <= position <= self._next:
            raise RunError(f"position {position} is run: must be {self._oldest} to {self._next}")
        output = StageOutput(*self._step(inputs, position))
        self._next = position + 1
        if self._rings and position > self._newest:
            self._newest = position
            self._oldest = max(self._oldest, position + 2 - self._num_states)
        return output

    @torch.inference_mode()
    def forward_level(self, inputs: Tensor, position: int, parents_W: Tensor | None) -> StageOutput:
        """Run the nodes of a level of a tree, each over the verified rows and its ancestors.

        inputs: ids (W,), int64, on the first stage, else hidden_WH. parents_W: int64, nodes of the level before, which
        was run last; None: node 0 is verified, and the tree begins with it.
        """
        tree = self._tree
        assert tree is not None, "a stage of a chain has no levels"
        rows = tree.begin(position) if parents_W is None else tree.grow(position, parents_W)
        return StageOutput(*self._run(inputs, rows, self._of_levels))

    @torch.inference_mode()
    def keep(self, position: int, node: int) -> None:
        """Take a node of the level at `position` as verified, which was run; levels are kept in their order."""
        assert self._tree is not None, "a stage of a chain has no levels"
        self._tree.keep(position, node)

    def _run(self, inputs: Tensor, rows: Rows, layers: list[_Layer] | None = None) -> tuple[Tensor, Tensor]:
        hidden_TH = inputs if self.embedding is None else self.embedding(inputs)
        features = []
        for run_layer, cache, is_anchor in layers or self._layers:
            hidden_TH = run_layer(hidden_TH, rows, cache)
            if is_anchor:
                features.append(hidden_TH)
        if features:
            return hidden_TH, torch.stack(features, dim=1)
        return hidden_TH, hidden_TH.new_empty(hidden_TH.shape[0], 0, hidden_TH.shape[1])


def check_branches(architecture: Architecture, width: int) -> None:
    """Raise InputError where a tree of drafts of such levels would have recurrent states branch."""
    if width > 1 and any(isinstance(layer, HybridShape) for layer in architecture.layers):
        rule = "must be 1 with gated delta layers (Qwen3.5): recurrent states cannot branch yet"
        raise InputError(f"draft.width is {width}: {rule}")


def _check(architecture: Architecture, first_layer: int, num_layers: int, anchors: tuple[int, ...]) -> None:
    end = first_layer + num_layers
    if not 0 <= first_layer < end <= architecture.num_layers:
        rule = f"must be some of 0 to {architecture.num_layers - 1}"
        raise InputError(f"layers are {first_layer} to {end - 1}: {rule}")
    if outside := [anchor for anchor in anchors if not first_layer < anchor <= end]:
        raise InputError(f"anchor is {outside[0]}: must be {first_layer + 1} to {end} on this stage")
