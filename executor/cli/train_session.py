"""One training run from its request to its results: planned, trained, told, written."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from types import FrameType
from typing import Any

import typer

from executor.cli import PROGRAM
from executor.errors import DivergedError
from executor.planning import Place
from executor.planning.training import TrainingRequest, plan_training
from executor.training.home import STATE, check_home
from executor.training.plan import TrainingPlan
from spdsim.cli.document import JsonOutput
from spdsim.cli.outputs import Outputs

_DIVERGED, _STOPPED = 1, 128 + signal.SIGINT
_WISHES = (signal.SIGINT, signal.SIGTERM)
_ECHO_S = 1.0
"""Within which the same wish comes again without anyone having wished again."""


def train_and_report(
    request: TrainingRequest, place: Place, json_file: Path | None, *, resume: bool, force: bool, is_quiet: bool
) -> None:
    """Train what is asked for, and deliver what came of it.

    Raises InputError for what cannot be done; exits with 1 where a loss is no number, with 130 where it was stopped.
    """
    plan = plan_training(request, place)
    check_home(plan.out, resume=resume, force=force)
    is_first = place.world is None or place.world.rank == 0
    inputs = [plan.data, plan.held_out] if isinstance(plan.held_out, Path) else [plan.data]
    with Outputs(inputs) as outputs:
        to_json = JsonOutput(outputs, json_file if is_first else None)
        try:
            _train(plan, place, to_json, resume=resume, is_watched=is_first and not is_quiet)
        except DivergedError as error:
            if is_first:
                kept = (
                    f"what was kept before is in {plan.out}" if (plan.out / STATE).exists() else "nothing was kept yet"
                )
                _say(f"error: {error}: {kept}: begin anew with a smaller --learning-rate")
            raise typer.Exit(_DIVERGED) from None
        except KeyboardInterrupt:
            if is_first:
                _say(f"stopped: {_kept(plan)}")
            raise typer.Exit(_STOPPED) from None


def _train(plan: TrainingPlan, place: Place, to_json: JsonOutput, *, resume: bool, is_watched: bool) -> None:
    # What is wrong with the options is told before the heavy half of the program is loaded.
    from executor.cli.train_progress import TrainingProgress
    from executor.cli.train_result import print_outcome, training_document
    from executor.training.ranks import joined
    from executor.training.run import train

    world = place.world
    rank, size, per_node = (0, 1, 1) if world is None else (world.rank, world.size, world.per_node)
    with (
        joined(rank, size, rank % per_node, plan.device) as ranks,
        TrainingProgress(is_watched) as progress,
        _wish_to_stop() as wish,
    ):
        outcome = train(plan, ranks, progress, wish.is_there, resume=resume)
    if not ranks.is_first:
        raise typer.Exit(_STOPPED if outcome.is_stopped else 0)
    to_json.write(lambda: training_document(outcome))
    if not to_json.has_stdout and is_watched:
        print_outcome(outcome)
    if outcome.is_stopped:
        _say(f"stopped after step {outcome.step:,} of {outcome.recipe.steps:,}: {_kept(plan)}")
        raise typer.Exit(_STOPPED)


def _kept(plan: TrainingPlan) -> str:
    """What is left of a run that did not come to its end, and what to do with it."""
    if (plan.out / STATE).exists():
        return f"what was trained is kept in {plan.out}; the same command with --resume goes on"
    return "nothing was kept yet"


def _say(text: str) -> None:
    print(f"{PROGRAM}: {text}", file=sys.stderr)


class _Wish:
    """Ctrl-C, or a request to end, as a wish that is heard after a step; a second later it ends the process at once.

    It is listened for from the first question on: before, nothing would be lost.
    """

    def __init__(self) -> None:
        self._came_s: float | None = None
        self._before: dict[int, Any] = {}

    def is_there(self) -> bool:
        """Whether it has come."""
        if not self._before:
            self._before = {number: signal.signal(number, self._hear) for number in _WISHES}
        return self._came_s is not None

    def _hear(self, number: int, frame: FrameType | None) -> None:
        if self._came_s is not None:
            # A terminal tells every process, and torchrun tells those that it has started once more.
            if monotonic() - self._came_s < _ECHO_S:
                return
            raise KeyboardInterrupt
        self._came_s = monotonic()
        # As bytes: what is being printed may be interrupted here. On a terminal a bar stands in the line.
        line = "\n" if os.isatty(2) else ""
        os.write(2, f"{line}{PROGRAM}: stopping after this step; once more stops at once\n".encode())

    def end(self) -> None:
        """Listen no more."""
        for number, before in self._before.items():
            signal.signal(number, before)


@contextmanager
def _wish_to_stop() -> Iterator[_Wish]:
    wish = _Wish()
    try:
        yield wish
    finally:
        wish.end()
