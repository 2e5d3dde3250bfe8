"""How well a fitted model describes verdicts: what was observed, held against what the model gives in many draws.

Three views, each one number: the lengths of runs of accepted drafts, the acceptance by fill depth, the spread between
sequences. A p-value is the share of draws that are at least as far from what the model gives on average. The draws have
the parameters that were fitted, which are not fitted again to each: so a p-value is rather too large than too small.
Sequences of a draw are as long as those that were observed.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from spdsim.acceptance import Acceptance, Bernoulli, BetaPerSequence, ByFillDepth, Markov
from spdsim.acceptance_fit.shares import RUN_STARTS
from spdsim.acceptance_fit.verdicts import Table

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Bools = NDArray[np.bool_]
    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

NUM_DRAWS = 200
DOUBT = 0.05
"""An overall p-value below this is no chance any more."""

_FEW = 5.0
"""Classes of runs that are expected less often are put together, as a chi-square wants it."""

_MOST_AT_ONCE = 2_000_000


@dataclass(frozen=True, slots=True)
class Check:
    """One view. statistic: a sum of squared differences over variances. p_value: of a statistic as far out."""

    name: str
    statistic: float
    p_value: float


@dataclass(frozen=True, slots=True)
class Goodness:
    """What the model gives. runs: expected of each class of lengths; by_depth: acceptance at each fill depth.

    checks: what could be looked at; none where the model leaves nothing to chance.
    """

    checks: tuple[Check, ...]
    runs: tuple[float, ...]
    by_depth: tuple[float | None, ...]
    num_draws: int

    @property
    def p_value(self) -> float | None:
        """The smallest p-value times the number of checks (Bonferroni); None without any check."""
        return min(1.0, len(self.checks) * min(check.p_value for check in self.checks)) if self.checks else None


def goodness(model: Acceptance, table: Table, capacity: int, seed: int, num_draws: int = NUM_DRAWS) -> Goodness:
    """Return how well `model` describes the verdicts; the same for the same seed."""
    seen = _tallied(lambda t, depth_BS: table.accepted_ST[None, :, t], 1, table, capacity)
    generator = np.random.default_rng(seed)
    size = max(1, _MOST_AT_ONCE // max(1, table.accepted_ST.size))
    parts = [
        _drawn(model, generator, min(size, num_draws - first), table, capacity) for first in range(0, num_draws, size)
    ]
    given = _Tally(*(np.concatenate([getattr(part, name) for part in parts]) for name in _Tally.__slots__))
    right_D, drafts_D = given.right_BD.sum(axis=0), given.drafts_BD.sum(axis=0)
    by_depth = tuple(
        float(right / drafts) if drafts else None for right, drafts in zip(right_D[1:], drafts_D[1:], strict=True)
    )
    return Goodness(tuple(_checks(seen, given, table)), tuple(given.runs_BC.mean(axis=0).tolist()), by_depth, num_draws)


@dataclass(frozen=True, slots=True)
class _Tally:
    """Of each draw B: runs of each class C, accepted drafts and drafts of each depth D, accepted ones of sequence S."""

    runs_BC: "Ints"
    right_BD: "Ints"
    drafts_BD: "Ints"
    right_BS: "Ints"


def _tallied(verdict: "Callable[[int, Ints], Bools]", num_draws: int, table: Table, capacity: int) -> _Tally:
    """Walk along the sequences, all at once; verdict: of draft t, given the depth at which it was made."""
    num_sequences, longest = table.accepted_ST.shape
    runs_BC = np.zeros((num_draws, len(RUN_STARTS)), np.int64)
    right_BD, drafts_BD = np.zeros((2, num_draws, capacity + 1), np.int64)
    right_BS = np.zeros((num_draws, num_sequences), np.int64)
    depth_BS, run_BS = np.ones_like(right_BS), np.zeros_like(right_BS)
    is_draft_ST = table.is_draft_ST
    class_of_run = np.searchsorted(RUN_STARTS, np.arange(longest + 1), side="right") - 1
    for t in range(longest):
        is_draft_BS = np.broadcast_to(is_draft_ST[:, t], depth_BS.shape)
        accepted_BS = verdict(t, depth_BS) & is_draft_BS
        rejected_BS = ~accepted_BS & is_draft_BS
        _count(runs_BC, class_of_run[run_BS], rejected_BS)
        _count(drafts_BD, depth_BS, is_draft_BS)
        _count(right_BD, depth_BS, accepted_BS)
        right_BS += accepted_BS
        run_BS = np.where(accepted_BS, run_BS + 1, 0)
        depth_BS = np.where(accepted_BS, np.minimum(depth_BS + 1, capacity), 1)
    return _Tally(runs_BC, right_BD, drafts_BD, right_BS)


def _count(counts_BX: "Ints", index_BS: "Ints", where_BS: "Bools") -> None:
    """Add one to counts_BX[draw, index] for every sequence that `where_BS` names."""
    num_draws, size = counts_BX.shape
    flat = (index_BS + size * np.arange(num_draws)[:, None])[where_BS]
    counts_BX += np.bincount(flat, minlength=num_draws * size).reshape(num_draws, size)


def _drawn(model: Acceptance, generator: np.random.Generator, num_draws: int, table: Table, capacity: int) -> _Tally:
    shape = (num_draws, len(table.lengths_S))
    match model:
        case Bernoulli(p):
            p_of: Callable[[Ints], Floats | float] = lambda depth_BS: p  # noqa: E731  # a match has no defs
        case ByFillDepth(by_depth):
            p_D = np.array([by_depth[min(depth, len(by_depth)) - 1] for depth in range(1, capacity + 1)])
            p_of = lambda depth_BS: p_D[depth_BS - 1]  # noqa: E731
        case BetaPerSequence(p, concentration):
            skill_BS = generator.beta(p * concentration, (1.0 - p) * concentration, shape)
            p_of = lambda depth_BS: skill_BS  # noqa: E731
        case Markov():
            states = _states(model, generator, shape)
            p_of = lambda depth_BS: next(states)  # noqa: E731
        case _:
            raise AssertionError("a replay is not fitted")
    return _tallied(lambda t, depth_BS: generator.random(shape) < p_of(depth_BS), num_draws, table, capacity)


def _states(model: Markov, generator: np.random.Generator, shape: tuple[int, int]) -> "Iterator[Floats]":
    """Yield the acceptance in the state of each sequence, draft by draft."""
    is_easy_BS = generator.random(shape) < model.easy_fraction
    while True:
        yield np.where(is_easy_BS, *model.p)
        stays_BS = generator.random(shape) < np.where(is_easy_BS, *model.stay)
        is_easy_BS = is_easy_BS == stays_BS


def _checks(seen: _Tally, given: _Tally, table: Table) -> Iterator[Check]:
    runs = _grouped(given.runs_BC.mean(axis=0))
    if len(runs) > 1:
        expected_G = np.add.reduceat(given.runs_BC.mean(axis=0), runs)

        def of_runs(tally: _Tally) -> "Floats":
            return np.asarray(((np.add.reduceat(tally.runs_BC, runs, axis=1) - expected_G) ** 2 / expected_G).sum(1))

        yield _check("runs of accepted drafts", of_runs(seen), of_runs(given))
    right_D, drafts_D = given.right_BD.sum(axis=0), given.drafts_BD.sum(axis=0)
    told_D = (right_D > 0) & (right_D < drafts_D)
    if told_D.any():
        p_D = right_D[told_D] / drafts_D[told_D]

        def of_depths(tally: _Tally) -> "Floats":
            right_BD, drafts_BD = tally.right_BD[:, told_D], tally.drafts_BD[:, told_D]
            variance_BD = np.maximum(drafts_BD, 1) * p_D * (1.0 - p_D)
            return np.asarray(((right_BD - drafts_BD * p_D) ** 2 / variance_BD).sum(axis=1))

        yield _check("acceptance by fill depth", of_depths(seen), of_depths(given))
    p = float(right_D.sum() / max(1, drafts_D.sum()))
    if len(table.lengths_S) > 1 and 0.0 < p < 1.0:

        def of_sequences(tally: _Tally) -> "Floats":
            variance_S = table.lengths_S * p * (1.0 - p)
            return np.asarray(((tally.right_BS - table.lengths_S * p) ** 2 / variance_S).sum(axis=1))

        yield _check("spread between sequences", of_sequences(seen), of_sequences(given), two_sided=True)


def _grouped(expected_C: "Floats") -> list[int]:
    """The first class of each group of classes that is expected often enough."""
    starts, total = [0], 0.0
    for number, expected in enumerate(expected_C.tolist()):
        if total >= _FEW:
            starts.append(number)
            total = 0.0
        total += expected
    return starts if total >= _FEW or len(starts) == 1 else starts[:-1]


def _check(name: str, seen_1: "Floats", given_B: "Floats", *, two_sided: bool = False) -> Check:
    seen, num_draws = float(seen_1[0]), len(given_B)
    above = (1 + int((given_B >= seen * (1.0 - 1e-12)).sum())) / (num_draws + 1)
    below = (1 + int((given_B <= seen * (1.0 + 1e-12)).sum())) / (num_draws + 1)
    return Check(name, seen, min(1.0, 2.0 * min(above, below)) if two_sided else above)
