"""`spdsim compare-traces`: one trace held against another."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from spdsim.cli.checks import check_page, check_tolerance
from spdsim.cli.options import JsonOption

if TYPE_CHECKING:
    from spdsim.comparison import Comparison
    from spdsim.trace import Trace


def compare_traces(
    measured: Annotated[
        Path, typer.Argument(metavar="MEASURED", help="Trace of what happened, an executor's, say.", show_default=False)
    ],
    simulated: Annotated[
        Path, typer.Argument(metavar="SIMULATED", help="Trace of what was predicted.", show_default=False)
    ],
    tolerance: Annotated[
        float | None,
        typer.Option(
            "--tolerance", metavar="FRACTION",
            help="Exit with 1 if the error of the mean cycle or of the time per token is larger.",
        ),
    ] = None,
    json_file: JsonOption = None,
    report_file: Annotated[
        Path | None, typer.Option("--report", metavar="FILE", help="Write the comparison as a page: .md or .html.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing; for use with files.")] = False,
) -> None:  # fmt: skip
    """Compare a predicted trace with a measured one: how far off it is, and what makes it so.

    Both must be of the same pipeline; sequences, tokens and verdicts may differ.

    Example:  spdsim compare-traces run.jsonl simulated.jsonl --tolerance 0.05
    """
    from spdsim.cli.document import JsonOutput
    from spdsim.cli.outputs import Outputs
    from spdsim.cli.screen import Screen
    from spdsim.comparison import compare, to_document
    from spdsim.render.comparison import print_comparison
    from spdsim.tracefile import read_trace

    check_tolerance(tolerance)
    check_page(report_file)
    names = str(measured), str(simulated)
    with Outputs(inputs=[measured, simulated]) as outputs:
        to_json = JsonOutput(outputs, json_file)
        to_report = outputs.reserve(report_file)
        traces = read_trace(measured), read_trace(simulated)
        found = compare(*traces, names=names)
        to_json.write(lambda: to_document(found))
        if to_report and report_file:
            to_report.write_text(_page(report_file, found, traces, names), encoding="utf-8")
        if not to_json.has_stdout and not quiet:
            print_comparison(found, *traces, Screen(), names=names)
    _hold_against(found, tolerance)


def _page(path: Path, found: "Comparison", traces: "tuple[Trace, Trace]", names: tuple[str, str]) -> str:
    """Return the text of a report that shall stand at `path`."""
    from spdsim.render.comparison_page import comparison_html, comparison_markdown

    make = comparison_html if path.suffix.lower() == ".html" else comparison_markdown
    return make(found, *traces, names)


def _hold_against(found: "Comparison", tolerance: float | None) -> None:
    """Exit with 1 where one of the two graded errors is larger than `tolerance`."""
    import sys

    if tolerance is not None and found.graded_error > tolerance:
        cycle, token = (f"{100 * error:+.2f} %" for error in (found.cycle_error, found.time_per_token_error))
        rule = f"the tolerance is {100 * tolerance:g} %"
        print(f"spdsim: mean cycle {cycle}, time per token {token}: {rule}", file=sys.stderr)
        raise typer.Exit(1)
