"""`spdsim-exec demo-train`: real drafts without any download."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from executor.cli.options import Device, Json, Quiet, Threads

SizeName = Literal["tiny", "small", "large"]

Out = Annotated[
    Path, typer.Option("--out", metavar="DIR", help="Directory for all that is made; what is there already is used.")
]
SizeOption = Annotated[
    SizeName,
    typer.Option("--size", help="tiny: seconds; small: twenty minutes on two CPU cores; large: minutes on a GPU."),
]
StagesList = Annotated[
    str | None,
    typer.Option(
        "--stages", metavar="LIST", show_default=False,
        help="Numbers of pipeline stages, each with a draft module.  [default: 2,4,8, but no more than layers]",
    ),
]  # fmt: skip
DraftLayers = Annotated[int, typer.Option("--draft-layers", metavar="N", help="Layers of each draft module.")]
Minutes = Annotated[
    float | None,
    typer.Option(
        "--minutes", metavar="X", show_default=False,
        help="Train so much longer or shorter than the size's 20 minutes.  [default: 20]",
    ),
]  # fmt: skip
Seed = Annotated[int, typer.Option("--seed", metavar="N", help="Seed of all weights and of the order of the text.")]
Force = Annotated[bool, typer.Option("--force", help="Begin anew, in place of what is in --out.")]


_STAGES = (2, 4, 8)
"""Unless others are asked for: those of them that the model has layers for."""


def demo_train(
    out: Out = Path("demo-train"),
    size: SizeOption = "small",
    stages: StagesList = None,
    draft_layers: DraftLayers = 2,
    minutes: Minutes = None,
    seed: Seed = 0,
    device: Device = None,
    threads: Threads = None,
    force: Force = False,
    json_file: Json = None,
    quiet: Quiet = False,
) -> None:
    """Train a small language model and draft modules on this machine's text, decode with them, compare with theory.

    The text is the source of Python's standard library and, in a checkout, this project's own. For each number of
    stages a draft module is trained; then held-out text is continued with the pipeline, and every token must be that
    of plain decoding. Shown beside each other: acceptance, tokens per cycle and time per token as measured, by the
    law, and as the simulator predicts them from other prompts. Stopped, it goes on with the parts that are missing.

    Example:  spdsim-exec demo-train --out demo-train
    """
    from executor.demo.sizes import MINUTES, SIZES
    from executor.planning import Request, this_place
    from executor.planning.hardware import cores_each, device_of, threads_of
    from spdsim.errors import InputError

    chosen, most = SIZES[size], SIZES[size].language.num_layers
    numbers = tuple(number for number in _STAGES if number <= most) if stages is None else _numbers(stages)
    if max(numbers) > most:
        raise InputError(f"--stages is {stages}: must be at most {most}, the layers of the model")
    if not 1 <= draft_layers <= most:
        raise InputError(f"--draft-layers is {draft_layers}: must be 1 to {most}, the layers of the model")
    if minutes is not None and not 0.0 < minutes < 1e4:
        raise InputError(f"--minutes is {minutes:g}: must be greater than 0")
    place = this_place()
    if place.world is not None:
        raise InputError("demo-train was started by torchrun: must be one process")
    # What is wrong with the options is told before the heavy half of the program is loaded.
    from executor.cli.demo_session import demonstrate_and_report
    from executor.demo.run import Wanted

    request = Request(device=device, threads=threads)
    length = MINUTES if minutes is None else minutes
    wanted = Wanted(
        out=out, size=chosen.lasting(length), minutes=length, stages=numbers, draft_layers=draft_layers, seed=seed,
        device=device_of(request, place), num_threads=threads_of(request, cores_each(place, 1)), force=force,
    )  # fmt: skip
    demonstrate_and_report(wanted, place, json_file, is_quiet=quiet)


def _numbers(written: str) -> tuple[int, ...]:
    from spdsim.errors import InputError

    try:
        numbers = tuple(int(word) for word in written.split(","))
    except ValueError:
        raise InputError(f"--stages is {written!a}: must be whole numbers with commas, such as 2,4,8") from None
    if len(set(numbers)) != len(numbers) or min(numbers) < 2:
        raise InputError(f"--stages is {written}: must be different numbers of at least 2")
    return numbers
