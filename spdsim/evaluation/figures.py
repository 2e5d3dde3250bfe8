"""Evaluating a scenario: how many replications, and the figures of what they gave."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, Any

import numpy as np

from spdsim import fast
from spdsim.acceptance import Acceptance, Replay
from spdsim.analysis.estimates import mean_of
from spdsim.analysis.report import Estimate
from spdsim.errors import InputError, ScenarioError, SpdError
from spdsim.evaluation.control import coin_control, controlled_ratio, rejection_control
from spdsim.evaluation.reference import reference_work
from spdsim.evaluation.runs import FastProducer, Path, Runs, producer_of
from spdsim.machine import Machine
from spdsim.scenario import Scenario, acceptance_of
from spdsim.simulation import header_of, plain_token_s, request_of
from spdsim.timing import machine_of
from spdsim.trace import ONE_DEVICE, PLAIN_PIPELINE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

MIN_SEQUENCES = 16
"""Sequences simulated before an interval is believed to be narrow."""

MAX_REPLICATIONS = 1000
"""Replications at most with a precision, unless the scenario or the caller has more."""

_MOST_GROWTH, _RESERVE = 4.0, 1.1

_IN_COMPANY = 128
"""Sequences that a scenario may ask for at a time when others wait for it: more are efficient by themselves."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The figures of a scenario, and how they were come by.

    Estimates are over whole sequences, with 95 % intervals where there is enough to tell them. Where the expected
    number of rejections is known they are told for it, and not for those that happened to be simulated; so is
    `tokens_per_cycle`, but not `measured_acceptance`. speedup: over the baseline of `spdsim simulate`.
    num_sequences: that were simulated. path: what simulated them. note: why that was not the fast path, or "".
    """

    time_per_token_s: Estimate
    tokens_per_s: Estimate
    time_to_first_token_s: Estimate
    speedup: Estimate | None
    tokens_per_cycle: float | None
    measured_acceptance: float | None
    num_sequences: int
    path: Path
    note: str


def evaluate(
    scenario: Scenario,
    *,
    precision: float | None = None,
    max_replications: int | None = None,
    machine: Machine | None = None,
) -> Evaluation:
    """Simulate `scenario` and return its figures.

    precision: half of the 95 % interval of the time per token, over the time itself, that is narrow enough. Then
    replications come in batches until it is reached or there are `max_replications` (the scenario's own number or
    `MAX_REPLICATIONS`, whichever is more); replication r is the same in any batch. Without a precision the scenario's
    replications are run. To stop once an interval looks narrow prefers intervals that are too narrow by chance:
    therefore no look is taken before `MIN_SEQUENCES` sequences, and each batch brings what the last look says is
    missing and a tenth more, at most four times as much as there is. A record holds no more than its sequences, which
    are simulated once. machine: the scenario's, if it has been worked out already.

    Raises ScenarioError for a scenario that breaks a rule, or decodes nothing after the first token, and InputError
    for a precision that is not positive.
    """
    machine = machine_of(scenario) if machine is None else machine
    subject = _Subject(scenario, machine, acceptance_of(scenario))
    return _evaluated(subject, precision, max_replications)


def evaluate_each(
    scenarios: Sequence[tuple[Scenario, Machine]],
    *,
    precision: float | None = None,
    max_replications: int | None = None,
) -> list[Evaluation | SpdError | None]:
    """Evaluate many scenarios, each with its machine, at a time: what `evaluate` returns or raises for each.

    What differs in numbers only is simulated together, which takes a fraction of the time. None stands for a scenario
    that gains nothing by company and is left to `evaluate`: it needs the engine, or many more sequences than it began
    with, for which the others should not wait.
    """
    found: list[Evaluation | SpdError | None] = [None] * len(scenarios)
    plans = fast.Plans()
    courses: dict[int, tuple[FastProducer, _Course]] = {}
    wanted: dict[int, tuple[int, int]] = {}

    def go_on(number: int, runs: Runs | None) -> None:
        """Give a course what it asked for; note what it asks for next, or what it has found."""
        try:
            first, last = courses[number][1].send(runs)
            if runs is None or (last - first) * scenarios[number][0].workload.sequences <= _IN_COMPANY:
                wanted[number] = first, last
        except StopIteration as end:
            found[number] = end.value
        except SpdError as error:
            found[number] = error

    for number, (scenario, machine) in enumerate(scenarios):
        subject = _Subject(scenario, machine, acceptance_of(scenario))
        try:
            producer, path, note = producer_of(scenario, machine, subject.model, plans)
        except SpdError as error:
            found[number] = error
            continue
        if isinstance(producer, FastProducer):
            courses[number] = producer, _course(subject, precision, max_replications, path, note)
            go_on(number, None)
    while wanted:
        asked, wanted = wanted, {}
        runs = FastProducer.runs_of_each([(courses[number][0], *both) for number, both in asked.items()])
        for number, each in zip(asked, runs, strict=True):
            go_on(number, each)
    return found


def evaluate_method(
    scenario: Scenario,
    machine: Machine,
    model: Acceptance,
    *,
    precision: float | None = None,
    max_replications: int | None = None,
) -> Evaluation:
    """Simulate the work of `scenario` on a machine of another method and return its figures, without a speedup.

    machine: with its schedule; model: which of its drafts are accepted. All else is as with `evaluate`.
    """
    return _evaluated(_Subject(scenario, machine, model, is_other=True), precision, max_replications)


def num_sequences(scenario: Scenario, precision: float | None) -> int:
    """Return how many sequences an evaluation simulates, or begins with where there is a precision."""
    per_replication = scenario.workload.sequences
    return per_replication * (scenario.replications if precision is None else ceil(MIN_SEQUENCES / per_replication))


@dataclass(frozen=True, slots=True)
class _Subject:
    """What is evaluated. is_other: a method that need not be SPD, and has no baseline of its own."""

    scenario: Scenario
    machine: Machine
    model: Acceptance
    is_other: bool = False


_Course = Generator[tuple[int, int], Any, Evaluation]
"""An evaluation under way: asks for replications (first, last + 1), is sent their runs, and returns the figures."""


def _evaluated(subject: _Subject, precision: float | None, max_replications: int | None) -> Evaluation:
    producer, path, note = producer_of(subject.scenario, subject.machine, subject.model)
    course = _course(subject, precision, max_replications, path, note)
    asked = next(course)
    while True:
        try:
            asked = course.send(producer.runs(*asked))
        except StopIteration as end:
            found: Evaluation = end.value
            return found


def _course(subject: _Subject, precision: float | None, max_replications: int | None, path: Path, note: str) -> _Course:
    scenario = subject.scenario
    if precision is None:
        runs = yield 0, scenario.replications
    else:
        most = max(scenario.replications, MAX_REPLICATIONS) if max_replications is None else max_replications
        runs = yield from _precise(subject, precision, most)
    if not (runs.num_tokens > 1).any():
        raise ScenarioError("nothing is decoded after the first token: outputs must have at least 2 tokens")
    return _figures(subject, runs, path, note)


def _precise(subject: _Subject, precision: float, most: int) -> Generator[tuple[int, int], Runs, Runs]:
    """Ask for as many replications as the precision takes, and return them."""
    if not 0.0 < precision < float("inf"):
        raise InputError(f"the precision is {precision:g}: must be a fraction greater than 0, such as 0.01")
    if most < 1:
        raise InputError(f"the largest number of replications is {most}: must be at least 1")
    per_replication, model = subject.scenario.workload.sequences, subject.model
    if isinstance(model, Replay):
        most = min(most, ceil(len(model.accepted) / per_replication))
    done = min(most, ceil(MIN_SEQUENCES / per_replication))
    runs = yield 0, done
    while done < most:
        share = _missing(subject, runs, precision)
        if share <= 1.0:
            break
        wanted = min(most, ceil(done * min(_MOST_GROWTH, share * _RESERVE)))
        runs = Runs.join((runs, (yield done, wanted)))
        done = wanted
    return runs


def _missing(subject: _Subject, runs: Runs, precision: float) -> float:
    """How many times as many sequences the precision takes, by the spread of those at hand."""
    steps, times_s = runs.steps, runs.times_s
    if not times_s.sum():
        return _MOST_GROWTH
    mean, low, _ = controlled_ratio(times_s, steps, _control(subject, runs), steps)
    return _MOST_GROWTH if low is None else ((mean - low) / (precision * mean)) ** 2


def _control(subject: _Subject, runs: Runs) -> "Floats | None":
    if not subject.machine.layout.tells_verdicts:
        # Not every token is drafted, or none is; then the coins explain nothing.
        scenario, machine, model = subject.scenario, subject.machine, subject.model
        coins = (request_of(scenario, machine, number, model).own_coins for number in range(len(runs)))
        return coin_control(model, coins, runs.num_tokens) if subject.is_other else None
    return rejection_control(subject.model, runs.num_tokens, runs.num_rejections)


def _figures(subject: _Subject, runs: Runs, path: Path, note: str) -> Evaluation:
    steps, times_s = runs.steps, runs.times_s
    control = _control(subject, runs)

    def estimate(numerators: "Floats", denominators: "Floats") -> Estimate:
        return Estimate(*controlled_ratio(numerators, denominators, control, steps))

    decoded = runs.num_tokens > 1
    takes_time = bool(times_s.sum() > 0.0)
    if not takes_time:
        raise ScenarioError("decoding takes no time at all: at least one duration must be greater than 0")
    tokens, cycles = np.where(decoded, runs.num_tokens, 0.0), runs.num_cycles.astype(np.float64)
    return Evaluation(
        time_per_token_s=estimate(times_s, steps),
        tokens_per_s=estimate(steps, times_s),
        time_to_first_token_s=Estimate(*mean_of(runs.begin_s - runs.prompt_at_s)),
        speedup=None if subject.is_other else estimate(_plain_s(subject.scenario, subject.machine, runs), times_s),
        tokens_per_cycle=estimate(tokens, cycles).mean,
        measured_acceptance=runs.measured_acceptance,
        num_sequences=len(runs), path=path, note=note,
    )  # fmt: skip


def _plain_s(scenario: Scenario, machine: Machine, runs: Runs) -> "Floats":
    """Seconds of plain decoding by sequence, with the headline's baseline of a report."""
    if machine.layout.num_stages == 1:
        return runs.times_s
    steps = runs.steps
    work = reference_work(scenario, machine, runs.num_tokens) if runs.plain is None else runs.plain
    if header_of(scenario, machine).baseline == PLAIN_PIPELINE:
        return work.times_s(steps, None)[PLAIN_PIPELINE]
    return work.times_s(steps, plain_token_s(scenario, machine))[ONE_DEVICE]
