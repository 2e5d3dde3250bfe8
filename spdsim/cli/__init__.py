"""The command line: the only place that prints, draws progress and exits.

A command's module imports what it needs when it runs, so that `spdsim --help` is quick.
stdout is the result, the same bytes for the same input; stderr is commentary.
"""

import sys


def main() -> None:
    """Run the `spdsim` command and exit: 0 done, 2 wrong input, 130 stopped by Ctrl-C."""
    try:
        from spdsim.cli.app import app

        app(prog_name="spdsim")
    except KeyboardInterrupt:
        print("spdsim: stopped, nothing written", file=sys.stderr)
        sys.exit(130)
