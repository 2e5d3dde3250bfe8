"""One stage of the target: consecutive decoder layers with their caches, which run one token of a sequence at a time.

Positions are absolute: the row of a token in the caches. A rejected token needs no undoing: the next token at its
position overwrites what it left. Knows nothing of drafts, verdicts or other stages.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from executor.model.architecture import Architecture
from executor.model.delta import StateRing
from executor.model.head import Embedding
from executor.model.layers import make_layer, new_memory
from executor.model.rows import Rows, RowTable
from executor.model.steps import Launch, buckets, make_step
from executor.model.weights import Weights, load
from spdsim.errors import InputError, RunError


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
    launch: how the operations of a step are issued; the prefill's are issued one by one.

    Raises InputError where layers or anchors are not there, for CUDA graphs without CUDA, and as `weights` do.
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
    ) -> None:
        _check(architecture, first_layer, num_layers, anchors)
        hidden_1H = torch.zeros(1, architecture.hidden_size, dtype=dtype, device=device)
        self._any_input = torch.zeros(1, dtype=torch.int64, device=device) if has_embedding else hidden_1H
        self._table = RowTable(architecture.rotary, max_rows, dtype, device)
        self._step = make_step(launch, self._run, self._table, torch.device(device))
        self.embedding = Embedding(architecture, weights, device, dtype) if has_embedding else None
        self._layers = []
        for index in range(first_layer, first_layer + num_layers):
            layer = make_layer(architecture.layers[index], dtype, device)
            load(layer, weights, f"model.layers.{index}.")
            # Annotated: kinds of layers differ in what they remember, and each gets its own.
            run: Callable[[Tensor, Rows, Any], Tensor] = layer.forward
            self._layers.append((run, new_memory(layer, max_rows, num_states), index + 1 in anchors))
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

    def _run(self, inputs: Tensor, rows: Rows) -> tuple[Tensor, Tensor]:
        hidden_TH = inputs if self.embedding is None else self.embedding(inputs)
        features = []
        for run_layer, cache, is_anchor in self._layers:
            hidden_TH = run_layer(hidden_TH, rows, cache)
            if is_anchor:
                features.append(hidden_TH)
        if features:
            return hidden_TH, torch.stack(features, dim=1)
        return hidden_TH, hidden_TH.new_empty(hidden_TH.shape[0], 0, hidden_TH.shape[1])


def _check(architecture: Architecture, first_layer: int, num_layers: int, anchors: tuple[int, ...]) -> None:
    end = first_layer + num_layers
    if not 0 <= first_layer < end <= architecture.num_layers:
        rule = f"must be some of 0 to {architecture.num_layers - 1}"
        raise InputError(f"layers are {first_layer} to {end - 1}: {rule}")
    if outside := [anchor for anchor in anchors if not first_layer < anchor <= end]:
        raise InputError(f"anchor is {outside[0]}: must be {first_layer + 1} to {end} on this stage")
