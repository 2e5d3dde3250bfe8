"""A training run from its plan to a draft module in a directory: reads, builds, trains, measures, keeps.

Knows nothing of screens: what happens is told to a sink.
"""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import torch
from torch import Tensor

from executor.draft.checkpoint import save_directory
from executor.draft.cut import Cut
from executor.draft.shape import DraftShape, draft_layer
from executor.model.architecture import Architecture, read_architecture
from executor.model.weights import Checkpoint, RandomWeights, Weights
from executor.training.batches import Order, spread
from executor.training.held_out import measure
from executor.training.home import forget_state, made_home, read_state, write_state
from executor.training.material import Material, read_material
from executor.training.outcome import Began, Event, Measured, Outcome, Preparing, facts_of
from executor.training.plan import TrainingDType, TrainingPlan
from executor.training.ranks import Ranks
from executor.training.start import start
from executor.training.steps import measuring
from executor.training.student import Student
from executor.training.teacher import Teacher
from executor.training.trainer import Exercise, Recipe, StepReport, Trainer

Sink = Callable[[Event], None]

_DTYPES: dict[TrainingDType, torch.dtype] = {"float32": torch.float32, "bfloat16": torch.bfloat16}
_WARM_UP_SHARE = 20
"""Of the steps, one in so many warms up."""

_COLD_STEPS = 2
"""The first steps of a process, which take longer."""


def train(
    plan: TrainingPlan, ranks: Ranks, tell: Sink, wishes_to_stop: Callable[[], bool], *, resume: bool = False
) -> Outcome:
    """Train a draft module, and keep it in `plan.out`.

    tell: hears of what happens, on the first process. wishes_to_stop: asked after every step. resume: go on from the
    state there.
    Raises InputError for data, weights or a state that do not serve; DivergedError where a loss is no finite number:
    what was kept before stays.
    """
    if plan.device == "cpu":
        torch.set_num_threads(plan.threads)
    tell = tell if ranks.is_first else _tell_nobody
    tell(Preparing("reading the data"))
    architecture = read_architecture(plan.model.config)
    material = read_material(plan, architecture.vocab_size)
    order = Order(material.trained, plan.accumulate * ranks.size, plan.seed)
    recipe = _recipe(plan, order)
    settings = {
        **plan.settings(), **material.settings(), "--steps": recipe.steps, "--warm-up": recipe.warm_up,
        "the number of processes": ranks.size,
    }  # fmt: skip
    state = read_state(plan.out, settings) if resume else None
    tell(Preparing("loading the target"))
    run = _Run(plan, ranks, tell, architecture, material, order, recipe, settings)
    if state is not None:
        run.go_on(state)
    with made_home(plan.out, resume=resume) if ranks.is_first else nullcontext():
        return run.train(wishes_to_stop)


def _tell_nobody(event: Event) -> None:
    pass


def _recipe(plan: TrainingPlan, order: Order) -> Recipe:
    steps = order.steps_of(plan.epochs or 1.0) if plan.steps is None else plan.steps
    warm_up = steps // _WARM_UP_SHARE if plan.warm_up is None else min(plan.warm_up, steps)
    return Recipe(
        steps=steps,
        accumulate=plan.accumulate,
        learning_rate=plan.learning_rate,
        warm_up=warm_up,
        seed=plan.seed,
        per_depth=plan.layout == "per_depth",
        is_mixed=plan.dtype == "bfloat16",
        expected_acceptance=plan.expected_acceptance,
    )


@dataclass(slots=True)
class _Spent:
    """What steps took in this session, and what they were."""

    num_tokens: int = 0
    step_s: float = 0.0
    losses: list[float] = field(default_factory=list)
    costs: list[float] = field(default_factory=list)

    def add(self, report: StepReport) -> None:
        self.num_tokens += report.num_tokens
        self.step_s += report.step_s
        self.losses.append(report.loss)
        if report.teacher_s:
            self.costs.append(report.step_s / report.teacher_s)


class _Run:
    """A run whose parts are loaded."""

    def __init__(
        self, plan: TrainingPlan, ranks: Ranks, tell: Sink, architecture: Architecture, material: Material,
        order: Order, recipe: Recipe, settings: dict[str, Any],
    ) -> None:  # fmt: skip
        self._plan, self._ranks, self._tell, self._material = plan, ranks, tell, material
        self._recipe, self._settings = recipe, settings
        directory, device = plan.model.directory, ranks.device
        weights: Weights = RandomWeights(plan.model.seed) if directory is None else Checkpoint(directory)
        cut = Cut(plan.layers, plan.anchors)
        teacher = Teacher(architecture, weights, cut.anchors, plan.sequence_length, device, _DTYPES[plan.dtype])
        ids = material.draft_token_ids
        self._shape = DraftShape(
            cut, draft_layer(architecture.layers[0]), plan.draft_layers, architecture.vocab_size, ids
        )
        self._ids_V = None if ids is None else torch.tensor(ids, dtype=torch.int64, device=device)
        self._teacher, self._student = teacher, Student(self._shape, architecture.rotary, teacher.norm, device)
        start(
            self._student, _rows(teacher.head_VH, self._ids_V), architecture, weights, plan.init_from_layers, plan.seed
        )
        exercise = Exercise(self._student, teacher, self._ids_V, recipe)
        self._trainer = Trainer(exercise, teacher, material.corpus, order, recipe, ranks)
        self._history, self._num_tokens, self._spent = list[Measured](), 0, _Spent()

    def go_on(self, state: dict[str, Any]) -> None:
        """Take up a state."""
        self._trainer.go_on(state)
        self._num_tokens = state["num_tokens"]

    def train(self, wishes_to_stop: Callable[[], bool]) -> Outcome:
        """Do every step that is left."""
        steps, per_step = self._recipe.steps, self._recipe.accumulate * self._ranks.size
        when = measuring(steps, per_step, self._plan.num_stages, self._plan.every)
        self._measure(when.few)
        self._tell(Began(self._trainer.num_done, steps))
        is_stopped = False
        while self._trainer.num_done < steps and not is_stopped:
            report = self._trainer.step(wishes_to_stop())
            self._num_tokens += report.num_tokens
            self._spent.add(report)
            self._tell(report)
            is_last = report.step == steps
            is_stopped = report.is_stopped and not is_last
            if report.step % when.every == 0 or is_last:
                self._measure(when.last if is_last else when.few)
                self._keep(is_complete=is_last)
            elif is_stopped:
                self._keep(is_complete=False)
        return self._outcome(is_stopped=is_stopped)

    def _measure(self, most_windows: int) -> None:
        """Measure the drafts on so many windows of held-out text."""
        material, ranks = self._material, self._ranks
        numbers = spread(material.held, most_windows)[ranks.rank :: ranks.size]
        windows = (material.held_out.window(number) for number in numbers)
        found = measure(self._student, self._teacher, self._ids_V, windows, ranks, is_mixed=self._recipe.is_mixed)
        losses, self._spent.losses = self._spent.losses, []
        self._history.append(Measured(self._trainer.num_done, found, sum(losses) / len(losses) if losses else None))
        self._tell(self._history[-1])

    def _keep(self, *, is_complete: bool) -> None:
        """Keep state and module, or the module alone at the end, on the first process; the others wait."""
        if self._ranks.is_first:
            out = self._plan.out
            if not is_complete:
                write_state(out, self._settings, {**self._trainer.state(), "num_tokens": self._num_tokens})
            config = {**self._plan.model.config, "_name_or_path": self._plan.model_name}
            facts = facts_of(self._outcome(is_stopped=not is_complete))
            save_directory(out, self._student.state_dict(), self._shape, facts, config)
            if is_complete:
                forget_state(out)
        self._ranks.wait()

    def _outcome(self, *, is_stopped: bool) -> Outcome:
        spent, costs = self._spent, self._spent.costs
        return Outcome(
            plan=self._plan,
            recipe=self._recipe,
            shape=self._shape,
            material=self._material,
            step=self._trainer.num_done,
            history=tuple(self._history),
            num_tokens=self._num_tokens,
            tokens_per_s=spent.num_tokens / spent.step_s if spent.step_s else None,
            cost=median(costs[_COLD_STEPS:] or costs) if costs else None,
            num_processes=self._ranks.size,
            is_stopped=is_stopped,
        )


def _rows(head_VH: Tensor, ids_V: Tensor | None) -> Tensor:
    return head_VH if ids_V is None else head_VH.index_select(0, ids_V)
