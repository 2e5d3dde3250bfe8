"""`spdsim report`: summarise a saved trace."""

from pathlib import Path
from typing import TYPE_CHECKING

from spdsim.cli.options import JsonOption, TraceArgument

if TYPE_CHECKING:
    from spdsim.analysis.report import Report
    from spdsim.trace import Trace


def report(trace: TraceArgument, json_file: JsonOption = None) -> None:
    """Print the figures of a saved trace, whoever wrote it.

    Example:  spdsim report trace.jsonl --json report.json
    """
    from spdsim.cli import describe
    from spdsim.cli.document import JsonOutput, run_document
    from spdsim.cli.outputs import Outputs
    from spdsim.cli.screen import Screen
    from spdsim.render.report import print_report
    from spdsim.tracefile import read_trace

    with Outputs(inputs=[trace]) as outputs:
        to_json = JsonOutput(outputs, json_file)
        spans = read_trace(trace)
        figures = _summary(spans, trace)
        to_json.write(lambda: run_document(figures))
        if not to_json.has_stdout:
            who = "an emulated run" if figures.source == "emulated" else f"the {figures.source}"
            title = f"{trace}: recorded by {who}"
            print_report(figures, Screen(), title=title, scenario_lines=describe.recorded(spans.header))


def _summary(spans: "Trace", path: Path) -> "Report":
    """Return the figures of a file's spans; what they lack is told with the file's name."""
    from spdsim.analysis.summary import summarize
    from spdsim.errors import TraceError

    try:
        return summarize(spans)
    except TraceError as error:
        raise TraceError(f"{path}: {error}") from error
