"""`spdsim links`: the catalogue of links."""

from typing import Annotated

import typer

from spdsim.cli.hardware import JsonFlag, print_catalogue, print_entry

links = typer.Typer(rich_markup_mode=None)


@links.callback(invoke_without_command=True)
def _list(context: typer.Context, as_json: JsonFlag = False) -> None:
    """List the links that a scenario can name.

    The letter behind a figure says how it is known.

    Example:  spdsim links show nvlink4
    """
    context.obj = as_json
    if context.invoked_subcommand is None:
        print_catalogue("links", as_json)


@links.command()
def show(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of a link.", show_default=False)],
    as_json: JsonFlag = False,
) -> None:
    """Print the figures of a link, each with its origin and source.

    Example:  spdsim links show infiniband-ndr
    """
    print_entry("links", name, as_json or context.obj)
