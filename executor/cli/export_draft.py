"""`spdsim-exec export-draft`: the checkpoint of a draft module in the other format."""

from pathlib import Path
from typing import Annotated

import typer

from executor.cli import PROGRAM


def export_draft(
    checkpoint: Annotated[
        Path,
        typer.Argument(metavar="CHECKPOINT", help="Directory, its draft.safetensors, or v11 file.", show_default=False),
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE.pt|DIR", help="Where to write.  [required]", show_default=False),
    ] = None,
    base_model: Annotated[
        str | None,
        typer.Option(
            "--base-model", metavar="NAME", show_default=False,
            help="Name or path of the target, written into the file.  [default: what the checkpoint says]",
        ),
    ] = None,
) -> None:  # fmt: skip
    """Write a draft module's checkpoint as the file that its authors' programs read (v11), or make a directory of one.

    Example:  spdsim-exec export-draft my-draft --out my-draft.pt --base-model Qwen/Qwen3-8B
    """
    from executor.draft.files import CONFIG, broken_file_rule, own_files
    from spdsim.errors import InputError

    if out is None:
        raise InputError("--out is missing: must be a file FILE.pt, or a directory for a v11 file")
    if rule := broken_file_rule(checkpoint):
        raise InputError(f"{checkpoint}: {rule}")
    if own_files(checkpoint) is None:
        if out.suffix in (".pt", ".safetensors"):
            raise InputError(f"--out is {out}: must be a directory: {checkpoint} is a v11 file already")
        if out.exists() and not out.is_dir():
            raise InputError(f"--out is {out}: is a file: must be a directory, or a name for a new one")
        if (out / CONFIG).exists():
            raise InputError(f"--out is {out}: has a draft module: must be another directory")
    elif out.suffix != ".pt" or out.is_dir():
        raise InputError(f"--out is {out}: must be a file whose name ends in .pt: {checkpoint} becomes a v11 file")

    from executor.draft.checkpoint import convert

    convert(checkpoint, out, base_model)
    typer.echo(f"{PROGRAM}: wrote {out}", err=True)
