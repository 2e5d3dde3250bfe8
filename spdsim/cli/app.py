"""The commands of `spdsim`, and what becomes of their errors."""

from typing import Annotated

import typer

from spdsim import __version__
from spdsim.cli.acceptance import acceptance
from spdsim.cli.calibrate import calibrate
from spdsim.cli.commands import Commands
from spdsim.cli.compare import compare
from spdsim.cli.compare_traces import compare_traces
from spdsim.cli.fit import fit
from spdsim.cli.gpus import gpus
from spdsim.cli.init import init
from spdsim.cli.links import links
from spdsim.cli.models import models
from spdsim.cli.plan import plan
from spdsim.cli.report import report
from spdsim.cli.schedule import schedule
from spdsim.cli.schema import schema
from spdsim.cli.simulate import simulate
from spdsim.cli.sweep import sweep
from spdsim.cli.timeline import timeline
from spdsim.cli.validate import validate

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


_COMMANDS = (
    simulate, compare, plan, sweep, timeline, report, schedule, schema, init, calibrate, fit, acceptance, validate,
    compare_traces,
)  # fmt: skip

for _command in _COMMANDS:
    app.command()(_command)

for _name, _catalogue in (("gpus", gpus), ("links", links), ("models", models)):
    app.add_typer(_catalogue, name=_name)
