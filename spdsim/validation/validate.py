"""Predicting a table row by row, and what the errors come to."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from math import inf

from spdsim.errors import InputError
from spdsim.evidence import Row, Table
from spdsim.fitting import LeftOut
from spdsim.prediction import Predictor, RivalPredictor
from spdsim.scenario.backing import Backing, Range
from spdsim.scenario.profile import Profile
from spdsim.validation.report import Group, Line, Validation, error_sizes

_BY: tuple[tuple[str, Callable[[Row], str]], ...] = (
    ("use", lambda row: row.use or "none"),
    ("stages", lambda row: str(row.stages)),
    ("temperature", lambda row: f"{row.temperature:g}"),
    ("model", lambda row: row.model),
)
"""What rows are grouped by."""


def validate_table(
    profile: Profile,
    table: Table,
    *,
    name: str,
    left_out: tuple[LeftOut, ...] = (),
    progress: Callable[[int, int], None] | None = None,
) -> Validation:
    """Predict every row of `table` with `profile` and compare.

    name: what the profile is called in the report. left_out: what fits without a configuration gave, to be shown.
    progress: called with (lines done, lines in all). Raises InputError where a row and the profile do not go together.
    """
    try:
        predictor, rivals = Predictor(profile), RivalPredictor(profile)
    except InputError as error:
        raise InputError(f"{name}: {error}") from None
    lines = []
    for number, (record, row) in enumerate(table.lines, 1):
        lines.append(Line(record))
        if row is not None:
            prediction = predictor.predict(row) if row.method == "spd" else rivals.predict(row)
            lines[-1] = Line(record) if prediction is None else Line(record, row, prediction)
        if progress is not None:
            progress(number, len(table.lines))
    return Validation(
        profile=name, profile_origin=profile.origin, profile_source=profile.source, table=table.path,
        lines=tuple(lines), groups=tuple(_groups(lines)), limits=tuple(_limits(profile, lines)), left_out=left_out,
        has_intervals=_has_interval(profile.backing),
    )  # fmt: skip


def _groups(lines: Sequence[Line]) -> Iterator[Group]:
    counted = [line for line in lines if line.is_counted and line.row is not None and line.row.method == "spd"]
    if counted:
        yield _group("all", "all", counted)
    for by, value_of in _BY:
        values = dict.fromkeys(value_of(line.row) for line in counted if line.row is not None)
        for value in sorted(values, key=_by_number):
            yield _group(by, value, [line for line in counted if line.row is not None and value_of(line.row) == value])
    others = [line for line in lines if line.is_counted and line.row is not None and line.row.method != "spd"]
    keys = dict.fromkeys((line.row.method, line.row.use or "none") for line in others if line.row is not None)
    for method, use in sorted(keys):
        own = [line for line in others if line.row and (line.row.method, line.row.use or "none") == (method, use)]
        yield _group(method, use, own)


def _by_number(value: str) -> tuple[float, str]:
    """Numbers by their size, and before all else."""
    try:
        return float(value), value
    except ValueError:
        return inf, value


def _group(by: str, value: str, lines: Sequence[Line]) -> Group:
    ours = error_sizes([line.error for line in lines])
    by_rule = [line.rule_error for line in lines if line.rule_error is not None]
    return Group(by, value, len(lines), *ours, *(error_sizes(by_rule) if by_rule else (None, None, None)))


def _limits(profile: Profile, lines: Sequence[Line]) -> Iterator[str]:
    yield (
        "How often drafts are accepted is not predicted: it follows from each row's theoretical speedup. "
        "How fast plain decoding is follows from its baseline."
    )
    reasons = Counter(reason for line in lines if line.prediction for reason in line.prediction.outside)
    if reasons:
        said = "; ".join(f"{reason} ({_rows(count)})" for reason, count in reasons.items())
        yield f"Beyond the evidence (*): {said}."
    yield from _range(profile.range)
    yield from _of_rivals(lines)
    if skipped := Counter(line.record.cells["method"] for line in lines if line.row is None):
        methods = ", ".join(f"{_rows(count)} of {method}" for method, count in skipped.items())
        yield f"Skipped, for the profile has no times of the method: {methods}."


def _of_rivals(lines: Sequence[Line]) -> Iterator[str]:
    """Say what predictions of other methods rest on."""
    methods = {line.row.method for line in lines if line.row is not None}
    if others := sorted(methods - {"spd"}):
        yield (
            f"The theoretical speedup of {' and '.join(others)} is taken to pay for the drafts, a draft layer as long "
            "as one of the target's: assumed."
        )
    if "eagle3" in methods:
        yield "Rows of eagle3 come from another engine, of which one figure is known: what a token takes besides."


def _range(known: Range) -> Iterator[str]:
    """Say where the profile was measured, and what is not known beyond."""
    places = [
        f"{low} to {high} {what}" if low != high else f"{low} {what if low != 1 else what.removesuffix('s')}"
        for what, span in (("stages", known.stages), ("nodes", known.nodes))
        if span is not None
        for low, high in (span,)
    ]
    if places:
        yield (
            f"The profile was measured with {' on '.join(places)}: beyond that, its figures are taken to hold, "
            "and nothing shows that they do."
        )
    if known.sampled_stages:
        counts = " and ".join(map(str, known.sampled_stages))
        yield (
            f"Sampling was measured with {counts} stages only: at another number, what it adds to a draft and to a "
            "verification is taken to be the same."
        )
    elif known.sampled_stages is not None:
        yield "Sampling was not measured: what it adds is assumed."
    if known.launch:
        modes = " and ".join(known.launch)
        yield f"The times are those of one executor with launch {modes}; another engine, launch mode or GPU has others."
    if not places and known.sampled_stages is None and not known.launch:
        yield "The profile does not say where it was measured, so no row can be told from an extrapolation."


def _has_interval(backing: Backing) -> bool:
    """Whether a profile says at all how well its figures are known."""
    has_scatter = backing.scatter_fraction is not None or backing.unseen_fraction is not None
    return has_scatter or bool(backing.uncertainty or backing.alternatives)


def _rows(count: int) -> str:
    return f"{count} row{'' if count == 1 else 's'}"
