"""What is measured: the model, the cut and the device of a plan, and layers of the model as a stage runs them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from math import prod
from pathlib import Path

import torch
from torch import Tensor

from executor.draft.cut import Cut
from executor.model.architecture import Architecture, LayerShape, read_architecture
from executor.model.delta import StateRing
from executor.model.dense import DenseLayer, DenseShape
from executor.model.layers import make_layer
from executor.model.stage import StageModel
from executor.model.weights import RandomWeights
from executor.plan import Plan
from executor.planning.target import max_positions
from executor.rank import device_of
from executor.worker.channels import DTYPES
from spdsim.scenario.model import Launch

_BLOCK_ENTRIES = 1 << 18
_MEMINFO = Path("/proc/meminfo")


class SameWeights(RandomWeights):
    """A block of random numbers again and again: drawn quickly, and no product takes another time for it."""

    def fill(self, name: str, target: Tensor, first_row: int = 0, of_rows: int | None = None) -> None:
        """Fill `target`, whatever rows it stands for."""
        block = max(1, _BLOCK_ENTRIES // prod(target.shape[1:]))
        first, rest = target[:block], target[block:]
        super().fill(name, first)
        for start in range(0, len(rest), block):
            piece = rest[start : start + block]
            piece.copy_(first[: len(piece)])


@dataclass(frozen=True, slots=True)
class Subject:
    """What is measured.

    device: of the first stage. kinds: the shapes of the model's layers by the name of their kind.
    """

    plan: Plan
    architecture: Architecture
    kinds: dict[str, LayerShape]
    device: torch.device
    dtype: torch.dtype

    @property
    def cut(self) -> Cut:
        """The layers of each stage, and the anchors."""
        return Cut(self.plan.layers, self.plan.draft.anchors)

    @property
    def num_layers(self) -> int:
        """Layers of the plan's largest stage."""
        return max(self.plan.layers)

    @property
    def stage_shapes(self) -> tuple[LayerShape, ...]:
        """The layers of the plan's largest stage."""
        layers = self.plan.layers
        first = sum(layers[: layers.index(self.num_layers)])
        return self.architecture.layers[first : first + self.num_layers]

    def contexts(self, wanted: tuple[int, ...]) -> list[int]:
        """Return those of `wanted`, rising, that the model has positions for; its longest one if there are none."""
        most = max_positions(self.plan.model.config)
        return [tokens for tokens in wanted if most is None or tokens <= most] or [min(wanted[0], most or wanted[0])]

    def hidden(self, num_tokens: int) -> Tensor:
        """Return hidden states (T, H) of no meaning."""
        shape = (num_tokens, self.architecture.hidden_size)
        return torch.randn(shape, device=self.device).to(self.dtype)


def subject_of(plan: Plan, worker: int | None = None) -> Subject:
    """Return what a plan's probes measure. worker: on whose device; None: the first stage's.

    Raises InputError for a model that the executor does not compute.
    """
    architecture = read_architecture(plan.model.config)
    kinds = {kind_of(shape): shape for shape in reversed(architecture.layers)}
    device = device_of(plan, plan.layout.worker_of_stage(0) if worker is None else worker)
    return Subject(plan, architecture, dict(reversed(kinds.items())), device, DTYPES[plan.dtype])


def kind_of(shape: LayerShape) -> str:
    """Return what a config.json calls a kind of layer."""
    if isinstance(shape, DenseShape):
        return "full_attention" if shape.window is None else "sliding_attention"
    return "full_attention" if shape.delta is None else "linear_attention"


class ProbedStage(StageModel):
    """Layers of any kinds, which can be run at any position at once, as if there were a sequence up to there."""

    def __init__(self, subject: Subject, shapes: Sequence[LayerShape], max_rows: int, launch: Launch) -> None:
        """max_rows: of the caches. launch: of a token's operations."""
        architecture = replace(subject.architecture, layers=tuple(shapes))
        num_states = subject.plan.layout.capacity + 2
        super().__init__(
            architecture, SameWeights(0), 0, len(shapes), (), False, max_rows, num_states, subject.device,
            subject.dtype, launch,
        )  # fmt: skip
        for _, memory, _ in self._layers:
            # Memory that was never written to is no memory yet, and reading it costs nothing.
            (memory.states_NHKV if isinstance(memory, StateRing) else memory.rows_HSD).normal_(0.0, 0.1)

    def pretend(self, num_rows: int) -> None:
        """Take the rows before `num_rows` as written: what is in them costs what anything else would."""
        self._next, self._newest = num_rows, num_rows - 1
        self._oldest = num_rows if self._rings else 0


def layers_that_fit(
    subject: Subject, shapes: Sequence[LayerShape], max_rows: int, copies: int = 1
) -> tuple[LayerShape, ...]:
    """Return as many of `shapes` as memory has room for, all if it can be, perhaps none.

    copies: how many processes or streams hold as many at the same time.
    """
    room_bytes = room_on(subject.device) / copies
    sizes = accumulate(layer_bytes(shape, subject.dtype, max_rows) for shape in shapes)
    return tuple(shape for shape, size in zip(shapes, sizes, strict=True) if size <= room_bytes)


def room_on(device: torch.device) -> float:
    """Return the bytes of a device that a probe may use: half of what is free, for others want some too."""
    return 0.5 * free_bytes(device)


def layer_bytes(shape: LayerShape, dtype: torch.dtype, max_rows: int) -> int:
    """Return the bytes of a layer's weights and of its cache of `max_rows` rows."""
    layer = make_layer(shape, dtype, "meta")
    weights = sum(parameter.numel() * parameter.element_size() for parameter in layer.parameters())
    dense = layer.shape if isinstance(layer, DenseLayer) else layer.shape.dense
    return weights + 2 * dense.num_kv_heads * dense.head_dim * max_rows * dtype.itemsize


def free_bytes(device: torch.device) -> float:
    """Return the memory that is free on a device; without end where the system does not tell."""
    if device.type == "cuda":
        return float(torch.cuda.mem_get_info(device)[0])
    try:
        lines = _MEMINFO.read_text().splitlines()
    except OSError:
        return float("inf")
    return next((1024.0 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable")), float("inf"))
