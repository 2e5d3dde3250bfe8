"""The commands of `spdsim`, and what becomes of their errors."""

import signal
import sys
from io import TextIOWrapper
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from spdsim import __version__
from spdsim.cli.fit import fit
from spdsim.cli.gpus import gpus
from spdsim.cli.init import init
from spdsim.cli.links import links
from spdsim.cli.models import models
from spdsim.cli.report import report
from spdsim.cli.schedule import schedule
from spdsim.cli.schema import schema
from spdsim.cli.simulate import simulate
from spdsim.cli.timeline import timeline
from spdsim.cli.validate import validate
from spdsim.errors import SpdError


class Commands(TyperGroup):
    """The group of all commands: turns their errors into one line and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command; an error of ours, Ctrl-C or a closed pipe ends the program without a traceback."""
        if sys.stdout is None:
            print("spdsim: error: standard output is closed: must be open", file=sys.stderr)
            raise typer.Exit(2)
        if isinstance(sys.stdout, TextIOWrapper):
            # A terminal without Unicode shows "?" rather than a traceback.
            sys.stdout.reconfigure(errors="replace")
        try:
            outcome = super().invoke(ctx)
            sys.stdout.flush()
        except SpdError as error:
            print(f"spdsim: error: {error}", file=sys.stderr)
            raise typer.Exit(2) from None
        except KeyboardInterrupt:
            print("spdsim: stopped, nothing written", file=sys.stderr)
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
            print(f"spdsim: error: {where}: cannot be written: {why}", file=sys.stderr)
            raise typer.Exit(2) from None
        return outcome


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
        print(f"spdsim {__version__}")
        raise typer.Exit


@app.callback()
def spdsim(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Simulate speculative pipeline decoding: what it would give, where the bubbles are, and what limits it.

    First steps:  spdsim init my.yaml;  spdsim simulate my.yaml
    """


for _command in (simulate, timeline, report, schedule, schema, init, fit, validate):
    app.command()(_command)

for _name, _catalogue in (("gpus", gpus), ("links", links), ("models", models)):
    app.add_typer(_catalogue, name=_name)
