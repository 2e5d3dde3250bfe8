"""`spdsim validate`: a profile held against published speedups."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from spdsim.cli.checks import check_tolerance
from spdsim.cli.options import BreakdownPath, JsonOption, TablePath
from spdsim.errors import InputError

if TYPE_CHECKING:
    from spdsim.cli.progress import LateProgress
    from spdsim.evidence import Table
    from spdsim.fitting import LeftOut


def validate(
    table: Annotated[
        Path,
        typer.Option("--table", metavar="FILE", help=f"{TablePath[:-1]}, or of plain decoding.", show_default=False),
    ],
    profile: Annotated[
        Path | None, typer.Option("--profile", metavar="FILE", help="Profile (YAML), for a table of speedups.")
    ] = None,
    json_file: JsonOption = None,
    breakdown: Annotated[Path | None, typer.Option("--breakdown", metavar="FILE", help=BreakdownPath)] = None,
    leave_one_out: Annotated[
        bool,
        typer.Option(
            "--leave-one-out", help="Fit again without each number of stages and predict it; needs --breakdown."
        ),
    ] = False,
    tolerance: Annotated[
        float | None,
        typer.Option(
            "--tolerance", metavar="FRACTION",
            help="Exit with 1 if the graded rows' mean absolute error is larger.",
        ),
    ] = None,
) -> None:  # fmt: skip
    """Predict every row of a published table, and compare.

    A table of speedups is predicted with a profile; a row's wall speedup is never used for its own prediction, and
    rows without one are predicted only. A table of plain decoding is predicted from the catalogues alone.

    Example:  spdsim validate --profile profile.yaml --table table.csv --tolerance 0.05
    """
    from spdsim.cli.document import JsonOutput
    from spdsim.cli.outputs import Outputs
    from spdsim.cli.progress import LateProgress
    from spdsim.cli.screen import Screen
    from spdsim.evidence import is_plain_table, read_table
    from spdsim.render.validation import print_validation
    from spdsim.scenario.profile_file import load_profile
    from spdsim.validation import validate_table, validation_document

    check_tolerance(tolerance)
    if is_plain_table(table):
        _refuse(profile, breakdown, leave_one_out)
        _validate_plain(table, json_file, tolerance)
        return
    if profile is None:
        raise InputError("--profile is missing: must be given for a table of speedups")
    if breakdown is not None and not leave_one_out:
        raise InputError("--breakdown is given: is used with --leave-one-out only: add it, or leave it out")
    known, rows = load_profile(profile), read_table(table)
    with Outputs(inputs=[path for path in (profile, table, breakdown) if path]) as outputs:
        to_json = JsonOutput(outputs, json_file)
        with LateProgress(True, "fits") as progress:
            left_out = _left_out(rows, breakdown, progress) if leave_one_out else ()
        with LateProgress(True, "rows") as progress:
            found = validate_table(known, rows, name=str(profile), left_out=left_out, progress=progress)
        if tolerance is not None and found.graded is None:
            raise _nothing_to_hold("no row has a wall speedup of a single data set")
        to_json.write(lambda: validation_document(found))
        if not to_json.has_stdout:
            print_validation(found, Screen())
    if found.graded is not None:
        _hold_against(found.graded.mean_absolute_error, tolerance)


def _refuse(profile: Path | None, breakdown: Path | None, leave_one_out: bool) -> None:
    for option, is_given in (("--profile", profile), ("--breakdown", breakdown), ("--leave-one-out", leave_one_out)):
        if is_given:
            rule = "must be left out: a table of plain decoding is predicted from the catalogues alone"
            raise InputError(f"{option} is given: {rule}")


def _validate_plain(table: Path, json_file: Path | None, tolerance: float | None) -> None:
    """Hold the catalogues against a table of plain decoding; one device's rows are held against the tolerance."""
    from spdsim.cli.document import JsonOutput
    from spdsim.cli.outputs import Outputs
    from spdsim.cli.screen import Screen
    from spdsim.evidence import read_plain_table
    from spdsim.render.plain import print_plain
    from spdsim.validation import plain_document, validate_plain
    from spdsim.validation.plain import ONE_DEVICE

    with Outputs(inputs=[table]) as outputs:
        to_json = JsonOutput(outputs, json_file)
        found = validate_plain(read_plain_table(table))
        graded = [group for group in found.groups if group.name == ONE_DEVICE]
        if tolerance is not None and not graded:
            raise _nothing_to_hold("no row of one device has a measured token_ms, and is not marked calibrate")
        to_json.write(lambda: plain_document(found))
        if not to_json.has_stdout:
            print_plain(found, Screen())
    for group in graded:
        _hold_against(group.mean_absolute_error, tolerance)


def _left_out(table: "Table", breakdown: Path | None, progress: "LateProgress") -> "tuple[LeftOut, ...]":
    from spdsim.evidence import read_breakdown
    from spdsim.fitting import leave_one_out

    if breakdown is None:
        raise InputError("--leave-one-out: needs the breakdown that the profile was fitted to: add --breakdown FILE")
    found = leave_one_out(table.rows, read_breakdown(breakdown), "", table.path, progress)
    if not found:
        rule = "needs greedy calibrate rows, and breakdowns, of two numbers of stages"
        raise InputError(f"--leave-one-out: nothing could be left out of {table.path} and {breakdown}: {rule}")
    return found


def _nothing_to_hold(why: str) -> InputError:
    return InputError(f"--tolerance: nothing to hold against it: {why}")


def _hold_against(mean_absolute_error: float, tolerance: float | None) -> None:
    """Exit with 1 where the graded rows are further off than `tolerance`."""
    import sys

    if tolerance is not None and mean_absolute_error > tolerance:
        error, most = 100 * mean_absolute_error, 100 * tolerance
        print(f"spdsim: mean absolute error {error:.2f} %: the tolerance is {most:g} %", file=sys.stderr)
        raise typer.Exit(1)
