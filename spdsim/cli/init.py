"""`spdsim init`: write a scenario to start from."""

from pathlib import Path
from typing import Annotated

import typer


def init(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where to write the scenario.", show_default=False)],
    force: Annotated[bool, typer.Option("--force", help="Write over a file that is there.")] = False,
) -> None:
    """Write a commented scenario to start from.

    Example:  spdsim init my.yaml
    """
    from spdsim.errors import InputError
    from spdsim.files import atomic_writer
    from spdsim.scenario import template_text

    if file.exists() and not force:
        raise InputError(f"{file}: exists: must be a new file, or use --force")
    with atomic_writer(file) as output:
        output.write(template_text())
    typer.echo(f"spdsim: wrote {file}; next: spdsim simulate {file}", err=True)
