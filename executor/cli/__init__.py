"""The command line of the executor: the only place that prints, draws progress and exits.

A command's module imports what it needs when it runs, so that `spdsim-exec --help` is quick.
stdout is the result, the text and the figures; stderr is commentary.
"""

import signal
import sys
from typing import NoReturn

PROGRAM = "spdsim-exec"


def main() -> None:
    """Run the `spdsim-exec` command and exit: 0 done, 2 wrong input or a failed run, 130 stopped by a signal."""
    try:
        signal.signal(signal.SIGTERM, _stop)
        from executor.cli.app import app

        app(prog_name=PROGRAM)
    except KeyboardInterrupt:
        print(f"{PROGRAM}: stopped, nothing written", file=sys.stderr)
        sys.exit(130)


def _stop(*_: object) -> NoReturn:
    """Let a request to end be as clean as Ctrl-C: reserved files are removed on the way out."""
    raise KeyboardInterrupt
