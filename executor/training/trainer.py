"""Steps of training: a frozen target, a draft module, and an optimiser.

A step simulates one fill depth, reads `accumulate` windows on each process, and changes the weights once. What it draws
depends on the seed and its number alone, so that a run that goes on from a state is the run that was never stopped.
Every row that counts weighs the same in a step, however long the windows are.

Memory: the target, 16 bytes for each weight of the module (itself, its gradient, two moments), and of one window the
target's hidden states at the anchors and what the module keeps for its backward pass, which grow with its tokens.

Shapes: G windows of a step over all processes, V draft vocabulary.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

import torch
from torch import Tensor, nn

from executor.errors import DivergedError
from executor.training.batches import Order
from executor.training.corpus import Corpus
from executor.training.loss import distillation
from executor.training.ranks import Ranks
from executor.training.steps import fill_of_step, fill_shares, learning_rate
from executor.training.student import Student
from executor.training.teacher import Lesson, Teacher

_CLIP_NORM = 1.0
_BETAS = (0.9, 0.95)
_WEIGHT_DECAY = 0.01
_TIMED_STEPS = 20
"""In which the target's part is measured."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a module is trained.

    warm_up: steps. is_mixed: products are in bfloat16, weights in float32. expected_acceptance: for `fill_shares`.
    """

    steps: int
    accumulate: int
    learning_rate: float
    warm_up: int
    seed: int
    per_depth: bool
    is_mixed: bool
    expected_acceptance: float | None = None


@dataclass(frozen=True, slots=True)
class StepReport:
    """What became of a step, over all processes.

    step: how many are done. loss: mean over rows that count, nats. num_tokens: tokens read.
    step_s, teacher_s: of this process; the target's part of a step is None where it was not measured.
    is_stopped: some process wishes to stop.
    """

    step: int
    fill: int
    loss: float
    num_tokens: int
    step_s: float
    teacher_s: float | None
    is_stopped: bool


class Exercise(nn.Module):
    """A draft module and its loss on one lesson, in one forward pass, as averaging gradients needs it.

    ids_V: the draft vocabulary; None: all.
    """

    def __init__(self, student: Student, teacher: Teacher, ids_V: Tensor | None, recipe: Recipe) -> None:
        super().__init__()
        self.student = student
        self._teacher, self._ids_V, self._recipe = teacher, ids_V, recipe

    def forward(self, lesson: Lesson, fill: int, weights_S: Tensor | None) -> Tensor:
        """Return the mean divergence of the drafts from the target, in nats."""
        with torch.autocast(lesson.hidden_TH.device.type, torch.bfloat16, enabled=self._recipe.is_mixed):
            hidden_TH = self.student(lesson.features_TF, fill, self._recipe.per_depth)
            loss = distillation(self.student, hidden_TH, self._teacher, lesson, self._ids_V, weights_S)
        # Which projections are used depends on the fill: those that are not have a gradient all the same, of zeros, so
        # that every step treats every weight alike and processes need not find out which to wait for.
        return loss + 0.0 * sum(weight[0, 0] for weight in self.student.aggr_projs.parameters())


class Trainer:
    """Trains `exercise.student` on windows of `corpus` in the order of `order`."""

    def __init__(
        self, exercise: Exercise, teacher: Teacher, corpus: Corpus, order: Order, recipe: Recipe, ranks: Ranks
    ) -> None:
        self._teacher, self._corpus, self._order, self._recipe, self._ranks = teacher, corpus, order, recipe, ranks
        self._student = exercise.student
        self._weights = list(exercise.parameters())
        self._exercise = ranks.averaged(exercise)
        self._fill_shares = fill_shares(exercise.student.shape.cut.num_stages, recipe.expected_acceptance)
        groups = [
            {"params": [weight for weight in self._weights if weight.ndim > 1], "weight_decay": _WEIGHT_DECAY},
            {"params": [weight for weight in self._weights if weight.ndim == 1], "weight_decay": 0.0},
        ]
        is_fused = ranks.device.type == "cuda"
        self._optimiser = torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=_BETAS, fused=is_fused)
        self.num_done, self._num_timed = 0, 0

    def step(self, wishes_to_stop: bool = False) -> StepReport:
        """Change the weights once. wishes_to_stop: this process would like to be told to stop afterwards.

        Raises DivergedError, with the weights as they were, where the loss or a gradient is no finite number.
        """
        start_s = time.perf_counter()
        recipe, ranks, number = self._recipe, self._ranks, self.num_done
        windows = self._order.of_step(number)
        fill = fill_of_step(recipe.seed, number, self._fill_shares)
        rows = [self._corpus.spans[window].num_counted for window in windows]
        # Of every window its loss; then how many processes wish to stop.
        told = torch.zeros(len(windows) + 1, dtype=torch.float64, device=ranks.device)
        told[-1] = wishes_to_stop
        teacher_s = self._gather(windows, rows, fill, told)
        norm = nn.utils.clip_grad_norm_(self._weights, _CLIP_NORM)
        *losses, wishes = ranks.total(told).tolist()
        self._check(losses, float(norm), windows)
        for group in self._optimiser.param_groups:
            group["lr"] = learning_rate(number, recipe.steps, recipe.warm_up, recipe.learning_rate)
        self._optimiser.step()
        self.num_done = number + 1
        loss = sum(loss * count for loss, count in zip(losses, rows, strict=True)) / sum(rows)
        num_tokens = sum(self._corpus.spans[window].num_tokens for window in windows)
        step_s = time.perf_counter() - start_s
        return StepReport(self.num_done, fill, loss, num_tokens, step_s, teacher_s, wishes > 0)

    def state(self) -> dict[str, Any]:
        """Return all that another trainer of the same settings needs to go on: plain values and tensors."""
        return {
            "step": self.num_done,
            "module": self._student.state_dict(),
            "optimiser": self._optimiser.state_dict(),
        }

    def go_on(self, state: dict[str, Any]) -> None:
        """Take up what `state` returned."""
        self._student.load_state_dict(state["module"])
        self._optimiser.load_state_dict(state["optimiser"])
        self.num_done = state["step"]

    def _gather(self, windows: Sequence[int], rows: Sequence[int], fill: int, told: Tensor) -> float | None:
        """Work out the gradients of this process's windows and write their losses; return the target's seconds."""
        self._optimiser.zero_grad(set_to_none=True)
        mine, teacher_s = range(self._ranks.rank, len(windows), self._ranks.size), 0.0
        is_timed = self._num_timed < _TIMED_STEPS
        self._num_timed += is_timed
        for place in mine:
            window = self._corpus.window(windows[place]).to(self._ranks.device)
            asked_s = self._now_s() if is_timed else 0.0
            lesson = self._teacher(window.tokens_S)
            teacher_s += self._now_s() - asked_s if is_timed else 0.0
            with self._ranks.gathering(self._exercise, is_last=place == mine[-1]):
                loss = self._exercise(lesson, fill, window.weights_S)
                # Averaging divides by the number of processes; each row shall weigh the same in the step.
                (loss * (rows[place] * self._ranks.size / sum(rows))).backward()
            told[place] = loss.detach()
        return teacher_s if is_timed else None

    def _check(self, losses: Sequence[float], norm: float, windows: Sequence[int]) -> None:
        found = [("loss", loss, window) for loss, window in zip(losses, windows, strict=True)]
        for what, value, window in (*found, ("gradient", norm, windows[0])):
            if not isfinite(value):
                where = f"sequence {window} ({self._corpus.where(window)})"
                raise DivergedError(f"step {self.num_done + 1}: the {what} of {where} is {value}")

    def _now_s(self) -> float:
        """The time at which all that was asked for is done: waiting for it costs a little, so not in every step."""
        if self._ranks.device.type == "cuda":
            torch.cuda.synchronize(self._ranks.device)
        return time.perf_counter()
