"""The demonstration from what is wanted to its tables: started, told, written."""

import sys
from pathlib import Path
from types import TracebackType

from executor.cli import PROGRAM
from executor.demo.run import Finished, Progress, Wanted, demonstrate
from executor.planning import Place
from spdsim.cli.document import JsonOutput
from spdsim.cli.outputs import Outputs
from spdsim.cli.progress import LateProgress


def demonstrate_and_report(wanted: Wanted, place: Place, json_file: Path | None, *, is_quiet: bool) -> None:
    """Do every part that is missing, and deliver what came of it. Raises InputError and RunError as `demonstrate`."""
    from executor.cli.demo_result import demo_document, print_demo

    with Outputs([]) as outputs:
        to_json = JsonOutput(outputs, json_file)
        with _Teller(not is_quiet) as tell:
            outcome = demonstrate(wanted, place, tell)
        to_json.write(lambda: demo_document(outcome))
        if not to_json.has_stdout and not is_quiet:
            print_demo(outcome)


class _Teller:
    """A line on stderr for every part that is finished, and on a terminal a bar for the one that is not."""

    def __init__(self, is_watched: bool) -> None:
        self._is_watched = is_watched
        self._bar: LateProgress | None = None
        self._part = 0

    def __enter__(self) -> "_Teller":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop()

    def __call__(self, event: Progress | Finished) -> None:
        """Take an event."""
        match event:
            case Progress():
                if event.part != self._part:
                    self._stop()
                    self._part = event.part
                    self._bar = LateProgress(self._is_watched, f"{event.part} of {event.parts}: {event.name}")
                assert self._bar is not None
                self._bar(event.done, event.total)
            case Finished():
                self._stop()
                if self._is_watched:
                    text = f"{PROGRAM}: {event.part} of {event.parts}: {event.name}: {event.note}"
                    print(text, file=sys.stderr, flush=True)

    def _stop(self) -> None:
        if self._bar is not None:
            self._bar.__exit__(None, None, None)
            self._bar = None
