"""`spdsim schedule`: print the schedule itself, cycle by worker."""

from typing import Annotated

import typer

from spdsim.schedules.options import Control, LmHead


def schedule(
    stages: Annotated[int, typer.Option("--stages", metavar="N", help="Pipeline stages, at least 1.")] = 4,
    verdicts: Annotated[
        str, typer.Option("--verdicts", metavar="TEXT", help="A letter per verified draft: A accepted, R rejected.")
    ] = "AAR",
    lm_head: Annotated[
        LmHead, typer.Option("--lm-head", help="Who turns the last hidden state into the target's verdict.")
    ] = "draft_rank",
    lag: Annotated[
        int, typer.Option("--lag", metavar="K", help="Verification lag: the verdict comes K cycles late.")
    ] = 0,
    control: Annotated[
        Control, typer.Option("--control", help="When the draft rank sends draft and verdict.")
    ] = "early",
    prefill: Annotated[bool, typer.Option("--prefill", help="Show the prefill, cycle -1, too.")] = False,
) -> None:
    """Print the schedule as a grid of cycles and workers.

    F is a stage's forward pass, D a draft, V a verification, C the combination of a sharded one, P the prefill;
    the number is the position of the token. Time plays no part here.

    Example:  spdsim schedule --stages 4 --verdicts AAR
    """
    from spdsim.schedules.grid import grid
    from spdsim.schedules.spd import Layout

    layout = Layout(stages, lm_head=lm_head, verification_lag=lag, control=control)
    typer.echo(grid(layout, verdicts, prefill), nl=False)
