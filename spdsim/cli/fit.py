"""`spdsim fit`: published evidence in, a profile out."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from spdsim.cli.options import BreakdownPath, TablePath

if TYPE_CHECKING:
    from spdsim.fitting import Fit, LeftOut


def fit(
    table: Annotated[Path, typer.Option("--table", metavar="FILE", help=TablePath, show_default=False)],
    breakdown: Annotated[Path, typer.Option("--breakdown", metavar="FILE", help=BreakdownPath, show_default=False)],
    profile_file: Annotated[
        Path, typer.Option("--out", metavar="FILE", help="Where to write the profile (YAML).", show_default=False)
    ],
    source: Annotated[
        str, typer.Option("--source", metavar="TEXT", help="Where the evidence comes from, in words.")
    ] = "published speedups and cycle breakdown",
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing.")] = False,
) -> None:
    """Fit a profile of mechanisms to a table of speedups and a breakdown of cycles.

    Only rows marked calibrate are used.

    Example:  spdsim fit --table table.csv --breakdown cycles.csv --out profile.yaml
    """
    from spdsim.cli.outputs import Outputs
    from spdsim.cli.progress import LateProgress
    from spdsim.cli.screen import Screen
    from spdsim.errors import InputError
    from spdsim.evidence import read_breakdown, read_table
    from spdsim.fitting import backed, fit_profile, leave_one_out, profile_text, profiled_cycles
    from spdsim.render.fitting import print_fit

    if not source.isprintable():
        raise InputError(f"--source is {source!a}: must be one line of text, without control characters")
    rows, breakdowns = read_table(table).rows, read_breakdown(breakdown)
    with Outputs(inputs=[table, breakdown]) as outputs:
        to_profile = outputs.reserve(profile_file)
        with LateProgress(not quiet, "fits") as progress:
            fitted = fit_profile(rows, breakdowns, source, str(table))
            left_out = leave_one_out(rows, breakdowns, source, str(table), progress)
        assert to_profile is not None
        to_profile.write_text(profile_text(backed(fitted, left_out), _head(fitted, left_out)), encoding="utf-8")
        if not quiet:
            title = f"{profile_file}: fitted to {table} and {breakdown}"
            print_fit(fitted, profiled_cycles(fitted), left_out, Screen(), title=title)


def _head(fitted: "Fit", left_out: "tuple[LeftOut, ...]") -> str:
    """The comment at the top of a profile: how it was made, and what was fitted."""
    parameters = ", ".join(
        f"{parameter.name} {parameter.value:.4g}" + (f" +- {parameter.std:.2g}" if parameter.std else "")
        for parameter in fitted.estimates
    )
    lines = ["Written by `spdsim fit`: fit again rather than edit.", f"Fitted: {parameters}."]
    lines += [
        f"Left out and predicted, n = {out.stages}: mean error {100 * error:+.1f} % of the calibrate rows."
        for out in left_out
        if (error := out.calibration_error) is not None
    ]
    return "\n".join(lines)
