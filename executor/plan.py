"""What a run is: the same plain values for every rank, decided before any of them starts.

Standard library, `spdsim` and `executor.verify.sampling` only, so that a plan is made, shown and refused without torch.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from executor.verify.sampling import Rule, Sampling
from spdsim.acceptance import Acceptance
from spdsim.machine import Machine
from spdsim.scenario import Scenario
from spdsim.scenario.model import Launch
from spdsim.schedules.spd import Layout

Backend = Literal["local", "socket", "gloo", "nccl"]
DeviceKind = Literal["cpu", "cuda"]
DType = Literal["float32", "bfloat16", "float16"]
Method = Literal["spd", "plain"]


@dataclass(frozen=True, slots=True)
class ModelPlan:
    """The target. config: its config.json. directory: where its weights are; None: random weights from `seed`."""

    config: Mapping[str, Any]
    directory: Path | None
    seed: int = 0


@dataclass(frozen=True, slots=True)
class DraftPlan:
    """The draft module, and who decides what it proposes.

    num_layers, anchors, vocab_size (None: every token id): its shape. checkpoint: its weights; None: random ones, drawn
    from `seed`. any_cut: the checkpoint may have been made for other stages than the run's.
    forced: decides by itself which proposals are right; None: the module does. is_free: no module runs beside them.
    is_off: nothing is drafted at all, the target's stages run one after another.
    """

    num_layers: int
    anchors: tuple[int, ...]
    vocab_size: int | None = None
    checkpoint: Path | None = None
    any_cut: bool = False
    seed: int = 0
    forced: Acceptance | None = None
    is_free: bool = False
    is_off: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that the ranks of a run agree on.

    scenario: the run as the simulator sees it. layers: of each stage. devices: index of each worker's device.
    max_context: rows of the KV caches, the longest prompt and all that it may grow to, with what is in flight.
    emulated: durations that take the place of computing. emulated_plain: those of plain decoding, if they are others:
    where drafts are a tree, its stages run one token all the same. timeout_s: the longest wait for a message.
    """

    scenario: Scenario
    layout: Layout
    layers: tuple[int, ...]
    model: ModelPlan
    draft: DraftPlan
    sampling: Sampling
    seed: int
    max_context: int
    backend: Backend = "local"
    device: DeviceKind = "cpu"
    devices: tuple[int, ...] = ()
    dtype: DType = "float32"
    launch: Launch = "eager"
    threads: int = 1
    timeout_s: float = 60.0
    emulated: Machine | None = None
    emulated_plain: Machine | None = None

    @property
    def has_module_drafts(self) -> bool:
        """Whether proposals are the draft module's own."""
        return not self.draft.is_off and self.draft.forced is None and self.layout.num_stages > 1

    @property
    def uses_rejection(self) -> bool:
        """Whether verification needs the draft's distribution: with sampling and a chain of the module's own proposals.

        A tree's proposals are not drawn from it: the target draws its own token, which is one of them or not.
        """
        return self.has_module_drafts and not self.sampling.is_greedy and self.layout.width == 1

    @property
    def rule(self) -> Rule:
        """By which a draft is verified."""
        return "rejection" if self.uses_rejection else "match"


@dataclass(frozen=True, slots=True)
class Job:
    """One sequence to decode. sequence: keys its random numbers. is_recorded: its spans are wanted."""

    method: Method
    sequence: int
    prompt: tuple[int, ...]
    max_new_tokens: int
    end_tokens: frozenset[int] = frozenset()
    is_recorded: bool = False


@dataclass(frozen=True, slots=True)
class JobResult:
    """What became of a job, as worker 0 saw it.

    tokens: y_1 and all that followed; accepted: the verdict on each of them but y_1. num_cycles: after the prefill.
    start_s, first_token_s, end_s: worker 0's clock when the prefill began, y_1 was known, the last token was known.
    """

    tokens: tuple[int, ...]
    accepted: tuple[bool, ...]
    num_cycles: int
    start_s: float
    first_token_s: float
    end_s: float
