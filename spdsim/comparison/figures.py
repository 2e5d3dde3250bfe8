"""The figures of two runs side by side, each with its interval over sequences."""

from typing import TYPE_CHECKING

import numpy as np

from spdsim.analysis.digest import Digest
from spdsim.analysis.estimates import mean_of, percentiles, ratio
from spdsim.analysis.report import WorkerShares
from spdsim.analysis.shares import worker_shares
from spdsim.comparison.figure import Figure, Interval
from spdsim.comparison.report import WorkerComparison
from spdsim.trace import WorkerInfo

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

Value = tuple[float | None, Interval | None]

_FRACTIONS = frozenset({"acceptance"})


def figures(measured: Digest, predicted: Digest) -> tuple[Figure, ...]:
    """Return the figures of two runs that decoded something, in the order of reports."""
    ours, theirs = _values(measured), _values(predicted)
    return tuple(
        Figure(name, ours[name][0], theirs[name][0], ours[name][1], theirs[name][1], name in _FRACTIONS)
        for name in ours
    )


def shares(measured: Digest, predicted: Digest, workers: tuple[WorkerInfo, ...]) -> tuple[WorkerComparison, ...]:
    """Return how each of `workers`, which both runs have, spends the decode time."""
    ours, theirs = (worker_shares(run.spent, workers, float(run.times_s.sum())) for run in (measured, predicted))
    return tuple(
        WorkerComparison(one.worker, one.role, *(_share(name, one, other) for name in ("useful", "wasted", "idle")))
        for one, other in zip(ours, theirs, strict=True)
    )


def _share(name: str, measured: WorkerShares, predicted: WorkerShares) -> Figure:
    key = f"{name}_fraction"
    return Figure(key, getattr(measured, key), getattr(predicted, key), is_fraction=True)


def _values(run: Digest) -> dict[str, Value]:
    decoded = [window for window in run.windows if window.num_tokens > 1]
    cycles = [window.cycle_s for window in decoded]
    num_cycles = np.array([float(len(cycle_s)) for cycle_s in cycles])
    gaps = [window.token_gaps_s() for window in decoded]
    tokens = np.array([float(window.num_tokens) for window in decoded])
    return {
        "cycle_mean_s": _estimate(ratio(np.array([float(cycle_s.sum()) for cycle_s in cycles]), num_cycles)),
        **_percentiles("cycle", cycles),
        "time_per_token_mean_s": _estimate(ratio(run.times_s, run.steps)),
        **_percentiles("time_per_token", gaps),
        "tokens_per_cycle": _estimate(ratio(tokens, num_cycles)),
        "time_to_first_token_s": _estimate(mean_of(np.array([w.begin_s - w.prompt_at_s for w in run.windows]))),
        "acceptance": _acceptance(run),
    }


def _percentiles(name: str, by_sequence: "list[Floats]") -> dict[str, Value]:
    values, intervals = percentiles(by_sequence, (50, 95))
    pairs = zip((50, 95), values, intervals, strict=True)
    return {f"{name}_p{percent}_s": (value, interval) for percent, value, interval in pairs}


def _acceptance(run: Digest) -> Value:
    if run.acceptance is None:
        return None, None
    accepted = run.steps - np.array([float(window.num_rejected) for window in run.windows])
    return _estimate(ratio(accepted, run.steps))


def _estimate(estimate: tuple[float, float | None, float | None]) -> Value:
    mean, low, high = estimate
    return mean, None if low is None or high is None else (low, high)
