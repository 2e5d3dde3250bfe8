"""`spdsim sweep`: a scenario and what varies in it; the figures of all points, and the best of them."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from spdsim.cli.options import JsonOption
from spdsim.errors import InputError

if TYPE_CHECKING:
    from spdsim.scenario.source import Source
    from spdsim.sweeping import Backend, Point, Spec, State, Sweep
    from spdsim.sweeping.run import Effort

_PLOTS = (".svg", ".png")
_MOST_REASONS = 10


def sweep(
    scenario: Annotated[Path, typer.Argument(metavar="SCENARIO", help="Scenario file (YAML).", show_default=False)],
    vary: Annotated[
        list[str] | None,
        typer.Option(
            "--vary", metavar="KEY=VALUES",
            help="What one key takes: 1..16, 0.5..0.95:10, 1..1000:x4 or values with commas; may be repeated.",
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change one key of the scenario; may be repeated."),
    ] = None,
    random: Annotated[
        int | None, typer.Option("--random", metavar="N", help="Take N points at random, in place of all of them.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", metavar="N", help="Short for --set seed=N; --random draws by it too.")
    ] = None,
    replications: Annotated[
        int | None,
        typer.Option("--replications", metavar="N", help="Of each point; with --precision, at most so many."),
    ] = None,
    precision: Annotated[
        float | None,
        typer.Option(
            "--precision", metavar="FRACTION",
            help="Simulate until the interval of the time per token is as narrow, such as 0.01 for 1 % to either side.",
        ),
    ] = None,
    metric: Annotated[
        Literal["time_per_token", "tokens_per_s", "speedup", "time_to_first_token", "tokens_per_cycle"],
        typer.Option("--metric", help="What is drawn, and makes a point the best."),
    ] = "time_per_token",
    jobs: Annotated[
        int | None, typer.Option("--jobs", "-j", metavar="N", min=1, help="Processes; as many as cores by default.")
    ] = None,
    backend: Annotated[
        Literal["loky", "dask", "ray"], typer.Option("--backend", help="What runs the processes, through joblib.")
    ] = "loky",
    csv_file: Annotated[Path | None, typer.Option("--csv", metavar="FILE", help="Write a line for each point.")] = None,
    parquet_file: Annotated[
        Path | None, typer.Option("--parquet", metavar="FILE", help="Write the same as Parquet; needs pyarrow.")
    ] = None,
    json_file: JsonOption = None,
    plot_file: Annotated[
        Path | None,
        typer.Option("--plot", metavar="FILE", help="Draw the metric, .svg or .png; needs matplotlib."),
    ] = None,
    is_resumed: Annotated[
        bool, typer.Option("--resume", help="Go on where this sweep was interrupted; what is done stays.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing; for use with files.")] = False,
) -> None:  # fmt: skip
    """Simulate a scenario at many values of some keys.

    Every combination of them, or some at random.

    Example:  spdsim sweep scenarios/tutorial.yaml --vary partition.stages=1..4 --vary acceptance.p=0.5..0.95:10
    """
    from spdsim.cli.document import STDOUT, JsonOutput
    from spdsim.cli.outputs import Outputs
    from spdsim.scenario.load import read_source
    from spdsim.sweeping import Choice, Spec, State, Sweep, parse_vary, state_path
    from spdsim.sweeping.run import Effort, check_backend

    _check(replications, precision, plot_file)
    check_backend(backend)
    short = {"seed": seed, "replications": replications if precision is None else None}
    overrides = [*(settings or ()), *(f"{key}={value}" for key, value in short.items() if value is not None)]
    base = read_source(scenario, overrides)
    choice = None if random is None else Choice(random, _seed(base))
    varied = tuple(map(parse_vary, vary or ()))
    _check_apart({each.key for each in varied}, settings or ())
    spec = Spec(base, varied, choice)
    effort = Effort(precision, None if precision is None else replications)
    files = [path for path in (csv_file, parquet_file, json_file) if path not in (None, STDOUT)]
    if is_resumed and not files:
        raise InputError("--resume is given: what is done is kept beside --csv, --parquet or --json: one must be given")
    with Outputs(inputs=[scenario]) as outputs:
        to_json = JsonOutput(outputs, json_file)
        to_csv, to_parquet, to_plot = (outputs.reserve(path) for path in (csv_file, parquet_file, plot_file))
        if to_parquet:
            from spdsim.sweeping.tables import check_parquet

            check_parquet()
        if to_plot:
            from spdsim.render.sweep_figure import check_figure

            check_figure(spec)
        is_quiet = quiet or to_json.has_stdout
        if files and files[0]:
            with State(state_path(files[0]), spec, effort, is_resumed=is_resumed) as state:
                points = _run(spec, effort, jobs, backend, state, is_watched=not is_quiet)
                found = Sweep(spec, effort, points, metric)
                _check_any(found, state)
        else:
            state = None
            found = Sweep(spec, effort, _run(spec, effort, jobs, backend, None, is_watched=not is_quiet), metric)
            _check_any(found, None)
        _write(found, to_csv, to_parquet, to_plot, plot_file)
        to_json.write(found.document)
        if not is_quiet:
            _show(found, csv_file)
    if state is not None:
        state.forget()


def _check_apart(varied: set[str], settings: Sequence[str]) -> None:
    for setting in settings:
        key = setting.partition("=")[0].strip()
        if key in varied:
            raise InputError(f"--set {setting}: {key} is varied too: must be given by --set or by --vary, not by both")


def _check(replications: int | None, precision: float | None, plot_file: Path | None) -> None:
    if replications is not None and replications < 1:
        raise InputError(f"--replications is {replications}: must be at least 1")
    if precision is not None and not 0.0 < precision < 1.0:
        rule = "must be a fraction greater than 0 and less than 1, such as 0.01"
        raise InputError(f"--precision is {precision:g}: {rule}")
    if plot_file is not None and plot_file.suffix.lower() not in _PLOTS:
        raise InputError(f"--plot is {plot_file}: must end in {' or '.join(_PLOTS)}")


def _seed(base: "Source") -> int:
    seed = base.data.get("seed", 0)
    return seed if isinstance(seed, int) else 0  # a wrong one is told with the points


def _run(
    spec: "Spec", effort: "Effort", jobs: int | None, backend: "Backend", state: "State | None", *, is_watched: bool
) -> "tuple[Point, ...]":
    """Evaluate what is missing and return all points in their order; Ctrl-C says where what is done is kept."""
    from spdsim.cli.progress import LateProgress
    from spdsim.sweeping import sweep as run

    points = [] if state is None else list(state.points)
    done = {point.number for point in points}
    try:
        with LateProgress(is_watched, "points") as progress:
            progress(len(points), spec.num_points)
            for point in run(spec, effort, jobs=jobs, backend=backend, done=done):
                if state is not None:
                    state.keep(point)
                points.append(point)
                progress(len(points), spec.num_points)
    except KeyboardInterrupt:
        if state is None or not points:
            raise
        kept = f"{len(points)} of {spec.num_points} points are kept in {state.path}"
        print(f"spdsim: stopped: {kept}: go on with --resume", file=sys.stderr)
        raise typer.Exit(130) from None
    return tuple(sorted(points, key=lambda point: point.number))


def _check_any(found: "Sweep", state: "State | None") -> None:
    """Raise InputError with every distinct reason where no point has figures."""
    if any(point.evaluation is not None for point in found.points):
        return
    if state is not None:
        state.forget()
    shown, left = found.errors[:_MOST_REASONS], len(found.errors[_MOST_REASONS:])
    more = f"\n  and {left} more" if left else ""
    several = len(shown) > 1
    reasons = "".join(f"\n  {reason}" for reason in shown) if several else f" {shown[0]}"
    raise InputError(f"none of the {len(found.points)} points can be simulated:{reasons}{more}")


def _write(
    found: "Sweep", to_csv: Path | None, to_parquet: Path | None, to_plot: Path | None, plot_file: Path | None
) -> None:
    from spdsim.sweeping.tables import write_csv, write_parquet

    if to_csv:
        write_csv(found, to_csv)
    if to_parquet:
        write_parquet(found, to_parquet)
    if to_plot and plot_file:
        from spdsim.render.sweep_figure import write_figure

        write_figure(found, to_plot, plot_file.suffix.lower().removeprefix("."))


def _show(found: "Sweep", csv_file: Path | None) -> None:
    from spdsim.cli.screen import Screen
    from spdsim.render.sweep import print_sweep

    print_sweep(found, Screen(), all_points=None if csv_file is None else str(csv_file))
