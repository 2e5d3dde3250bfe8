"""`spdsim fit`: evidence in, a profile out: published tables, or traces of an executor."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from spdsim.cli.options import BreakdownPath, TablePath

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spdsim.acceptance_fit import AcceptanceFit
    from spdsim.fitting import Fit, LeftOut, RivalFigure


def fit(
    traces: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[TRACE]...", help="Traces that spdsim-exec wrote.", show_default=False),
    ] = None,
    *,
    table: Annotated[Path | None, typer.Option("--table", metavar="FILE", help=TablePath)] = None,
    breakdown: Annotated[Path | None, typer.Option("--breakdown", metavar="FILE", help=BreakdownPath)] = None,
    profile_file: Annotated[
        Path, typer.Option("--out", metavar="FILE", help="Where to write the profile (YAML).", show_default=False)
    ],
    fragment_file: Annotated[
        Path | None,
        typer.Option(
            "--acceptance",
            metavar="FILE",
            help="Of traces with drafts of a module's own: write a scenario's `acceptance` (YAML).",
        ),
    ] = None,
    source: Annotated[
        str | None, typer.Option("--source", metavar="TEXT", help="Where the evidence comes from, in words.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing.")] = False,
) -> None:
    """Fit a profile to traces of an executor, or to a table of speedups and a breakdown of cycles.

    Traces are of one model on one machine; one of plain decoding with a single stage tells what layers take alone. Of
    a table only rows marked calibrate are used.

    Example:  spdsim fit run-1.jsonl run-2.jsonl --out profile.yaml;
    spdsim fit --table table.csv --breakdown cycles.csv --out profile.yaml
    """
    from spdsim.errors import InputError

    if source is not None and not source.isprintable():
        raise InputError(f"--source is {source!a}: must be one line of text, without control characters")
    if traces:
        for option, value in (("--table", table), ("--breakdown", breakdown)):
            if value is not None:
                raise InputError(f"{option} is {value}: is given beside traces: must be one or the other")
        _fit_traces(traces, profile_file, fragment_file, source or f"{len(traces)} traces", quiet=quiet)
        return
    if fragment_file is not None:
        raise InputError(f"--acceptance is {fragment_file}: needs traces, whose verdicts are fitted")
    if table is None or breakdown is None:
        raise InputError("nothing to fit is given: needs traces, or --table and --breakdown")
    _fit_table(table, breakdown, profile_file, source or "published speedups and cycle breakdown", quiet=quiet)


def _fit_traces(
    traces: list[Path], profile_file: Path, fragment_file: Path | None, source: str, *, quiet: bool
) -> None:
    from spdsim.calibration import fit_traces, observe
    from spdsim.cli.outputs import Outputs
    from spdsim.cli.screen import Screen
    from spdsim.fitting import profile_text
    from spdsim.render.calibration import print_calibration
    from spdsim.tracefile import read_trace

    with Outputs(inputs=traces) as outputs:
        to_profile, to_fragment = outputs.reserve(profile_file), outputs.reserve(fragment_file)
        observed = [observe(read_trace(path), str(path)) for path in traces]
        calibration = fit_traces(observed, source, dict(observed[-1].trace.header.machine or {}))
        assert to_profile is not None
        head = "Written by `spdsim fit`: fit again rather than edit."
        if to_fragment:
            to_fragment.write_text(_fragment(calibration.acceptances, source, head), encoding="utf-8")
        to_profile.write_text(profile_text(calibration.profile, head), encoding="utf-8")
        if not quiet:
            print_calibration(calibration, None, Screen(), title=f"{profile_file}: fitted to {source}")


def _fragment(fits: "Sequence[AcceptanceFit]", source: str, head: str) -> str:
    from spdsim.acceptance_fit import fragment_text
    from spdsim.acceptance_fit.document import table_text
    from spdsim.errors import InputError

    if not fits:
        rule = "must be some of runs with drafts of a module's own (spdsim-exec generate --draft module:CHECKPOINT)"
        raise InputError(f"--acceptance is given: verdicts of the traces were forced: {rule}")
    return fragment_text(fits[0].chosen, source, head) if len(fits) == 1 else table_text(fits, source, head)


def _fit_table(table: Path, breakdown: Path, profile_file: Path, source: str, *, quiet: bool) -> None:
    from spdsim.cli.outputs import Outputs
    from spdsim.cli.progress import LateProgress
    from spdsim.cli.screen import Screen
    from spdsim.evidence import read_breakdown, read_table
    from spdsim.fitting import backed, fit_profile, leave_one_out, profile_text, profiled_cycles
    from spdsim.fitting.rivals import fit_rivals, with_rivals
    from spdsim.render.fitting import print_fit

    known, breakdowns = read_table(table), read_breakdown(breakdown)
    rows = known.rows
    with Outputs(inputs=[table, breakdown]) as outputs:
        to_profile = outputs.reserve(profile_file)
        with LateProgress(not quiet, "fits") as progress:
            fitted = fit_profile(rows, breakdowns, source, str(table))
            left_out = leave_one_out(rows, breakdowns, source, str(table), progress)
        profile = backed(fitted, left_out)
        rivals = fit_rivals(known.rivals, profile)
        assert to_profile is not None
        text = profile_text(with_rivals(profile, rivals), _head(fitted, left_out, rivals))
        to_profile.write_text(text, encoding="utf-8")
        if not quiet:
            title = f"{profile_file}: fitted to {table} and {breakdown}"
            print_fit(fitted, profiled_cycles(fitted), left_out, Screen(), title=title, rivals=rivals)


def _head(fitted: "Fit", left_out: "tuple[LeftOut, ...]", rivals: "tuple[RivalFigure, ...]") -> str:
    """The comment at the top of a profile: how it was made, and what was fitted."""
    found = [[(parameter.name, parameter.value, parameter.std) for parameter in fitted.estimates]]
    found += [[(each.key, each.value_s, each.std_s) for each in rivals]] if rivals else []
    said = [", ".join(f"{name} {value:.4g}" + (f" +- {std:.2g}" if std else "") for name, value, std in group)
            for group in found]  # fmt: skip
    lines = ["Written by `spdsim fit`: fit again rather than edit.", *(f"Fitted: {each}." for each in said)]
    lines += [
        f"Left out and predicted, n = {out.stages}: mean error {100 * error:+.1f} % of the calibrate rows."
        for out in left_out
        if (error := out.calibration_error) is not None
    ]
    return "\n".join(lines)
