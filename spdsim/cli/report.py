"""`spdsim report`: summarise a saved trace."""

from spdsim.cli.options import JsonOption, TraceArgument


def report(trace: TraceArgument, json_file: JsonOption = None) -> None:
    """Print the figures of a saved trace, whoever wrote it.

    Example:  spdsim report trace.jsonl --json report.json
    """
    from spdsim.analysis.summary import summarize
    from spdsim.cli.document import STDOUT, document_text, run_document
    from spdsim.cli.outputs import Outputs
    from spdsim.cli.screen import Screen, print_text
    from spdsim.render.report import print_report
    from spdsim.tracefile import read_trace

    with Outputs(inputs=[trace]) as outputs:
        to_json = outputs.reserve(None if json_file == STDOUT else json_file)
        figures = summarize(read_trace(trace))
        text = document_text(run_document(figures)) if json_file else ""
        if to_json:
            to_json.write_text(text, encoding="utf-8")
        if json_file == STDOUT:
            print_text(text)
        else:
            print_report(figures, Screen(), title=f"{trace}: recorded by the {figures.source}")
