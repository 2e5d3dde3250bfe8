"""The demonstration from what is wanted to its tables: started, told, written."""

import signal
import sys
from pathlib import Path

import typer

from executor.cli import PROGRAM
from executor.cli.demo_progress import DemoProgress
from executor.demo.run import Wanted, demonstrate
from executor.planning import Place
from spdsim.cli.document import JsonOutput
from spdsim.cli.outputs import Outputs

_STOPPED = 128 + signal.SIGINT


def demonstrate_and_report(wanted: Wanted, place: Place, json_file: Path | None, *, is_quiet: bool) -> None:
    """Do every part that is missing, and deliver what came of it.

    Raises InputError and RunError as `demonstrate`; exits with 130 where it was stopped.
    """
    from executor.cli.demo_result import demo_document, print_demo

    with Outputs([]) as outputs:
        to_json = JsonOutput(outputs, json_file)
        try:
            with DemoProgress(not is_quiet) as tell:
                outcome = demonstrate(wanted, place, tell)
        except KeyboardInterrupt:
            kept = f"what is finished is kept in {wanted.out}; the same command, without --force, goes on"
            print(f"{PROGRAM}: stopped: {kept}", file=sys.stderr)
            raise typer.Exit(_STOPPED) from None
        to_json.write(lambda: demo_document(outcome))
        if not to_json.has_stdout and not is_quiet:
            print_demo(outcome)
