"""Where the answer changes: the acceptance at which SPD overtakes the next best, the latency that makes it lose."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from spdsim.choice.compare import Ranking
from spdsim.errors import ScenarioError
from spdsim.evaluation import evaluate_method
from spdsim.methods import Method, Missing, methods_of
from spdsim.scenario import Scenario
from spdsim.scenario.acceptance import Bernoulli

Quantity = Literal["acceptance", "link_latency"]

_SEQUENCES = 8
"""Sequences in which both methods are simulated at each step of a search; both see the same coins."""

_MOST_LATENCY_S = 0.1
_STEPS = 24
_CLOSE = 1e-6
"""A difference of times that counts as none, over the one between the ends of the search."""


@dataclass(frozen=True, slots=True)
class Crossover:
    """The value of a quantity at which two methods take the same time per token.

    value: None where one of them wins at every value that was looked at; `winner` is then that one's key. `other` is
    compared with `spd`, a variant of SPD. now: the value in the scenario.
    """

    quantity: Quantity
    spd: str
    other: str
    now: float | None
    value: float | None
    winner: str


def crossovers(scenario: Scenario, ranking: Ranking) -> tuple[Crossover, ...]:
    """Return where SPD, the best variant, and the best other method change places; nothing if there are not both."""
    spd, other = ranking.best(is_spd=True), ranking.best(is_spd=False)
    if spd is None or other is None:
        return ()
    found = [_of_acceptance(scenario, spd.method, other.method)]
    if scenario.links.intra_node is not None or scenario.links.inter_node is not None:
        found += _of_latency(scenario, spd.method, other.method)
    return tuple(found)


def _of_acceptance(scenario: Scenario, spd: Method, other: Method) -> Crossover:
    """The other method stays as it is: its acceptance is that of other drafts."""
    other_s = _time_s(scenario, other.key)

    def ahead_s(p: float) -> float:
        return other_s - _time_s(with_acceptance(scenario, p), spd.key)

    now = getattr(scenario.acceptance, "p", None)
    value, winner = _root(ahead_s, 0.0, 1.0)
    return Crossover(
        "acceptance", spd.key, other.key, now if isinstance(now, float) else None, value,
        winner_of(winner, spd, other),
    )  # fmt: skip


def _of_latency(scenario: Scenario, spd: Method, other: Method) -> list[Crossover]:
    """Every link's latency at once; what a published table says of an all-reduce does not change with it.

    Nothing where no time depends on it: a profile may have the messages' own.
    """

    def behind_s(latency_s: float) -> float:
        changed = with_latency(scenario, latency_s)
        return _time_s(changed, spd.key) - _time_s(changed, other.key)

    link = scenario.links.intra_node or scenario.links.inter_node
    assert link is not None
    if behind_s(0.0) == behind_s(_MOST_LATENCY_S):
        return []
    value, winner = _root(behind_s, 0.0, _MOST_LATENCY_S)
    return [Crossover("link_latency", spd.key, other.key, link.latency_s, value, winner_of(-winner, spd, other))]


def winner_of(sign: float, spd: Method, other: Method) -> str:
    """Return the key of SPD for a positive sign, else that of the other method."""
    return spd.key if sign > 0.0 else other.key


def with_acceptance(scenario: Scenario, p: float) -> Scenario:
    """Return the scenario with every draft of SPD accepted with probability `p`."""
    return scenario.model_copy(update={"acceptance": Bernoulli(kind="bernoulli", p=p)})


def with_latency(scenario: Scenario, latency_s: float) -> Scenario:
    """Return the scenario with this latency on every link."""
    links = scenario.links
    changed = {
        name: link.model_copy(update={"latency_s": latency_s})
        for name in ("intra_node", "inter_node")
        if (link := getattr(links, name)) is not None
    }
    return scenario.model_copy(update={"links": links.model_copy(update=changed)})


def _time_s(scenario: Scenario, key: str) -> float:
    method = next(iter(methods_of(scenario, (key,))))
    if isinstance(method, Missing):
        raise ScenarioError(f"{key}: {method.reason}")
    few = scenario.model_copy(update={"replications": max(1, _SEQUENCES // scenario.workload.sequences)})
    return evaluate_method(few, method.machine, method.acceptance).time_per_token_s.mean


def _root(rising: Callable[[float], float], low: float, high: float) -> tuple[float | None, float]:
    """Return where a function that rises is zero, or None, and its sign at the end that decides if it is nowhere."""
    at_low, at_high = rising(low), rising(high)
    if at_low >= 0.0:
        return None, at_low or 1.0
    if at_high < 0.0:
        return None, at_high
    span_s = at_high - at_low
    middle, last = high, 0
    for _ in range(_STEPS):
        # The chord's zero; an end that stays twice counts half, so that both ends move (the Illinois method).
        middle = low - at_low * (high - low) / (at_high - at_low)
        at_middle = rising(middle)
        if at_middle < 0.0:
            low, at_low = middle, at_middle
            at_high = at_high / 2.0 if last < 0 else at_high
            last = -1
        else:
            high, at_high = middle, at_middle
            at_low = at_low / 2.0 if last > 0 else at_low
            last = 1
        if abs(at_middle) <= _CLOSE * abs(span_s) or high - low <= 1e-9:
            break
    return middle, 1.0
