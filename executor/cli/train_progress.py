"""What a training run says on stderr while it goes on: a bar on a terminal, and a line for each measurement."""

import sys
from types import TracebackType
from typing import TYPE_CHECKING

from executor.cli import PROGRAM
from executor.cli.waiting import LateStatus
from executor.training.outcome import Began, Event, Measured, Preparing
from executor.training.trainer import StepReport
from spdsim.cli.progress import WithBar

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

_SMOOTHING = 0.1
"""Of the loss and the speed on the bar: how much the last step weighs."""


class TrainingProgress(WithBar):
    """Tells a training run. Use as a context; called with every event."""

    def __init__(self, is_watched: bool) -> None:
        self._is_watched = is_watched
        self._waiting: LateStatus | None = None
        self._steps = 0
        self._loss = self._tokens_per_s = 0.0

    def __call__(self, event: Event) -> None:
        """Take an event."""
        if not self._is_watched:
            return
        match event:
            case Preparing(what):
                self._stop_waiting()
                self._waiting = LateStatus(True, what)
                self._waiting.__enter__()
            case Measured():
                self._stop_waiting()
                self._line(event)
            case Began(step, steps):
                self._steps = steps
                if sys.stderr.isatty() and step < steps:
                    self._bar = _new_bar(step, steps)
            case StepReport():
                self._step(event)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop_waiting()
        super().__exit__(kind, error, traceback)

    def _step(self, report: StepReport) -> None:
        speed = report.num_tokens / report.step_s
        weight = _SMOOTHING if self._tokens_per_s else 1.0
        self._loss += weight * (report.loss - self._loss)
        self._tokens_per_s += weight * (speed - self._tokens_per_s)
        if self._bar is not None:
            progress, task = self._bar
            what = f"loss {self._loss:.3f}, {self._tokens_per_s:,.0f} tokens/s"
            progress.update(task, completed=report.step, description=what)

    def _line(self, measured: Measured) -> None:
        shares = " ".join(f"{at.acceptance:.3f}" for at in measured.held_out.fills)
        loss = "" if measured.loss is None else f"loss {measured.loss:.3f}, "
        speed = f", {self._tokens_per_s:,.0f} tokens/s" if self._tokens_per_s else ""
        of_steps = f" of {self._steps:,}" if self._steps else ""
        fills = f"with 1 to {len(measured.held_out.fills)} in flight"
        self.say(f"{PROGRAM}: step {measured.step:,}{of_steps}: {loss}accepted {shares} {fills}{speed}")

    def _stop_waiting(self) -> None:
        if self._waiting is not None:
            self._waiting.stop()
            self._waiting = None


def _new_bar(step: int, steps: int) -> "tuple[Progress, TaskID]":
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    progress = Progress(*columns, console=Console(stderr=True), transient=True)
    task = progress.add_task("", total=steps, completed=step)
    progress.start()
    return progress, task
