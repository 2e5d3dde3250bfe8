"""What a demonstration says on stderr while it goes on: a bar on a terminal, and a line for every finished part."""

import sys
from typing import TYPE_CHECKING

from executor.cli import PROGRAM
from executor.demo.run import Finished, Progress
from spdsim.cli.progress import WithBar

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID


class DemoProgress(WithBar):
    """Tells a demonstration. Use as a context; called with every event."""

    def __init__(self, is_watched: bool) -> None:
        self._is_watched = is_watched
        self._part = 0

    def __call__(self, event: Progress | Finished) -> None:
        """Take an event."""
        if not self._is_watched:
            return
        match event:
            case Progress():
                if sys.stderr.isatty():
                    self._show(event)
            case Finished(part, parts, name, note):
                self.say(f"{PROGRAM}: {part} of {parts}: {name}: {note}")

    def _show(self, event: Progress) -> None:
        if self._bar is None:
            self._bar = _new_bar()
        bar, task = self._bar
        if event.part != self._part:
            self._part = event.part
            # Anew, so that the time that is left is this part's.
            bar.reset(task, total=event.total)
        note = f", {event.note}" if event.note else ""
        what = f"{event.part} of {event.parts}: {event.name}{note}"
        bar.update(task, completed=event.done, total=event.total, description=what)


def _new_bar() -> "tuple[Bar, TaskID]":
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(bar_width=16), TimeRemainingColumn())
    bar = Progress(*columns, console=Console(stderr=True), transient=True)
    task = bar.add_task("", total=None)
    bar.start()
    return bar, task
