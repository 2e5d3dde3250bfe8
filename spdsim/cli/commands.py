"""What becomes of a command's errors: one line on stderr and an exit code, never a traceback."""

import signal
import sys
from io import TextIOWrapper
from typing import Any

import typer
from typer.core import TyperGroup

from spdsim.errors import SpdError


class Commands(TyperGroup):
    """The group of a program's commands: turns their errors into one line and an exit code."""

    program = "spdsim"

    def say(self, text: str, error: SpdError | None = None) -> None:
        """Print a line on stderr: `error`, or why the program stops."""
        print(f"{self.program}: {text}", file=sys.stderr)

    def invoke(self, ctx: Any) -> Any:
        """Run the command; an error of ours, Ctrl-C or a closed pipe ends the program without a traceback."""
        if sys.stdout is None:
            self.say("error: standard output is closed: must be open")
            raise typer.Exit(2)
        if isinstance(sys.stdout, TextIOWrapper):
            # A terminal without Unicode shows "?" rather than a traceback.
            sys.stdout.reconfigure(errors="replace")
        try:
            outcome = super().invoke(ctx)
            sys.stdout.flush()
        except SpdError as error:
            self.say(f"error: {error}", error)
            raise typer.Exit(2) from None
        except KeyboardInterrupt:
            self.say("stopped, nothing written")
            raise typer.Exit(128 + signal.SIGINT) from None
        except BrokenPipeError:
            from spdsim.cli.screen import discard_stdout

            discard_stdout()
            return None
        except OSError as error:
            # Files have lines of their own: what is left is a full disk behind standard output.
            from spdsim.cli.screen import discard_stdout

            discard_stdout()
            where, why = error.filename or "standard output", error.strerror or error
            self.say(f"error: {where}: cannot be written: {why}")
            raise typer.Exit(2) from None
        return outcome
