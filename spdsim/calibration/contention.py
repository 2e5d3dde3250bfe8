"""How much workers of a node slow each other down: the speeds at which 1, 2, 3 … of them compute at a time.

The work of a computation is what it takes alone. With j workers computing each goes on at speed s(j), s(1) = 1, so a
span that spent the fractions f(j) of its duration D beside that many did the work D · sum of f(j) s(j). Work is the
same for all spans of a task and size: a line in the layers of a stage, one figure for each number of a draft's rows.
Speeds and works are fitted together to the logarithms of the durations, by least squares (Levenberg and Marquardt).
What the spans do not tell, a weak prior does: one more worker changes nothing.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from spdsim.machine import total_speed

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_NOTICEABLE = 0.02
"""Workers together that get this much less done than each alone slow each other down."""

_CLEAR, _LEAST_PART = 3.0, 0.02
"""Standard errors from which a speed is less than alone; the part of the time from which a number of workers counts."""

_MOST_SPANS = 400
"""Of each kind of work in each trace; more say nothing new."""

_PRIOR_STD, _OUTLIER = 0.1, 2.0
_MAX_ROUNDS = 60


@dataclass(frozen=True, slots=True)
class Spans:
    """Spans of one kind of work: how long by how many computed, shape (spans, workers).

    work: the kind. layers: of the stage, for works that are a line in them; 0: one figure. context_s: what of each is
    known beside that, its context's.
    """

    work: Hashable
    layers: int
    beside_s: "Floats"
    context_s: "Floats"


def fit_curve(spans: Sequence[Spans]) -> tuple[float, ...]:
    """Return what 1, 2, 3 … workers get done together, over one alone; empty where none slows another noticeably."""
    problem = _Problem(spans)
    if problem.width < 2:
        return ()
    log_speeds, errors = problem.solve()
    is_clear = bool((log_speeds < -_CLEAR * errors).any())
    return _curve(np.exp(log_speeds)) if is_clear else ()


def work_s(beside_s: "Floats", curve: Sequence[float]) -> "Floats":
    """Return what each span, a row of `beside_s`, would have taken alone."""
    speeds = [total_speed(curve, j + 1) / (j + 1) if curve else 1.0 for j in range(beside_s.shape[1])]
    return np.asarray(beside_s @ np.array(speeds))


class _Problem:
    """Parameters: log s(2) … log s(J), then log offset and log slope of every line, log of every other work."""

    def __init__(self, spans: Sequence[Spans]) -> None:
        spans = [each for each in map(_thinned, spans) if len(each.beside_s)]
        widest = max((each.beside_s.shape[1] for each in spans), default=1)
        rows = [np.pad(each.beside_s, ((0, 0), (0, widest - each.beside_s.shape[1]))) for each in spans]
        beside_s = np.concatenate([np.zeros((0, widest)), *rows])
        part = beside_s.sum(axis=0) / max(beside_s.sum(), 1e-300)
        seen = np.flatnonzero(part >= _LEAST_PART)
        self.width = int(seen[-1]) + 1 if len(seen) else 1
        # What hardly ever happens tells nothing, and goes with what does.
        beside_s[:, self.width - 1] += beside_s[:, self.width :].sum(axis=1)
        beside_s = beside_s[:, : self.width]
        seconds = beside_s.sum(axis=1)
        self._fractions = beside_s / seconds[:, None]
        self._log_s = np.log(seconds)
        self._context_s = np.concatenate([np.zeros(0), *(each.context_s for each in spans)])
        self._layers = np.concatenate([np.zeros(0), *(np.full(len(each.beside_s), each.layers) for each in spans)])
        works = sorted({each.work for each in spans}, key=repr)
        counts = [len(each.beside_s) for each in spans]
        self._work = np.repeat([works.index(each.work) for each in spans], counts) if spans else np.zeros(0, int)
        # A line has two parameters, an offset and a slope; what is no line leaves its offset alone.
        typical_s = [float(np.exp(np.median(self._log_s[self._work == work]))) for work in range(len(works))]
        self._is_line = np.array([bool((self._layers[self._work == work] > 0).any()) for work in range(len(works))])
        layers = [max(1.0, float(np.median(self._layers[self._work == work]))) for work in range(len(works))]
        slopes = np.log(np.array(typical_s) / np.array(layers))
        offsets = np.log(0.02 * np.array(typical_s))
        self._first = np.concatenate((np.zeros(self.width - 1), offsets, slopes))
        self._num_works = len(works)

    def solve(self) -> "tuple[Floats, Floats]":
        """Return log s(2) … log s(J) at which the squares are least, and their standard errors."""
        parameters, damping = self._first.copy(), 1e-3
        left = self._left(parameters)
        for _ in range(_MAX_ROUNDS):
            slopes = self._slopes(parameters, left)
            normal, gradient = slopes.T @ slopes, slopes.T @ left
            step = np.linalg.solve(normal + damping * np.diag(np.diag(normal) + 1e-9), -gradient)
            tried = parameters + np.clip(step, -1.0, 1.0)
            after = self._left(tried)
            if (after**2).sum() < (left**2).sum():
                is_close = float(np.abs(tried - parameters).max()) < 1e-6
                parameters, left, damping = tried, after, damping / 3.0
                if is_close:
                    break
            else:
                damping *= 4.0
                if damping > 1e9:
                    break
        slopes = self._slopes(parameters, left)
        covariance = np.linalg.pinv(slopes.T @ slopes) * float((left**2).mean())
        errors = np.sqrt(np.maximum(np.diag(covariance), 0.0))
        return parameters[: self.width - 1], errors[: self.width - 1]

    def _left(self, parameters: "Floats") -> "Floats":
        """What is left over: of every span, softened where it is far off, and of the priors."""
        speeds = np.concatenate(([1.0], np.exp(parameters[: self.width - 1])))
        offsets = np.exp(parameters[self.width - 1 : self.width - 1 + self._num_works])
        slopes = np.exp(parameters[self.width - 1 + self._num_works :])
        work_s = (
            np.where(
                self._is_line[self._work],
                offsets[self._work] + slopes[self._work] * self._layers,
                slopes[self._work],
            )
            + self._context_s
        )
        off = (self._log_s - np.log(work_s) + np.log(self._fractions @ speeds)) / _PRIOR_STD
        # A span that something else held up pulls no more than this (pseudo-Huber).
        off = np.sign(off) * _OUTLIER * np.sqrt(2.0 * (np.sqrt(1.0 + (off / _OUTLIER) ** 2) - 1.0))
        steps = np.diff(np.concatenate(([0.0], parameters[: self.width - 1]))) / _PRIOR_STD
        beginnings = (parameters - self._first)[self.width - 1 :] / 3.0
        return np.concatenate((off, steps, beginnings))

    def _slopes(self, parameters: "Floats", left: "Floats") -> "Floats":
        step = 1e-6
        columns = [(self._left(parameters + step * unit) - left) / step for unit in np.eye(len(parameters))]
        return np.array(columns).T


def _thinned(spans: Spans) -> Spans:
    """At most so many of the spans that took any time, evenly."""
    lasting = np.flatnonzero(spans.beside_s.sum(axis=1) > 0.0)
    lasting = lasting[:: max(1, -(-len(lasting) // _MOST_SPANS))]
    return Spans(spans.work, spans.layers, spans.beside_s[lasting], spans.context_s[lasting])


def _curve(speeds: "Floats") -> tuple[float, ...]:
    """What workers do together: never less than fewer of them, never more than each alone."""
    curve = [1.0]
    for j, speed in enumerate(speeds.tolist(), start=2):
        curve.append(float(min(max(j * speed, curve[-1]), curve[-1] + 1.0)))
    if all(together >= (1.0 - _NOTICEABLE) * (j + 1) for j, together in enumerate(curve)):
        return ()
    return tuple(curve)
