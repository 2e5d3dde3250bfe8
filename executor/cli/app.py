"""The commands of `spdsim-exec`, and what becomes of their errors."""

import os
import signal
import sys
from io import TextIOWrapper
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from executor.cli import PROGRAM
from executor.cli.generate import generate
from executor.cli.grouped import GroupedCommand
from executor.cli.make_model import make_model
from executor.errors import LaunchError
from spdsim import __version__
from spdsim.errors import InputError, SpdError


class Commands(TyperGroup):
    """The group of all commands: turns their errors into one line and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command; an error of ours, Ctrl-C or a closed pipe ends the program without a traceback."""
        if sys.stdout is None:
            _say("error: standard output is closed: must be open")
            raise typer.Exit(2)
        if isinstance(sys.stdout, TextIOWrapper):
            # A terminal without Unicode shows "?" rather than a traceback.
            sys.stdout.reconfigure(errors="replace")
        try:
            outcome = super().invoke(ctx)
            sys.stdout.flush()
        except SpdError as error:
            # What was asked for is wrong in all of torchrun's processes alike; what happens in a run is not.
            _say(f"error: {error}", is_common=isinstance(error, InputError | LaunchError))
            raise typer.Exit(2) from None
        except KeyboardInterrupt:
            _say("stopped, nothing written")
            raise typer.Exit(128 + signal.SIGINT) from None
        except BrokenPipeError:
            from spdsim.cli.screen import discard_stdout

            discard_stdout()
            return None
        return outcome


def _say(text: str, *, is_common: bool = True) -> None:
    """Print a line on stderr; of the processes that torchrun has started, the first one speaks for all."""
    rank = os.environ.get("RANK", "0")
    if rank == "0" or not is_common:
        print(f"{PROGRAM}: {text}" if rank == "0" else f"{PROGRAM}: rank {rank}: {text}", file=sys.stderr)


app = typer.Typer(
    cls=Commands,
    # Plain help: importing rich for it would double the time of `--help`.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _print_version(is_asked: bool) -> None:
    if is_asked:
        print(f"{PROGRAM} {__version__}")
        raise typer.Exit


@app.callback()
def executor(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Run speculative pipeline decoding on real devices, and measure it.

    First steps:  spdsim-exec generate --prompt "Once upon a time" --draft forced:p=0.8
    """


app.command(cls=GroupedCommand)(generate)
app.command(cls=GroupedCommand)(make_model)
