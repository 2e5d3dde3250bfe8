"""From two traces to a comparison. Every figure is computed from spans, whoever recorded them."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from spdsim.analysis.digest import Digest, digest
from spdsim.comparison.attribution import Attribution, culprit
from spdsim.comparison.figures import figures, shares
from spdsim.comparison.parts import parts_of
from spdsim.comparison.report import Comparison, MessageTimes, Side, TaskTimes
from spdsim.errors import InputError, TraceError
from spdsim.trace import Source, Trace, TraceHeader

if TYPE_CHECKING:
    from numpy.typing import NDArray

_NAMES = ("the measured trace", "the predicted trace")


def compare(measured: Trace, predicted: Trace, *, names: tuple[str, str] = _NAMES) -> Comparison:
    """Return how well `predicted` meets `measured`. names: what errors call the two.

    Raises InputError where the traces are not of the same pipeline: stages, lag, roles of the workers, method.
    Raises TraceError for a trace whose spans cannot be those of whole runs, or that decoded nothing.
    """
    _check_same_pipeline(measured.header, predicted.header, names)
    ours, theirs = _digest(measured, names[0]), _digest(predicted, names[1])
    attribution = Attribution(parts_of(measured), parts_of(predicted))
    tasks, messages, gaps = attribution.tasks(), attribution.messages(), attribution.gaps()
    found = figures(ours, theirs)
    sides = _side(ours, measured.header.source), _side(theirs, predicted.header.source)
    cycle_s = found[0].measured
    assert found[0].name == "cycle_mean_s" and cycle_s is not None
    return Comparison(
        *sides, has_same_verdicts(measured, predicted), found, shares(ours, theirs, measured.header.workers),
        tasks, messages, gaps, culprit((*tasks, *messages, *gaps), cycle_s), tuple(_notes(*sides, tasks, messages)),
    )  # fmt: skip


def has_same_verdicts(measured: Trace, predicted: Trace) -> bool:
    """Whether the traces have as many sequences, each with the same committed verdicts, as a replayed run has."""
    if measured.num_sequences != predicted.num_sequences:
        return False
    ours, theirs = _verdicts(measured), _verdicts(predicted)
    return all(np.array_equal(one, other) for one, other in zip(ours, theirs, strict=True))


def _verdicts(trace: Trace) -> "Iterator[NDArray[np.bool_]]":
    """Whether each verdict after y_1 is a rejection, by sequence."""
    sites, cycle = np.frombuffer(trace.site, np.uint16), np.frombuffer(trace.cycle, np.int32)
    is_commit = np.array([site.op == "commit" for site in trace.sites])
    is_rejection = np.array([site.accepted is False for site in trace.sites])
    for sequence in range(trace.num_sequences):
        first, last = trace.sequence_bounds(sequence)
        of_sequence = sites[first:last]
        yield is_rejection[of_sequence[is_commit[of_sequence] & (cycle[first:last] >= 0)]]


def _check_same_pipeline(measured: TraceHeader, predicted: TraceHeader, names: tuple[str, str]) -> None:
    for key in ("method", "num_stages", "verification_lag"):
        _check_same(key, getattr(measured, key), getattr(predicted, key), names)
    roles, others = ([worker.role for worker in header.workers] for header in (measured, predicted))
    _check_same("number of workers", len(roles), len(others), names)
    for worker, (role, other) in enumerate(zip(roles, others, strict=True)):
        _check_same(f"role of worker {worker}", role, other, names)


def _check_same(what: str, measured: object, predicted: object, names: tuple[str, str]) -> None:
    if measured != predicted:
        raise InputError(f"{names[1]}: {what} is {predicted}: must be {measured}, as in {names[0]}")


def _digest(trace: Trace, name: str) -> Digest:
    try:
        run = digest(trace)
    except TraceError as error:
        raise TraceError(f"{name}: {error}") from error
    if not run.num_steps or not run.times_s.sum() > 0.0:
        raise TraceError(f"{name}: no token was decoded after the first: must have cycles to compare")
    return run


def _side(run: Digest, source: Source) -> Side:
    rejections = sum(window.num_rejected for window in run.windows)
    return Side(source, len(run.windows), run.num_tokens, run.num_cycles, rejections)


def _notes(
    measured: Side, predicted: Side, tasks: tuple[TaskTimes, ...], messages: tuple[MessageTimes, ...]
) -> Iterator[str]:
    if measured.source == "simulator":
        yield "The trace that stands for the measurement was written by the simulator."
    if measured.source == "emulated":
        yield "The measured run emulated its computations: only its messages and its hosts are real."
    sizes = [(side.num_sequences, side.num_tokens) for side in (measured, predicted)]
    if sizes[0] != sizes[1]:
        ours, theirs = (f"{_plural(s, 'sequence')} with {_plural(t, 'token')}" for s, t in sizes)
        yield f"The runs differ in size: {ours} measured, {theirs} predicted."
    single = [name for name, (count, _) in zip(("measured", "predicted"), sizes, strict=True) if count == 1]
    if single:
        runs = "run has" if len(single) == 1 else "runs have"
        yield f"The {' and the '.join(single)} {runs} a single sequence: no interval."
    if any(leg.leg == "crossing" and min(mean_s or 0.0 for mean_s in leg.means_s) < 0.0 for leg in messages):
        yield "Some messages were received before their posting had ended: their crossing is less than nothing."
    for task in tasks:
        if task.op != "rollback" and (task.measured is None or task.predicted is None):
            where = "predicted" if task.measured is None else "measured"
            yield f"Only the {where} run has a {task.name}."


def _plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
