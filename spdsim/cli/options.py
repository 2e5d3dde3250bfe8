"""Options that several commands share."""

from pathlib import Path
from typing import Annotated, Literal

import typer

View = Literal["time", "cycles"]

TraceArgument = Annotated[Path, typer.Argument(metavar="TRACE", help="Trace file (JSON lines).", show_default=False)]
ViewOption = Annotated[View, typer.Option("--timeline", help="Draw workers by time, or by cycle with positions.")]
FromOption = Annotated[
    str | None,
    typer.Option("--from", metavar="X", help="Start of the timeline: a time (12ms, 80us) or a cycle (c40)."),
]
ToOption = Annotated[str | None, typer.Option("--to", metavar="X", help="End of the timeline; a cycle is included.")]
SequenceOption = Annotated[
    int, typer.Option("--sequence", metavar="N", min=0, help="Which sequence the timeline shows.")
]
JsonOption = Annotated[
    Path | None, typer.Option("--json", metavar="FILE", help="Write the report as JSON; - is stdout, alone there.")
]
SvgOption = Annotated[Path | None, typer.Option("--svg", metavar="FILE", help="Write the timeline as a picture.")]
TablePath = "Table of speedups (CSV)."
BreakdownPath = "Breakdown of cycles (CSV)."
