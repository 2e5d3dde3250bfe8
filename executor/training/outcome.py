"""What a training run tells while it goes on, what comes of it, and what its checkpoint keeps of that."""

from dataclasses import dataclass
from math import prod
from typing import Any

from executor.draft.checkpoint import tensor_sizes
from executor.draft.shape import DraftShape
from executor.training.held_out import HeldOut
from executor.training.material import Material
from executor.training.plan import TrainingPlan
from executor.training.trainer import Recipe, StepReport
from spdsim import __version__


@dataclass(frozen=True, slots=True)
class Preparing:
    """Something takes its time before the first step."""

    what: str


@dataclass(frozen=True, slots=True)
class Measured:
    """The drafts on held-out text after `step` steps. loss: the mean over the steps since the last time."""

    step: int
    held_out: HeldOut
    loss: float | None


@dataclass(frozen=True, slots=True)
class Began:
    """Training goes on after `step` of `steps` steps."""

    step: int
    steps: int


Event = Preparing | Began | StepReport | Measured


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a run.

    step, steps: done, of all. history: what was measured, the last one at the end. num_tokens: trained on, by all
    processes. tokens_per_s: of this session. cost: what a step takes, in times the target's own forward pass over the
    same text; None: not measured. is_stopped: it was asked to stop before its end.
    """

    plan: TrainingPlan
    recipe: Recipe
    shape: DraftShape
    material: Material
    step: int
    history: tuple[Measured, ...]
    num_tokens: int
    tokens_per_s: float | None
    cost: float | None
    num_processes: int
    is_stopped: bool

    @property
    def num_weights(self) -> int:
        """The numbers that were trained."""
        return sum(prod(size) for size in tensor_sizes(self.shape).values())

    @property
    def held_out(self) -> HeldOut:
        """What was measured last."""
        return self.history[-1].held_out


def facts_of(outcome: Outcome) -> dict[str, Any]:
    """Return what a checkpoint keeps of its training: plain values."""
    plan, recipe, material = outcome.plan, outcome.recipe, outcome.material
    first = plan.init_from_layers
    return {
        "tool_version": __version__,
        "complete": not outcome.is_stopped,
        "steps": outcome.step,
        "of_steps": recipe.steps,
        "tokens": outcome.num_tokens,
        "data": plan.data.name,
        "sequence_length": plan.sequence_length,
        "sequences_per_step": recipe.accumulate * outcome.num_processes,
        "learning_rate": recipe.learning_rate,
        "warm_up_steps": recipe.warm_up,
        "seed": recipe.seed,
        "layout": plan.layout,
        "expected_acceptance": plan.expected_acceptance,
        "dtype": plan.dtype,
        # As the authors' programs call them.
        "trained_with_use_deepest": True,
        "spec_init_from_base_layers": None if first is None else list(first),
        "coverage": material.coverage,
        "held_out": {
            "data": material.held_out.file.name,
            "after_step": outcome.history[-1].step,
            "coverage": material.held_out_coverage,
            **held_out_document(outcome.held_out),
        },
    }


def held_out_document(held_out: HeldOut) -> dict[str, Any]:
    """Return the drafts on held-out text as plain data; one entry for each fill depth, 1 to n."""
    return {
        "positions": held_out.num_positions,
        "acceptance": [at.acceptance for at in held_out.fills],
        "divergence_nats": [at.divergence_nats for at in held_out.fills],
    }
