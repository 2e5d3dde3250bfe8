"""`spdsim timeline`: draw a saved trace."""

from typing import Annotated

import typer

from spdsim.cli.options import FromOption, SequenceOption, SvgOption, ToOption, TraceArgument, ViewOption


def timeline(
    trace: TraceArgument,
    view: ViewOption = "time",
    start: FromOption = None,
    stop: ToOption = None,
    sequence: SequenceOption = 0,
    svg_file: SvgOption = None,
    width: Annotated[
        int | None, typer.Option("--width", metavar="N", min=40, help="Columns, instead of the terminal's.")
    ] = None,
) -> None:
    """Draw the timeline of a saved trace, whoever wrote it.

    Without a window it shows a rejection and the refill after it.

    Example:  spdsim timeline trace.jsonl --from c40 --to c60
    """
    from spdsim.cli.outputs import Outputs
    from spdsim.cli.screen import SVG_COLUMNS, Screen, drawing, write_svg
    from spdsim.cli.window import Window
    from spdsim.tracefile import read_trace

    window = Window.parse(view, sequence, start, stop)
    with Outputs(inputs=[trace]) as outputs:
        to_svg = outputs.reserve(svg_file)
        spans = read_trace(trace)
        if to_svg:
            write_svg(to_svg, spans, window, width or SVG_COLUMNS)
        screen = Screen(width)
        screen.print(drawing(screen, spans, window))
