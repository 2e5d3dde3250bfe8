"""How fast a machine decodes, from one short run with chosen verdicts: enough to rank many designs.

With K tokens and R rejections a sequence takes (K - 1) full_s + R refill_s + once_s: as many cycles with a verdict, a
refill after each rejection, and once the first fill and what the driver still waits for in the last cycle.
"""

from dataclasses import dataclass, replace
from math import ceil, log
from typing import TYPE_CHECKING

import numpy as np

from spdsim.acceptance import Coins
from spdsim.distributions import Constant
from spdsim.engine import Request, decode_all
from spdsim.machine import Machine
from spdsim.trace import Trace, TraceHeader, WorkerInfo

if TYPE_CHECKING:
    from numpy.typing import NDArray

_STEADY_TOKENS = 8
_REJECTIONS = 8
_MOST_GAP = 24
_DRIVER = 0
"""The worker that commits: the draft rank."""

_TIMES_AS_LONG = 4
"""How much longer the run is where durations are random."""


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds of a token while every draft is accepted, what a rejection adds, and what a sequence does."""

    full_s: float
    refill_s: float
    once_s: float

    def time_per_token_s(self, rejection: float, num_tokens: float) -> float:
        """Return seconds per token where a draft is rejected with so much probability, with outputs of that length."""
        refills_s = rejection * max(num_tokens - 2.0, 0.0) * self.refill_s
        return self.full_s + (refills_s + self.once_s) / max(num_tokens - 1.0, 1.0)


def pace_of(machine: Machine, seed: int, acceptance: float, middle_tokens: int) -> Pace:
    """Return the pace of a machine, its context `middle_tokens` long.

    acceptance: at what distances rejections come; how often they do is left to `Pace.time_per_token_s`.
    """
    is_random = any(not isinstance(time.base, Constant) or time.by_fill_depth for time in machine.tasks.values())
    times = _TIMES_AS_LONG if is_random else 1
    capacity = machine.layout.capacity
    steady = _STEADY_TOKENS * times
    gaps = _gaps(acceptance, 2 * capacity + _MOST_GAP) * times
    verdicts = [True] * (capacity + steady)
    for gap in gaps:
        verdicts += [True] * (gap - 1) + [False]
    ends_s, end_s = _decoded(replace(machine, prompt_tokens=middle_tokens), verdicts, seed)
    # The last rejection is refilled after the last token: what it takes is not seen.
    begin = capacity + steady
    full_s = float(ends_s[begin] - ends_s[begin - steady]) / steady
    others = float(ends_s[-1] - ends_s[begin]) - (len(ends_s) - 1 - begin) * full_s
    once_s = float(ends_s[begin] - ends_s[0]) - begin * full_s + end_s - float(ends_s[-1])
    return Pace(full_s, max(others, 0.0) / (len(gaps) - 1), max(once_s, 0.0))


def _gaps(acceptance: float, most: int) -> list[int]:
    """Return after how many drafts each rejection comes: quantiles of the geometric law, long and short in turn."""
    p = min(max(acceptance, 1e-9), 0.98)
    ranks = [0, 4, 2, 6, 1, 5, 3, 7]
    return [min(most, max(1, ceil(log(1.0 - (rank + 0.5) / _REJECTIONS) / log(p)))) for rank in ranks]


def _decoded(machine: Machine, verdicts: list[bool], seed: int) -> "tuple[NDArray[np.float64], float]":
    """Return when each token, y_1 first, was committed, and when the driver was done, in seconds."""
    layout, num_tokens = machine.layout, len(verdicts) + 1
    workers = tuple(WorkerInfo(w.index, w.role, machine.devices[w.device]) for w in machine.workers)
    trace = Trace(TraceHeader("simulator", "spd", layout.num_stages, layout.verification_lag, workers))
    coins = Coins([True, *verdicts, *[True] * (layout.capacity + 1)])
    assert list(decode_all(machine, trace, [[Request(0, num_tokens, coins)]], seed))
    site, end_s = np.frombuffer(trace.site, np.uint16), np.frombuffer(trace.end_s, np.float64)
    is_commit = np.array([each.op == "commit" for each in trace.sites])[site]
    is_driver = np.array([each.worker == _DRIVER for each in trace.sites])[site]
    return end_s[is_commit], float(end_s[is_driver].max())
