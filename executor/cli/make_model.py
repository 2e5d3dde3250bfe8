"""`spdsim-exec make-model`: a small model to try things with."""

from pathlib import Path
from typing import Annotated

import typer

from executor.cli import PROGRAM
from executor.cli.options import DType


def make_model(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Where to write the model.", show_default=False)],
    hidden_size: Annotated[int, typer.Option("--hidden-size", metavar="N", help="Hidden size.")] = 256,
    layers: Annotated[int, typer.Option("--layers", metavar="N", help="Decoder layers.")] = 8,
    heads: Annotated[int, typer.Option("--heads", metavar="N", help="Query heads.")] = 4,
    kv_heads: Annotated[int, typer.Option("--kv-heads", metavar="N", help="Key and value heads.")] = 2,
    vocab_size: Annotated[
        int, typer.Option("--vocab-size", metavar="N", help="Token ids; the first 256 are bytes, two are special.")
    ] = 258,
    dtype: Annotated[DType, typer.Option("--dtype", help="Number format of the weights.")] = "float32",
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Seed of the weights.")] = 0,
    force: Annotated[bool, typer.Option("--force", help="Write over a model that is there.")] = False,
) -> None:
    """Write a small Llama with random weights, to try things with.

    A directory as loaders read it: config.json, model.safetensors, and a tokenizer.json whose ids are bytes.

    Example:  spdsim-exec make-model my-model --layers 12;  spdsim-exec generate --model my-model
    """
    from spdsim.errors import InputError
    from spdsim.scenario.target_files import CONFIG

    if directory.exists() and not directory.is_dir():
        raise InputError(f"{directory}: is a file: must be a directory, or a name for a new one")
    if (directory / CONFIG).exists() and not force:
        raise InputError(f"{directory}: has a {CONFIG}: must be a new directory, or use --force")
    _check_sizes({"--hidden-size": hidden_size, "--layers": layers, "--heads": heads, "--kv-heads": kv_heads})
    if hidden_size % heads or hidden_size // heads % 2:
        raise InputError(f"--hidden-size is {hidden_size}: must be an even number for each of --heads, {heads}")
    if heads % kv_heads:
        raise InputError(f"--kv-heads is {kv_heads}: must divide --heads, {heads}")

    from executor.model.small import END_TOKEN, small_config, write_model
    from executor.text.byte_file import write_byte_tokenizer
    from executor.text.tokenizer import TOKENIZER

    if vocab_size < END_TOKEN + 2:
        raise InputError(f"--vocab-size is {vocab_size}: must be at least {END_TOKEN + 2}")
    try:
        write_model(directory, small_config(hidden_size, layers, heads, kv_heads, vocab_size, dtype), seed)
        write_byte_tokenizer(directory / TOKENIZER, END_TOKEN, END_TOKEN + 1)
    except OSError as error:
        raise InputError(f"{directory}: cannot be written: {error.strerror or error}") from None
    next_step = f"{PROGRAM} generate --model {directory}"
    typer.echo(f"{PROGRAM}: wrote {directory}; next: {next_step}", err=True)


def _check_sizes(sizes: dict[str, int]) -> None:
    from spdsim.errors import InputError

    for option, size in sizes.items():
        if size < 1:
            raise InputError(f"{option} is {size}: must be at least 1")
