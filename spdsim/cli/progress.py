"""The progress bar of long runs: on stderr, on a terminal, and only after a second."""

import sys
from time import monotonic
from types import TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

PATIENCE_S = 1.0


class WithBar:
    """Who may show a bar. Use as a context, so that Ctrl-C leaves the terminal as it was."""

    _bar: "tuple[Progress, TaskID] | None" = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar[0].stop()

    def say(self, text: str) -> None:
        """Print a line on stderr, above the bar if there is one."""
        if self._bar is None:
            print(text, file=sys.stderr, flush=True)
        else:
            self._bar[0].console.print(text, markup=False, highlight=False, soft_wrap=True)


class LateProgress(WithBar):
    """Show how many replications are done, once they have taken longer than `PATIENCE_S`.

    Called with (done, total). what: what is done, if not replications.
    """

    def __init__(self, is_wanted: bool, what: str = "replications") -> None:
        self._what = what
        self._is_wanted = is_wanted and sys.stderr.isatty()
        self._start_s = monotonic()

    def __call__(self, done: int, total: int) -> None:
        """Say that `done` of `total` replications are done."""
        if not self._is_wanted:
            return
        if self._bar is None and done < total and monotonic() - self._start_s > PATIENCE_S:
            self._bar = _new_bar(total, self._what)
        if self._bar is not None:
            progress, task = self._bar
            progress.update(task, completed=done)


def _new_bar(total: int, what: str) -> "tuple[Progress, TaskID]":
    from rich.console import Console
    from rich.progress import Progress

    progress = Progress(console=Console(stderr=True), transient=True)
    task = progress.add_task(what, total=total)
    progress.start()
    return progress, task


class StepProgress(WithBar):
    """Show which of a few long steps runs and how long all of them will take, from the first one on.

    Called with (done, total, what comes next).
    """

    def __init__(self, is_wanted: bool, what: str) -> None:
        self._what = what
        self._is_wanted = is_wanted and sys.stderr.isatty()

    def __call__(self, done: int, total: int, step: str) -> None:
        """Say that `done` of `total` steps are done, and that `step` is next."""
        if not self._is_wanted:
            return
        if self._bar is None:
            self._bar = _new_bar(total, self._what)
        progress, task = self._bar
        progress.update(task, completed=done, description=f"{self._what} {min(done + 1, total)} of {total}: {step}")
