"""What a training run is: plain values, decided before anything is loaded.

Needs no torch.
"""

import json
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

from executor.plan import DeviceKind, ModelPlan

TrainingDType = Literal["float32", "bfloat16"]
LayoutOfRows = Literal["per_depth", "per_type"]
Fills = Literal["verified", "published"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingPlan:
    """Everything that the processes of a training run agree on.

    model_name: as people know it. home: the directory of its files; None: it has none.
    layers: of each stage. draft_vocab: how many token ids can be drafted; None: all.
    init_from_layers: which of the target's layers the module's begin as; None: random ones.
    held_out: the share of `data` that is held out, or a file. steps, epochs: one of the two is None.
    expected_acceptance: fills are drawn as often as their drafts are verified with it; None: as in the v11 release.
    warm_up: steps; None: a twentieth of all. every: steps between measurements; None: a twentieth of all.
    dtype: of the target and of products; the module's own weights are float32.
    """

    model: ModelPlan
    model_name: str
    home: Path | None
    is_built_in: bool
    layers: tuple[int, ...]
    anchors: tuple[int, ...]
    draft_layers: int
    draft_vocab: int | None
    init_from_layers: tuple[int, ...] | None
    data: Path
    held_out: float | Path
    sequence_length: int
    steps: int | None
    epochs: float | None
    accumulate: int
    learning_rate: float
    warm_up: int | None
    seed: int
    layout: LayoutOfRows
    expected_acceptance: float | None
    every: int | None
    dtype: TrainingDType
    device: DeviceKind
    threads: int
    out: Path

    @property
    def num_stages(self) -> int:
        """Stages n."""
        return len(self.layers)

    def settings(self) -> dict[str, Any]:
        """Return, by option, what must not change for a run to be resumed exactly, as far as options alone say it."""
        model = json.dumps([dict(self.model.config), self.model.directory is None], sort_keys=True)
        return {
            "--model": sha256(model.encode()).hexdigest()[:16],
            "--layers": list(self.layers),
            "--anchors": list(self.anchors),
            "--draft-layers": self.draft_layers,
            "--draft-vocab": self.draft_vocab,
            "--init-from-layers": None if self.init_from_layers is None else list(self.init_from_layers),
            "--sequence-length": self.sequence_length,
            "--accumulate": self.accumulate,
            "--learning-rate": self.learning_rate,
            "--seed": self.seed,
            "--layout": self.layout,
            "--fills": "published" if self.expected_acceptance is None else "verified",
            "--expected-acceptance": self.expected_acceptance,
            "--dtype": self.dtype,
        }
