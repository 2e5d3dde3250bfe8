"""The methods with several sequences in flight: which is fastest at which number of them, and where SPD stops paying.

Sequences are in flight all the time (a closed loop), so the tokens per second of all are their number over the time
per token of one: what is best for the one is best for the other.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import Any

from spdsim.analysis.concurrent import Together, mean_busy, mean_estimate, time_per_token, together
from spdsim.analysis.report import Estimate
from spdsim.engine import Engine, Request
from spdsim.errors import InputError, ScenarioError
from spdsim.machine import Machine
from spdsim.methods.concurrent import PLAIN, Arrangement, Share, arrangements, every_key, name_of, with_concurrency
from spdsim.methods.method import CannotBeHadError, Missing
from spdsim.scenario import Scenario
from spdsim.schedules import pipeline_shared, rounds_shared, spd_shared
from spdsim.simulation import header_of, request_of
from spdsim.trace import Trace

SEQUENCES = 8
"""Sequences that each method is simulated with at each number in flight, unless a run has more."""

_TRIAL_TOKENS = 64
"""Tokens of the runs by which the ways of a method are chosen from."""

_MOST = 1024


@dataclass(frozen=True, slots=True)
class Cell:
    """A method with `sequences` in flight, arranged in the best of its ways.

    time_per_token_s: of one sequence. tokens_per_s: of all. busy_fraction: of each worker of its fullest share.
    """

    sequences: int
    arrangement: Arrangement
    time_per_token_s: Estimate
    tokens_per_s: Estimate
    busy_fraction: tuple[float, ...]

    @property
    def key(self) -> str:
        """The method's key."""
        return self.arrangement.key


@dataclass(frozen=True, slots=True)
class Turn:
    """Up to how many sequences in flight SPD is ahead of some other methods.

    last: the largest number at which it is, of those looked at without a gap; None: at none. first_lost: the next
    number, at which `winner` is ahead; None: SPD is ahead at all.
    """

    rivals: str
    last: int | None
    first_lost: int | None
    winner: str | None


@dataclass(frozen=True, slots=True)
class Concurrency:
    """Methods by numbers of sequences in flight. cells: of those that can be had; missing: at which number, and why."""

    numbers: tuple[int, ...]
    keys: tuple[str, ...]
    cells: tuple[Cell, ...]
    missing: tuple[tuple[int, Missing], ...]
    turns: tuple[Turn, ...]

    def cell(self, key: str, sequences: int) -> Cell | None:
        """Return a method's cell at a number of sequences; None if it cannot be had there."""
        return next((cell for cell in self.cells if cell.key == key and cell.sequences == sequences), None)

    def best(self, sequences: int) -> Cell | None:
        """Return the fastest method at a number of sequences; None if none can be had."""
        found = [cell for cell in self.cells if cell.sequences == sequences]
        return min(found, key=lambda cell: cell.time_per_token_s.mean, default=None)


def numbers_of(text: str) -> tuple[int, ...]:
    """Return the numbers of sequences that an option names: "1,2,4", or "1..32", which doubles: 1, 2, 4, … 32.

    Raises InputError, one line, for anything else.
    """
    numbers: list[int] = []
    for part in text.split(","):
        first, dots, last = part.partition("..")
        try:
            low, high = int(first), int(last if dots else first)
        except ValueError:
            low = high = 0
        if not 1 <= low <= high <= _MOST:
            raise InputError(f"--concurrency is {text}: must be numbers from 1 to {_MOST}, such as 1,2,4 or 1..32")
        while low < high:
            numbers.append(low)
            low *= 2
        numbers.append(high)
    return tuple(sorted(set(numbers)))


def compare_concurrency(
    scenario: Scenario,
    numbers: Sequence[int],
    *,
    keys: Sequence[str] | None = None,
    num_sequences: int = SEQUENCES,
    progress: Callable[[int, int], None] | None = None,
) -> Concurrency:
    """Return every method, or those of `keys`, with each number of sequences in flight.

    num_sequences: that are simulated at least of each. progress: called with (cells done, cells in all). Between two
    of the numbers, the one at which SPD falls behind is searched for. Raises InputError for a key that there is not,
    and ScenarioError where lengths are drawn, for sequences of several lengths do not stay in flight together.
    """
    if not isinstance(scenario.workload.new_tokens, int):
        raise ScenarioError("workload.new_tokens is a distribution: must be a number with several sequences in flight")
    if scenario.workload.new_tokens < 2:
        raise ScenarioError("workload.new_tokens is 1: must be at least 2, or nothing is decoded after the first token")
    wanted = tuple(every_key() if keys is None else dict.fromkeys(keys))
    for key in wanted:
        name_of(key)
    table = _Table(with_concurrency(scenario, 1), num_sequences)
    for done, (number, key) in enumerate((number, key) for number in numbers for key in wanted):
        if progress is not None:
            progress(done, len(numbers) * len(wanted))
        table.look(key, number)
    turns = tuple(table.turns(wanted, numbers))
    cells = tuple(cell for cell in table.cells.values() if isinstance(cell, Cell))
    missing = tuple((at, cell) for (_, at), cell in table.cells.items() if isinstance(cell, Missing) and at in numbers)
    return Concurrency(tuple(numbers), wanted, cells, missing, turns)


class _Table:
    """The cells that have been worked out."""

    def __init__(self, scenario: Scenario, num_sequences: int) -> None:
        self._scenario, self._num_sequences = scenario, num_sequences
        self.cells: dict[tuple[str, int], Cell | Missing] = {}

    def look(self, key: str, number: int) -> Cell | Missing:
        """Return a cell, working it out if need be."""
        if (key, number) not in self.cells:
            self.cells[key, number] = self._work_out(key, number)
        return self.cells[key, number]

    def _work_out(self, key: str, number: int) -> Cell | Missing:
        try:
            ways = list(arrangements(self._scenario, key, number))
        except CannotBeHadError as error:
            return Missing(key, name_of(key), str(error))
        if len(ways) > 1:
            trials = (simulated(self._scenario, way, 1, _TRIAL_TOKENS).time_per_token_s.mean for way in ways)
            times_s = list(trials)
            ways = [ways[times_s.index(min(times_s))]]
        return simulated(self._scenario, ways[0], max(1, ceil(self._num_sequences / number)))

    def turns(self, keys: Sequence[str], numbers: Sequence[int]) -> Iterable[Turn]:
        """Yield how far SPD is ahead of the plain methods, and of those that draft otherwise."""
        spd = [key for key in keys if key.startswith("spd")]
        plain = [key for key in keys if key in PLAIN]
        others = [key for key in keys if key not in PLAIN and key not in spd]
        for rivals, of_them in (("plain", plain), ("other drafts", others)):
            if any(self._best(spd, number) for number in numbers) and any(self._best(of_them, n) for n in numbers):
                yield self._turn(rivals, spd, of_them, numbers)

    def _turn(self, rivals: str, spd: Sequence[str], others: Sequence[str], numbers: Sequence[int]) -> Turn:
        last: int | None = None
        for number in numbers:
            if self._is_ahead(spd, others, number):
                last = number
                continue
            if last is None:
                return Turn(rivals, None, number, self._winner(others, number))
            # Bisected with the methods that count at either end only.
            spd_ends = {cell.key for at in (last, number) if (cell := self._best(spd, at))}
            other_ends = {cell.key for at in (last, number) if (cell := self._best(others, at))}
            low, high = last, number
            while high - low > 1:
                middle = (low + high) // 2
                is_ahead = self._is_ahead(sorted(spd_ends), sorted(other_ends), middle)
                low, high = (middle, high) if is_ahead else (low, middle)
            return Turn(rivals, low, high, self._winner(sorted(other_ends), high))
        return Turn(rivals, last, None, None)

    def _is_ahead(self, spd: Sequence[str], others: Sequence[str], number: int) -> bool:
        ours, theirs = self._best(spd, number), self._best(others, number)
        if ours is None or theirs is None:
            return ours is not None
        return ours.time_per_token_s.mean < theirs.time_per_token_s.mean

    def _winner(self, keys: Sequence[str], number: int) -> str | None:
        cell = self._best(keys, number)
        return None if cell is None else cell.key

    def _best(self, keys: Sequence[str], number: int) -> Cell | None:
        found = [cell for key in keys if isinstance(cell := self.look(key, number), Cell)]
        return min(found, key=lambda cell: cell.time_per_token_s.mean, default=None)


def simulated(scenario: Scenario, way: Arrangement, num_runs: int, max_tokens: int | None = None) -> Cell:
    """Return the figures of a way of a method, from runs of all its sequences; of `max_tokens` at most."""
    number = sum(share.copies * share.sequences for share in way.shares)
    by_share = [[together_of(scenario, way, share, run, max_tokens) for run in range(num_runs)] for share in way.shares]
    if len(way.shares) == 1:
        time_s = time_per_token(by_share[0])
    else:
        # Shares have sequences of different speed: what they give in a second adds up, run by run.
        loads = [share.copies * share.sequences for share in way.shares]
        time_s = mean_estimate([
            number / sum(load / run.time_per_token_s for load, run in zip(loads, runs, strict=True))
            for runs in zip(*by_share, strict=True)
        ])  # fmt: skip
    return Cell(number, way, time_s, _inverse(number, time_s), mean_busy(by_share[0]))


def _inverse(number: int, time_s: Estimate) -> Estimate:
    low = None if time_s.high is None else number / time_s.high
    high = None if time_s.low is None or time_s.low <= 0.0 else number / time_s.low
    return Estimate(number / time_s.mean, low, high)


def together_of(
    scenario: Scenario, way: Arrangement, share: Share, run: int, max_tokens: int | None = None
) -> Together:
    """Return the figures of one run of a share of a method."""
    trace, stride = trace_of(scenario, way, share, run, max_tokens)
    return together(trace, 0, share.shown, stride)


def trace_of(
    scenario: Scenario, way: Arrangement, share: Share, run: int, max_tokens: int | None = None
) -> tuple[Trace, int]:
    """Return the trace of one run, one sequence in it, and the numbers that each of the sequences in flight has.

    Run r has the sequences from r times their number on, which are decided by the same random numbers in all methods.
    """
    machine, shown = share.machine, share.shown
    is_of_one = _is_of_one(machine)
    header = replace(header_of(scenario, machine), method=way.key)
    trace = Trace(header if is_of_one else replace(header, concurrency=shown))
    numbers = range(run * share.sequences, run * share.sequences + shown)
    requests = [request_of(scenario, machine, number, way.acceptance) for number in numbers]
    num_tokens = min(request.num_tokens for request in requests)
    num_tokens = num_tokens if max_tokens is None else min(num_tokens, max_tokens)
    coins: Any = tuple(request.coins for request in requests)
    Engine(machine, trace, scenario.seed).decode(Request(numbers[0], num_tokens, coins[0] if is_of_one else coins))
    state = machine.schedule.start(machine.layout, num_tokens)
    return trace, num_tokens + 1 if is_of_one else state.stride


def _is_of_one(machine: Machine) -> bool:
    """Whether the schedule is one for a single sequence."""
    shared = (spd_shared.Layout, pipeline_shared.Layout, rounds_shared.Layout)
    return not isinstance(machine.layout, shared)


__all__ = ["Cell", "Concurrency", "Turn", "compare_concurrency", "numbers_of", "simulated", "trace_of"]
