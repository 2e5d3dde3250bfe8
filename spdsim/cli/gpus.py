"""`spdsim gpus`: the catalogue of GPUs."""

from typing import Annotated

import typer

from spdsim.cli.hardware import JsonFlag, print_catalogue, print_entry

gpus = typer.Typer(rich_markup_mode=None)


@gpus.callback(invoke_without_command=True)
def _list(context: typer.Context, as_json: JsonFlag = False) -> None:
    """List the GPUs that a scenario can name.

    The letter behind a figure says how it is known.

    Example:  spdsim gpus show h100
    """
    context.obj = as_json
    if context.invoked_subcommand is None:
        print_catalogue("gpus", as_json)


@gpus.command()
def show(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of a GPU.", show_default=False)],
    as_json: JsonFlag = False,
) -> None:
    """Print the figures of a GPU, each with its origin and source.

    Example:  spdsim gpus show "RTX 4090"
    """
    print_entry("gpus", name, as_json or context.obj)
