"""`spdsim simulate`: a scenario in, a report out."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from spdsim.cli.options import FromOption, JsonOption, SequenceOption, SvgOption, ToOption, ViewOption

if TYPE_CHECKING:
    from spdsim.scenario import Scenario


def simulate(
    scenario: Annotated[Path, typer.Argument(metavar="SCENARIO", help="Scenario file (YAML).", show_default=False)],
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change one key of the scenario; may be repeated."),
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", metavar="N", help="Short for --set seed=N.")] = None,
    replications: Annotated[
        int | None, typer.Option("--replications", metavar="N", help="Short for --set replications=N.")
    ] = None,
    json_file: JsonOption = None,
    trace_file: Annotated[
        Path | None, typer.Option("--trace", metavar="FILE", help="Write the spans of replication 0 (JSON lines).")
    ] = None,
    perfetto_file: Annotated[
        Path | None, typer.Option("--perfetto", metavar="FILE", help="Write replication 0 for the Perfetto viewer.")
    ] = None,
    svg_file: SvgOption = None,
    view: ViewOption = "time",
    start: FromOption = None,
    stop: ToOption = None,
    sequence: SequenceOption = 0,
    no_timeline: Annotated[bool, typer.Option("--no-timeline", help="Print the report only.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing; for use with files.")] = False,
) -> None:
    """Simulate a scenario: figures, lost speedup, timeline.

    Example:  spdsim simulate scenarios/h100x8.yaml --set partition.stages=4 --json run.json
    """
    from spdsim.cli import describe
    from spdsim.cli.document import STDOUT, document_text, run_document
    from spdsim.cli.outputs import Outputs
    from spdsim.cli.progress import LateProgress
    from spdsim.cli.screen import new_console, print_timeline, write_svg
    from spdsim.cli.window import Window
    from spdsim.engine import simulate as run
    from spdsim.perfetto import write_perfetto
    from spdsim.render.report import print_report
    from spdsim.scenario import load_scenario
    from spdsim.summary import summarize
    from spdsim.timing import machine_of
    from spdsim.tracefile import write_trace

    short = {"seed": seed, "replications": replications}
    overrides = [*(settings or ()), *(f"{key}={value}" for key, value in short.items() if value is not None)]
    loaded = load_scenario(scenario, overrides)
    window = Window.parse(view, sequence, start, stop)
    with Outputs(inputs=[scenario]) as outputs:
        to_json = outputs.reserve(None if json_file == STDOUT else json_file)
        to_trace, to_perfetto, to_svg = (outputs.reserve(path) for path in (trace_file, perfetto_file, svg_file))
        acceptance = _mean_acceptance(loaded)
        with LateProgress(is_wanted=not quiet) as progress:
            trace = run(loaded, progress=progress)
        report = summarize(trace, mean_acceptance=acceptance)
        first = trace.select(0, loaded.workload.sequences)
        text = document_text(run_document(report, loaded)) if json_file else ""
        if to_json:
            to_json.write_text(text, encoding="utf-8")
        if to_trace:
            write_trace(first, to_trace)
        if to_perfetto:
            write_perfetto(first, to_perfetto)
        if to_svg:
            write_svg(to_svg, trace, window)
        if json_file == STDOUT:
            print(text, end="")
        elif not quiet:
            console, machine = new_console(), machine_of(loaded)
            print_report(
                report, console, title=describe.title(loaded), scenario_lines=describe.lines(loaded, machine),
                origins=machine.origins, warnings=machine.warnings, mean_acceptance=acceptance,
            )  # fmt: skip
            if not no_timeline:
                console.print()
                print_timeline(console, trace, window)


def _mean_acceptance(scenario: "Scenario") -> float:
    """The acceptance that the scenario assumes in a long run, for the closed form."""
    from spdsim.acceptance import mean_acceptance
    from spdsim.scenario import acceptance_of, layout_of

    return mean_acceptance(acceptance_of(scenario), layout_of(scenario).capacity)
