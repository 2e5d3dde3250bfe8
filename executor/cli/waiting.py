"""A sign of life while something loads: on stderr, on a terminal, and only after a second."""

import sys
from threading import Timer
from types import TracebackType
from typing import TYPE_CHECKING

from spdsim.cli.progress import PATIENCE_S

if TYPE_CHECKING:
    from rich.status import Status


class LateStatus:
    """Say what is waited for, once it has taken longer than `PATIENCE_S`. Use as a context."""

    def __init__(self, is_wanted: bool, what: str) -> None:
        self._what = what
        self._status: Status | None = None
        self._timer = Timer(PATIENCE_S, self._show) if is_wanted and sys.stderr.isatty() else None
        if self._timer:
            self._timer.daemon = True

    def stop(self) -> None:
        """Say no more; a second time does nothing."""
        if self._timer:
            self._timer.cancel()
            # It may be showing right now.
            self._timer.join()
            self._timer = None
        if self._status:
            self._status.stop()
            self._status = None

    def __enter__(self) -> "LateStatus":
        if self._timer:
            self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def _show(self) -> None:
        from rich.console import Console

        self._status = Console(stderr=True).status(self._what)
        self._status.start()
