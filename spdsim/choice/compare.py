"""Every method on the same devices, kernels and model, best first: what `spdsim compare` tells."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import hypot

from spdsim.analysis.report import Estimate
from spdsim.distributions import Constant
from spdsim.evaluation import Evaluation, evaluate_method
from spdsim.machine import Machine
from spdsim.methods import METHODS, Method, Missing, methods_of
from spdsim.scenario import Scenario

PRECISION = 0.01
"""Half of the 95 % interval of the time per token, over the time, unless asked otherwise."""


@dataclass(frozen=True, slots=True)
class Row:
    """A method and its figures. speedup: over the best plain method, with its 95 % interval; None if none is known."""

    method: Method
    figures: Evaluation
    speedup: Estimate | None

    @property
    def warnings(self) -> tuple[str, ...]:
        """What its numbers do not show, and what may be wrong with its machine."""
        return tuple(dict.fromkeys((*self.method.warnings, *self.method.machine.warnings)))

    @property
    def tokens_per_s_per_device(self) -> float:
        """Tokens a second for each device in use."""
        return self.figures.tokens_per_s.mean / self.method.num_devices


@dataclass(frozen=True, slots=True)
class Ranking:
    """Methods, the least time per token first, and those that cannot be had. plain: the best that drafts nothing."""

    rows: tuple[Row, ...]
    missing: tuple[Missing, ...]
    plain: Method | None

    def row(self, key: str) -> Row | None:
        """Return the row of a method by its key; None if it cannot be had."""
        return next((row for row in self.rows if row.method.key == key), None)

    def best(self, *, is_spd: bool) -> Row | None:
        """Return the best variant of SPD, or the best other method."""
        return next((row for row in self.rows if row.method.key.startswith("spd") == is_spd), None)


def compare(
    scenario: Scenario,
    *,
    keys: Sequence[str] | None = None,
    precision: float = PRECISION,
    progress: Callable[[int, int], None] | None = None,
) -> Ranking:
    """Return every method that can be had on the scenario's devices, or those of `keys`, with its figures.

    The same numbers decide the same positions' drafts in all of them, where their acceptance is told by position.
    Speedups are over the best plain method, which is found even where it is not asked for.
    progress: called with (methods done, methods in all). Raises InputError for a key that there is not.
    """
    wanted = [entry.key for entry in METHODS] if keys is None else list(dict.fromkeys(keys))
    plain = [entry.key for entry in METHODS if entry.is_plain and entry.key not in wanted]
    found = list(methods_of(scenario, (*wanted, *plain)))
    methods = [each for each in found if isinstance(each, Method)]
    missing = tuple(each for each in found if isinstance(each, Missing) and each.key in wanted)
    figures: list[Evaluation] = []
    for done, method in enumerate(methods):
        if progress is not None:
            progress(done, len(methods))
        # What drafts nothing has no verdicts to average over, only durations.
        some = _few(scenario) if method.is_plain and not _is_random(method.machine) else scenario
        wanted_precision = None if some is not scenario else precision
        figures.append(evaluate_method(some, method.machine, method.acceptance, precision=wanted_precision))
    times_s = [each.time_per_token_s for each in figures]
    plainest = [index for index, method in enumerate(methods) if method.is_plain]
    best = min(plainest, key=lambda index: times_s[index].mean, default=None)
    rows = [
        Row(method, each, _speedup(times_s[best] if best is not None else None, each.time_per_token_s))
        for method, each in zip(methods, figures, strict=True)
        if method.key in wanted
    ]
    rows.sort(key=lambda row: row.figures.time_per_token_s.mean)
    return Ranking(tuple(rows), missing, None if best is None else methods[best])


def _few(scenario: Scenario) -> Scenario:
    return scenario.model_copy(update={"replications": 2})


def _is_random(machine: Machine) -> bool:
    """Whether a duration or a transit of `machine` is drawn."""
    drawn = [task.base for task in machine.tasks.values()]
    drawn += [part for message in machine.messages.values() for part in (message.transit, message.post)]
    return not all(isinstance(each, Constant) for each in drawn)


def _speedup(plain_s: Estimate | None, time_s: Estimate) -> Estimate | None:
    """One time over the other; their relative spreads are taken as independent, which common random numbers are not."""
    if plain_s is None:
        return None
    mean = plain_s.mean / time_s.mean
    if time_s.high is None:
        return Estimate(mean)
    own_s = 0.0 if plain_s.high is None else (plain_s.high - plain_s.mean) / plain_s.mean
    half = mean * hypot(own_s, (time_s.high - time_s.mean) / time_s.mean)
    return Estimate(mean, max(0.0, mean - half), mean + half)
