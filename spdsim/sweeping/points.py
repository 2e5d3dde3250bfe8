"""The points of a sweep: a grid of all combinations, or some of them at random."""

from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from itertools import product
from math import prod
from random import Random
from typing import Any

from spdsim.errors import InputError
from spdsim.evaluation import Evaluation
from spdsim.machine import Origin
from spdsim.scenario import Scenario
from spdsim.scenario.load import scenario_from
from spdsim.scenario.overrides import set_key
from spdsim.scenario.source import Source
from spdsim.sweeping.vary import Span, Varied

MAX_POINTS = 100_000
"""Of one sweep."""

_DIGITS = 6
"""Of a number drawn from a range, so that it can be typed again."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Take `count` points at random, in place of the grid."""

    count: int
    seed: int


@dataclass(frozen=True, slots=True)
class Spec:
    """What is swept: a scenario as it was read, with its settings, and what varies on top.

    Raises InputError when the points are none, or too many, or a key varies twice.
    """

    base: Source
    varied: tuple[Varied, ...]
    choice: Choice | None = None

    def __post_init__(self) -> None:
        if not self.varied:
            raise InputError("--vary is not given: at least one key must vary, such as partition.stages=1..16")
        keys = [each.key for each in self.varied]
        for index, key in enumerate(keys):
            for before in keys[:index]:
                if key == before:
                    raise InputError(f"--vary {key}: is given twice: a key varies once, all its values in one option")
                if f"{key}.".startswith(f"{before}.") or f"{before}.".startswith(f"{key}."):
                    raise InputError(f"--vary {key}: {before} varies too: one of them contains the other")
        if self.choice is None:
            self._check_grid()
        else:
            self._check_choice(self.choice)

    @property
    def num_points(self) -> int:
        """How many points there are."""
        return prod(map(_count, self.varied)) if self.choice is None else self.choice.count

    def points(self) -> Iterator[tuple[Any, ...]]:
        """Yield the values of each point, in the order of the keys; of a grid the last key changes first."""
        values = [() if isinstance(each.values, Span) else each.values for each in self.varied]
        if self.choice is None:
            yield from product(*values)
            return
        random = Random(self.choice.seed)
        if any(isinstance(each.values, Span) for each in self.varied):
            for _ in range(self.choice.count):
                yield tuple(_drawn(each, random) for each in self.varied)
            return
        for number in sorted(random.sample(range(prod(map(len, values))), self.choice.count)):
            yield _entry(values, number)

    def scenario(self, point: Sequence[Any]) -> Scenario:
        """Return the scenario of a point. Raises ScenarioError, one line, if it breaks a rule."""
        source = deepcopy(self.base)
        for each, value in zip(self.varied, point, strict=True):
            set_key(source, each.key, deepcopy(value), each.option)
        return scenario_from(source)

    def _check_grid(self) -> None:
        for each in self.varied:
            if isinstance(each.values, Span):
                low, high = each.values.low, each.values.high
                raise InputError(
                    f"{each.option}: {low:g}..{high:g} has no number of values: "
                    f"must be {low:g}..{high:g}:COUNT, unless points are taken with --random"
                )
        if self.num_points > MAX_POINTS:
            raise InputError(
                f"--vary gives {self.num_points:,} points: must be at most {MAX_POINTS:,}: "
                "fewer values, or some of the points with --random"
            )

    def _check_choice(self, choice: Choice) -> None:
        if not 1 <= choice.count <= MAX_POINTS:
            raise InputError(f"--random is {choice.count}: must be 1 to {MAX_POINTS:,} points")
        if not any(isinstance(each.values, Span) for each in self.varied):
            total = prod(map(_count, self.varied))
            if choice.count > total:
                raise InputError(f"--random is {choice.count}: there are {total} points: must be at most as many")


@dataclass(frozen=True, slots=True)
class Point:
    """A point of a sweep: its number, its values, and its figures or why it has none.

    scenario_sha256: of the scenario that was evaluated. warnings: what may be wrong with it. origins: of the figures
    it is made of; None if they are to be worked out again.
    """

    number: int
    values: tuple[Any, ...]
    evaluation: Evaluation | None = None
    error: str | None = None
    scenario_sha256: str | None = None
    warnings: tuple[str, ...] = ()
    origins: tuple[Origin, ...] | None = None


def _count(varied: Varied) -> int:
    return 1 if isinstance(varied.values, Span) else len(varied.values)


def _drawn(varied: Varied, random: Random) -> Any:
    if isinstance(varied.values, Span):
        return float(f"{random.uniform(varied.values.low, varied.values.high):.{_DIGITS}g}")
    return varied.values[random.randrange(len(varied.values))]


def _entry(values: Sequence[Sequence[Any]], number: int) -> tuple[Any, ...]:
    """Entry `number` of the product of `values`, without making it."""
    entry = []
    for choices in reversed(values):
        number, index = divmod(number, len(choices))
        entry.append(choices[index])
    return tuple(reversed(entry))
