"""The command line: the only place that prints, draws progress and exits.

A command's module imports what it needs when it runs, so that `spdsim --help` is quick.
stdout is the result, the same bytes for the same input; stderr is commentary.
"""

import signal
import sys
from typing import NoReturn


def main() -> None:
    """Run the `spdsim` command and exit: 0 done, 2 wrong input, 130 stopped by Ctrl-C or by SIGTERM."""
    try:
        signal.signal(signal.SIGTERM, _stop)
        from spdsim.cli.app import app

        app(prog_name="spdsim")
    except KeyboardInterrupt:
        print("spdsim: stopped, nothing written", file=sys.stderr)
        sys.exit(130)


def _stop(*_: object) -> NoReturn:
    """Let a request to end be as clean as Ctrl-C: reserved files are removed on the way out."""
    raise KeyboardInterrupt
