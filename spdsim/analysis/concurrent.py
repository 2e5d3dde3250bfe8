"""Figures of a run with several sequences in flight: tokens per second of all, time per token of one, busy workers.

Such a run is one sequence of a trace, in which the numbers of tokens tell the sequences apart: sequence j has the
numbers from j x stride on (`spdsim.schedules.slots`). The window of its figures begins when all prompts are done, with
every worker, and ends when the first sequence does, so that all of them are in flight in all of it; tokens are counted
at the end of the driver's cycle that carries their verdict, as with one sequence (`spdsim.analysis.decoding`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from spdsim.analysis.estimates import mean_of, ratio
from spdsim.analysis.report import Estimate
from spdsim.errors import TraceError
from spdsim.trace import Trace

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Together:
    """What sequences that were in flight together did in their window.

    num_tokens: of each, those of the prefill left out. times_s: of each, from the beginning to its last token in the
    window. busy_fraction: of each worker, computing or its host bookkeeping. first_token_s: from the beginning of the
    prefill to its end, which is the same for all.
    """

    begin_s: float
    end_s: float
    num_tokens: "Ints"
    times_s: "Floats"
    busy_fraction: "Floats"
    first_token_s: float

    @property
    def time_per_token_s(self) -> float:
        """Mean seconds from one token of a sequence to its next."""
        return float(self.times_s.sum() / self.num_tokens.sum())

    @property
    def tokens_per_s(self) -> float:
        """Tokens per second of all sequences."""
        return len(self.num_tokens) / self.time_per_token_s


def token_times(trace: Trace, run: int, sequences: int, stride: int) -> "list[Floats]":
    """Return the seconds at which each sequence of a run has each of its tokens, y_1 first, in order.

    Raises TraceError where the tokens of a sequence are not committed one after another.
    """
    if not 0 <= run < trace.num_sequences:
        raise TraceError(f"run {run} is not in the trace: it has {trace.num_sequences}")
    start, stop = trace.sequence_bounds(run)
    site = np.frombuffer(trace.site, np.uint16)[start:stop]
    cycle = np.frombuffer(trace.cycle, np.int32)[start:stop]
    number = np.frombuffer(trace.position, np.int32)[start:stop]
    end_s = np.frombuffer(trace.end_s, np.float64)[start:stop]
    commits = np.flatnonzero(np.array([each.op == "commit" for each in trace.sites])[site])
    if not len(commits) or cycle[commits[0]] != -1:
        raise TraceError(f"run {run} has no commit in cycle -1: the first tokens are missing")
    driver = trace.sites[site[commits[0]]].worker
    own = np.flatnonzero(np.array([each.worker == driver for each in trace.sites])[site])
    ends_s = np.zeros(int(cycle[own].max()) + 2)
    np.maximum.at(ends_s, cycle[own] + 1, end_s[own])
    # Decoding of one sequence begins with its first token, whatever the driver does after it; several begin when the
    # drafter has seen their prompts too, which a long run would not notice.
    ends_s[0] = float(end_s[commits[0]] if sequences == 1 else end_s[cycle == -1].max())
    found = []
    for sequence in range(sequences):
        of_it = commits[number[commits] // stride == sequence]
        if not np.array_equal(number[of_it] - sequence * stride, np.arange(len(of_it))):
            raise TraceError(f"run {run}, sequence {sequence}: its tokens are not committed in order")
        found.append(ends_s[cycle[of_it] + 1])
    return found


def together(trace: Trace, run: int, sequences: int, stride: int) -> Together:
    """Return the figures of a run. Raises TraceError for a trace that is not one of so many sequences in order."""
    times = token_times(trace, run, sequences, stride)
    if min(map(len, times)) < 2:
        raise TraceError(f"run {run}: each sequence must have at least 2 tokens")
    begin_s, end_s = float(times[0][0]), min(float(each[-1]) for each in times)
    inside = [each[each <= end_s] for each in times]
    start, stop = trace.sequence_bounds(run)
    return Together(
        begin_s, end_s, np.array([len(each) - 1 for each in inside]),
        np.array([float(each[-1]) - begin_s for each in inside]), _busy(trace, run, begin_s, end_s),
        begin_s - float(min(trace.start_s[start:stop])),
    )  # fmt: skip


def time_per_token(runs: Sequence[Together]) -> Estimate:
    """Return the mean seconds from one token of a sequence to its next, with a 95 % interval from several runs."""
    times_s = np.array([run.times_s.sum() for run in runs])
    return Estimate(*ratio(times_s, np.array([float(run.num_tokens.sum()) for run in runs])))


def mean_estimate(values: Sequence[float]) -> Estimate:
    """Return the mean of one value a run, with its 95 % interval."""
    return Estimate(*mean_of(np.array(values)))


def mean_busy(runs: Sequence[Together]) -> tuple[float, ...]:
    """Return the mean of each worker's busy fraction."""
    return tuple(np.mean([run.busy_fraction for run in runs], axis=0).tolist())


def _busy(trace: Trace, run: int, begin_s: float, end_s: float) -> "Floats":
    start, stop = trace.sequence_bounds(run)
    site = np.frombuffer(trace.site, np.uint16)[start:stop]
    worker = np.array([each.worker for each in trace.sites])[site]
    computes = np.array([each.op.split(" ")[0] not in ("send", "recv") for each in trace.sites])[site]
    spans_s = np.clip(np.frombuffer(trace.end_s, np.float64)[start:stop], begin_s, end_s)
    spans_s = spans_s - np.clip(np.frombuffer(trace.start_s, np.float64)[start:stop], begin_s, end_s)
    busy_s = np.bincount(worker[computes], weights=spans_s[computes], minlength=len(trace.header.workers))
    return np.asarray(busy_s / max(end_s - begin_s, 1e-300), np.float64)
