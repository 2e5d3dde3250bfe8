"""The commands of `spdsim-exec`, and what becomes of their errors."""

import os
import sys
from typing import Annotated, Any

import typer

from executor.cli import PROGRAM
from executor.cli.acceptance import acceptance
from executor.cli.demo_train import demo_train
from executor.cli.export_draft import export_draft
from executor.cli.generate import generate
from executor.cli.grouped import GroupedCommand
from executor.cli.make_model import make_model
from executor.cli.probe import probe
from executor.cli.train_draft import train_draft
from executor.errors import LaunchError
from spdsim import __version__
from spdsim.cli.commands import Commands
from spdsim.errors import InputError, SpdError

_PACKAGES = ("torch", "safetensors")
"""What the simulator does without."""


class ExecutorCommands(Commands):
    """The commands of `spdsim-exec`, of which torchrun may have started many at once."""

    program = PROGRAM

    def invoke(self, ctx: Any) -> Any:
        """Run the command as every command is run; a package that is not installed is told in one line, too."""
        try:
            return super().invoke(ctx)
        except ModuleNotFoundError as error:
            if error.name not in _PACKAGES:
                raise
            rule = "must be there: pip install 'spdsim[executor]'"
            self.say(f"error: {error.name} is not installed: {rule}")
            raise typer.Exit(2) from None

    def say(self, text: str, error: SpdError | None = None) -> None:
        """Print a line on stderr; of the processes of a node, the first one speaks for all.

        What was asked for is wrong in all of them alike; what happens in a run is not.
        """
        rank = os.environ.get("RANK", "0")
        is_first = os.environ.get("LOCAL_RANK", rank) == "0"
        if is_first or not (error is None or isinstance(error, InputError | LaunchError)):
            name = self.program if rank == "0" else f"{self.program}: rank {rank}"
            print(f"{name}: {text}", file=sys.stderr)


app = typer.Typer(
    cls=ExecutorCommands,
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
app.command(cls=GroupedCommand)(probe)
app.command(cls=GroupedCommand)(export_draft)
app.command(cls=GroupedCommand)(acceptance)
app.command(cls=GroupedCommand)(train_draft)
app.command(cls=GroupedCommand)(demo_train)
