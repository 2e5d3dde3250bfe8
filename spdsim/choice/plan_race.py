"""Designs simulated side by side, with the same verdicts, until their order is certain or does not matter.

The interval that decides is that of the difference of two designs over the same sequences: what both owe to the
sequences that happened to be drawn is not in it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import ceil, sqrt
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

from spdsim.acceptance import Acceptance, Replay
from spdsim.analysis.estimates import ratio, t_quantile
from spdsim.analysis.report import Estimate
from spdsim.choice.plan_design import Design
from spdsim.errors import ScenarioError
from spdsim.evaluation import MIN_SEQUENCES
from spdsim.evaluation.control import controlled_ratio, rejection_control
from spdsim.evaluation.runs import Producer, Runs, producer_of
from spdsim.machine import Machine
from spdsim.scenario import Scenario, acceptance_of
from spdsim.timing import machine_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

TIE_FRACTION = 1e-3
"""A difference of times, over the time, that does not matter."""

_ROUNDING = 1e-9
"""A difference of times, over the time, that is none."""

_FIRST, _MOST = 8, 128
"""Sequences of each design at first, and at most."""

_CLEARLY = 2.0
"""How many times its 95 % interval a difference must be for the slower design to be left behind."""


@dataclass(slots=True)
class Runner:
    """A design that is simulated. estimate_s: what it was chosen for; runs: of the first sequences, as far as done.

    design: None for a scenario that is taken as it is, such as the one as written.
    """

    design: Design | None
    scenario: Scenario
    machine: Machine
    estimate_s: float
    _producer: Producer
    _model: Acceptance
    _runs: Runs | None = field(default=None)

    @classmethod
    def of(cls, design: Design | None, scenario: Scenario, estimate_s: float) -> "Runner":
        """Return a runner that has not begun."""
        machine, model = machine_of(scenario), acceptance_of(scenario)
        return cls(design, scenario, machine, estimate_s, producer_of(scenario, machine, model)[0], model)

    @property
    def num_replications(self) -> int:
        """Replications done."""
        return 0 if self._runs is None else len(self._runs) // self.scenario.workload.sequences

    @property
    def most_replications(self) -> int:
        """How many there can be: a record has no more than its sequences."""
        per, most = self.scenario.workload.sequences, _MOST
        if isinstance(self._model, Replay):
            most = min(most, len(self._model.accepted))
        return max(1, ceil(most / per))

    def go_on(self, replications: int) -> None:
        """Simulate until so many replications are done."""
        if (done := self.num_replications) < replications:
            more = self._producer.runs(done, replications)
            self._runs = more if self._runs is None else Runs.join((self._runs, more))

    @property
    def time_s(self) -> Estimate:
        """Seconds per token: the figure of `spdsim.evaluation.evaluate` for as many replications."""
        times_s, steps, control = self._columns()
        return Estimate(*controlled_ratio(times_s, steps, control, steps))

    def behind_s(self, other: "Runner") -> Estimate:
        """Return by how many seconds per token it is slower than another, over the sequences that both have."""
        ours, theirs = self._columns(), other._columns()
        count = min(len(ours[0]), len(theirs[0]))
        times_s, steps, their_s = ours[0][:count], ours[1][:count], theirs[0][:count]
        control, their_control = (None if each[2] is None else each[2][:count] for each in (ours, theirs))
        if control is None or their_control is None or np.array_equal(control, their_control):
            return Estimate(*controlled_ratio(times_s - their_s, steps, control, steps))
        # Other verdicts: what rejections explain is taken out of each by itself.
        own = _without(times_s, steps, control) - _without(their_s, steps, their_control)
        return Estimate(*ratio(own, steps))

    def over(self, other: "Runner") -> Estimate:
        """Return the speedup over another design, with the interval of their difference."""
        time_s, gain_s = self.time_s.mean, other.behind_s(self)
        low, high = (None if bound_s is None else 1.0 + bound_s / time_s for bound_s in (gain_s.low, gain_s.high))
        return Estimate(1.0 + gain_s.mean / time_s, low, high)

    def _columns(self) -> "tuple[Floats, Floats, Floats | None]":
        """Seconds and steps of each sequence, and the control of its rejections."""
        runs = self._runs
        assert runs is not None, "has not begun"
        if not (runs.num_tokens > 1).any():
            raise ScenarioError("nothing is decoded after the first token: outputs must have at least 2 tokens")
        has_verdicts = self.machine.layout.tells_verdicts
        control = rejection_control(self._model, runs.num_tokens, runs.num_rejections) if has_verdicts else None
        return runs.end_s - runs.begin_s, np.asarray(runs.num_tokens - 1.0, np.float64), control


def _without(times_s: "Floats", steps: "Floats", control: "Floats") -> "Floats":
    """Return the times less what the control explains of them."""
    beta = np.linalg.lstsq(np.column_stack([steps, control]), times_s, rcond=None)[0]
    return np.asarray(times_s - beta[1] * control, np.float64)


def sureness(ahead: Runner, behind: Runner) -> float:
    """Return the probability that the one is faster than the other, by the interval of their difference."""
    difference_s = behind.behind_s(ahead)
    if difference_s.mean == 0.0 or difference_s.high is None:
        return 0.5
    count = min(ahead.num_replications, behind.num_replications) * ahead.scenario.workload.sequences
    error_s = (difference_s.high - difference_s.mean) / t_quantile(max(count - 2, 1))
    # Where nothing varies, what is left is rounding.
    floor_s = _ROUNDING * ahead.time_s.mean / sqrt(count)
    return NormalDist().cdf(difference_s.mean / max(error_s, floor_s))


def race(
    runners: Sequence[Runner], top: int, precision: float, progress: Callable[[int], None] | None = None
) -> list[Runner]:
    """Simulate until the order of the `top` fastest is certain or does not matter, and return all, the fastest first.

    Who is clearly slower than the last of them is left behind with the sequences that it has. precision: half of the
    95 % interval of the time of each of them, over the time. progress: called with the sequences simulated so far.
    """
    order, wanted, num_done = list(runners), _FIRST, 0
    going = order
    while True:
        for runner in going:
            before = runner.num_replications
            runner.go_on(min(runner.most_replications, ceil(wanted / runner.scenario.workload.sequences)))
            num_done += (runner.num_replications - before) * runner.scenario.workload.sequences
            if progress is not None:
                progress(num_done)
        going = ordered(going)
        fastest = going[:top]
        if wanted >= MIN_SEQUENCES and _is_settled(going, top) and _is_precise(fastest, precision):
            break
        if wanted >= _MOST or all(runner.num_replications >= runner.most_replications for runner in going):
            break
        last = fastest[-1]
        going = fastest + [each for each in going[top:] if not _is_clearly(each.behind_s(last))]
        wanted *= 2
    for runner in ordered(order)[:top]:
        # No fewer than the scenario asks for, so that its own command gives the same figures.
        asked = runner.scenario.replications
        runner.go_on(asked if asked <= runner.most_replications else runner.num_replications)
    return ordered(order)


def ordered(runners: Sequence[Runner]) -> list[Runner]:
    """Return runners by their times; of those that are as fast to the last digits, the simpler one is first."""
    # Nine digits: sums in another order differ in the last few.
    return sorted(runners, key=lambda each: (float(f"{each.time_s.mean:.9e}"), _simplicity(each)))


def _simplicity(runner: Runner) -> tuple[object, ...]:
    return (0,) if runner.design is None else (1, *runner.design.simplicity)


def _is_settled(going: Sequence[Runner], top: int) -> bool:
    """Whether each of the first `top` is surely faster than the next, or so close that it does not matter."""
    return all(is_apart(*pair) or is_tie(*pair) for pair in pairwise(going[: top + 1]))


def is_apart(ahead: Runner, behind: Runner) -> bool:
    """Whether the 95 % interval of the difference of two is on one side of zero, by more than rounding."""
    low = behind.behind_s(ahead).low
    return low is not None and low > _ROUNDING * ahead.time_s.mean


def is_tie(ahead: Runner, behind: Runner) -> bool:
    """Whether the 95 % interval of the difference of two is within what does not matter."""
    difference = behind.behind_s(ahead)
    most_s = TIE_FRACTION * ahead.time_s.mean
    return difference.low is not None and difference.high is not None and max(-difference.low, difference.high) < most_s


def _is_clearly(behind_s: Estimate) -> bool:
    return behind_s.high is not None and behind_s.mean > _CLEARLY * (behind_s.high - behind_s.mean)


def _is_precise(runners: Sequence[Runner], precision: float) -> bool:
    times_s = [runner.time_s for runner in runners]
    return all(time_s.high is not None and time_s.high - time_s.mean <= precision * time_s.mean for time_s in times_s)
