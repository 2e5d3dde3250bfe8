"""`spdsim simulate`: a scenario in, a report out."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from spdsim.cli.options import FromOption, JsonOption, SequenceOption, SvgOption, ToOption, ViewOption

if TYPE_CHECKING:
    from spdsim.analysis.report import Report
    from spdsim.cli.window import Window
    from spdsim.machine import Machine
    from spdsim.methods import Method
    from spdsim.scenario import Scenario
    from spdsim.trace import Trace


def simulate(
    scenario: Annotated[Path, typer.Argument(metavar="SCENARIO", help="Scenario file (YAML).", show_default=False)],
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change one key of the scenario; may be repeated."),
    ] = None,
    profile: Annotated[
        Path | None,
        typer.Option("--profile", metavar="FILE", help="Take the times from this profile (YAML), not the scenario's."),
    ] = None,
    method: Annotated[
        str | None,
        typer.Option("--method", metavar="KEY", help="Decode by another method of `spdsim compare` (eagle, …)."),
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

    Beyond 20 replications only counts, times and speedups are worked out, without spans and mostly much faster.

    Example:  spdsim simulate scenarios/h100x8.yaml --set partition.stages=4 --json run.json
    """
    from spdsim.cli.document import JsonOutput, run_document
    from spdsim.cli.outputs import Outputs
    from spdsim.cli.screen import warn
    from spdsim.cli.window import Window
    from spdsim.scenario import load_scenario
    from spdsim.timing import machine_of

    short = {"seed": seed, "replications": replications}
    overrides = [*(settings or ()), *(f"{key}={value}" for key, value in short.items() if value is not None)]
    loaded = load_scenario(scenario, overrides)
    if profile is not None:
        from spdsim.scenario.profile_file import load_profile, with_profile

        loaded = with_profile(loaded, load_profile(profile))
    other = None if method is None else _method(method, loaded)
    machine = machine_of(loaded) if other is None else other.machine
    window = Window.parse(view, sequence, start, stop)
    with Outputs(inputs=[scenario, *([profile] if profile else [])]) as outputs:
        to_json = JsonOutput(outputs, json_file)
        to_trace, to_perfetto, to_svg = (outputs.reserve(path) for path in (trace_file, perfetto_file, svg_file))
        trace, report = _run(loaded, machine, other, is_watched=not quiet)
        _write(trace, loaded.workload.sequences, window, to_trace, to_perfetto, to_svg)
        to_json.write(lambda: run_document(report, loaded, machine))
        if to_json.has_stdout:
            warn(() if quiet else machine.warnings)
        elif not quiet:
            _show(loaded, machine, other, trace, report, None if no_timeline else window)


def _method(key: str, scenario: "Scenario") -> "Method":
    from spdsim.errors import InputError
    from spdsim.methods import Missing, methods_of

    method = next(iter(methods_of(scenario, (key,))))
    if isinstance(method, Missing):
        raise InputError(f"--method {key} cannot be had here: {method.reason}")
    return method


def _of_baseline(method: "Method") -> tuple[str, ...]:
    """What must be said of a headline over one device."""
    from spdsim.trace import PIPELINED

    if method.key in PIPELINED or method.machine.fits_one_device:
        return ()
    return ("hypothetical: the model does not fit the one device that this speedup is over; `spdsim compare` tells "
            "it over the best plain method",)  # fmt: skip


def _run(
    scenario: "Scenario", machine: "Machine", method: "Method | None", *, is_watched: bool
) -> "tuple[Trace, Report]":
    """Simulate the first replications with spans, and what there are more of without; the trace is of the first."""
    from spdsim.analysis.summary import summarize
    from spdsim.cli.progress import LateProgress
    from spdsim.simulation import TRACED_REPLICATIONS, simulate_method
    from spdsim.simulation import simulate as run

    few = min(scenario.replications, TRACED_REPLICATIONS)
    with LateProgress(is_watched) as progress:
        if method is None:
            trace = run(scenario, machine=machine, progress=progress, replications=few)
        else:
            trace = simulate_method(scenario, method.key, machine, method.acceptance, progress, few)
    report = summarize(trace)
    if few < scenario.replications:
        from spdsim.evaluation import complete

        model = None if method is None else method.acceptance
        with LateProgress(is_watched) as progress:
            report = complete(report, trace, scenario, machine, model, progress)
    return trace, report


def _write(
    trace: "Trace", num_sequences: int, window: "Window",
    to_trace: Path | None, to_perfetto: Path | None, to_svg: Path | None,
) -> None:  # fmt: skip
    """Write what was asked for; `num_sequences` make up replication 0."""
    first = trace.select(0, num_sequences)
    if to_trace:
        from spdsim.tracefile import write_trace

        write_trace(first, to_trace)
    if to_perfetto:
        from spdsim.perfetto import write_perfetto

        write_perfetto(first, to_perfetto)
    if to_svg:
        from spdsim.cli.screen import write_svg

        write_svg(to_svg, trace, window)


def _show(
    scenario: "Scenario", machine: "Machine", method: "Method | None", trace: "Trace", report: "Report",
    window: "Window | None",
) -> None:  # fmt: skip
    """Print the report, and in it the timeline if a window is given."""
    from spdsim.cli import describe
    from spdsim.cli.screen import Screen, drawing
    from spdsim.render.report import print_report

    screen = Screen()
    # Drawn before anything is printed: a window that the run does not have is an error.
    picture = drawing(screen, trace, window) if window else None
    lines = describe.lines(scenario, machine) if method is None else describe.method_lines(scenario, method)
    own = ((), ()) if method is None else (method.origins, (*method.warnings, *_of_baseline(method)))
    print_report(
        report, screen, title=describe.title(scenario), scenario_lines=lines,
        origins=(*machine.origins, *own[0]), warnings=(*machine.warnings, *own[1]), timeline=picture,
    )  # fmt: skip
