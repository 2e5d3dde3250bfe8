"""One run from its request to its results: planned, started, told, written.

How ranks are started is a parameter, so that everything else can be tried without any.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from executor.cli import PROGRAM
from executor.cli.document import run_document
from executor.cli.narrator import Narrator
from executor.cli.record import recorded
from executor.cli.result import Result
from executor.cli.table import print_result
from executor.errors import LostRankError
from executor.events import Outcome, Sink
from executor.plan import Job, Plan
from executor.planning import Place, Request, Run, plan_run
from spdsim.cli.document import JsonOutput
from spdsim.cli.outputs import Outputs
from spdsim.cli.screen import Screen, print_text
from spdsim.errors import InputError, RunError, SpdError

Launch = Callable[[Plan, Sequence[Job], Sink], Outcome | None]
"""Runs a plan's jobs; None where another process has the outcome."""


@dataclass(frozen=True, slots=True)
class Files:
    """Where a run's results go, beside the screen. json: "-" is stdout."""

    json: Path | None = None
    trace: Path | None = None
    perfetto: Path | None = None


def generate_and_report(
    request: Request,
    place: Place,
    files: Files,
    *,
    is_quiet: bool,
    launch: Launch | None = None,
    port: int | None = None,
) -> None:
    """Run `request` and deliver its results.

    launch: how ranks come to be; None: as plan and torchrun say. port: at which they meet; None: a free one.
    Raises InputError for what cannot be run, LostRankError after what was done until then has been delivered.
    """
    if port is not None and place.world is not None:
        raise InputError(f"--port is {port}: torchrun says where its processes meet: leave it out")
    run = plan_run(request, place)
    launch = launch or _launcher(place, port)
    if place.world is not None and place.world.rank > 0:
        _take_part(run, launch)
        return
    inputs = [path for path in (request.scenario, request.prompt_file) if path is not None]
    _check_distinct(files)
    with Outputs(inputs) as outputs:
        to_json = JsonOutput(outputs, files.json)
        show = None if is_quiet or to_json.has_stdout else print_text
        narrator = Narrator(run, show, is_watched=not is_quiet)
        result, error = _decode(run, launch, narrator, files, inputs)
        to_json.write(lambda: run_document(result))
        if show is not None:
            print_result(result, Screen())
        elif not is_quiet:
            _warn(result)
    if error is not None:
        raise error


def _take_part(run: Run, launch: Launch) -> None:
    """Be a rank that has nothing to tell. What goes wrong with it goes wrong with it alone, and must be told."""
    try:
        launch(run.plan, run.jobs, lambda event: None)
    except SpdError as error:
        raise RunError(str(error)) from error


def _decode(
    run: Run, launch: Launch, narrator: Narrator, files: Files, inputs: Sequence[Path]
) -> tuple[Result, LostRankError | None]:
    """Return what came of the run, and what ended it early."""
    try:
        # A trace needs every rank's spans, so that an early end leaves none.
        with Outputs(inputs) as records:
            to_trace, to_perfetto = records.reserve(files.trace), records.reserve(files.perfetto)
            with narrator:
                outcome = launch(run.plan, run.jobs, narrator)
            result = Result.of(run, narrator, outcome)
            _write(result, to_trace, to_perfetto)
        return result, None
    except LostRankError as error:
        return Result.of(run, narrator, None, str(error)), error


def _write(result: Result, to_trace: Path | None, to_perfetto: Path | None) -> None:
    if not (to_trace or to_perfetto):
        return
    trace = recorded(result)
    if to_trace:
        from spdsim.tracefile import write_trace

        write_trace(trace, to_trace)
    if to_perfetto:
        from spdsim.perfetto import write_perfetto

        write_perfetto(trace, to_perfetto)


def _warn(result: Result) -> None:
    """Say on stderr what the screen would have said beside the figures."""
    for kind, texts in (("warning", result.warnings), ("note", result.notes), ("hint", result.hints)):
        for text in texts:
            print(f"{PROGRAM}: {kind}: {text}", file=sys.stderr)


def _check_distinct(files: Files) -> None:
    """Raise InputError if two outputs have one path."""
    named = [path for path in (files.json, files.trace, files.perfetto) if path is not None]
    for number, path in enumerate(named):
        if any(path.resolve() == other.resolve() for other in named[:number]):
            raise InputError(f"{path}: is named for two outputs: must be a file of its own")


def _launcher(place: Place, port: int | None) -> Launch:
    """Return how ranks come to be: torchrun has started them, or they are started here."""
    if place.world is not None:
        from executor.launch.torchrun import join

        return join
    from executor.launch.processes import launch

    return partial(launch, port=port)
