"""The best design for some devices: what `spdsim plan` tells.

Every design is ranked by one short run with chosen verdicts; the best few get their cuts improved a layer at a time,
and are then simulated side by side until their order is certain.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from spdsim.acceptance import mean_acceptance
from spdsim.analysis.report import Estimate
from spdsim.choice.compare import Row, compare
from spdsim.choice.crossover import with_acceptance
from spdsim.choice.plan_design import Design, design_of, with_design
from spdsim.choice.plan_pace import Pace, pace_of
from spdsim.choice.plan_race import Runner, is_tie, race, sureness
from spdsim.choice.plan_reason import Reason, reason_of
from spdsim.choice.plan_space import Space, has_whole_stages
from spdsim.errors import InputError, ScenarioError
from spdsim.methods import METHODS
from spdsim.scenario import Scenario, acceptance_of
from spdsim.scenario.acceptance import ByStages
from spdsim.scenario.memory import device_bytes, fits
from spdsim.timing import machine_of

PRECISION = 0.01
"""Half of the 95 % interval of the time per token, over the time, unless asked otherwise."""

_WITHIN = 1.15
"""Designs as slow as this, over the best, are worth improving: more than a better cut was seen to win."""

_MOST_IMPROVED, _MOST_TRIES = 8, 400
_STEPS = (2, 1)
"""Layers that an improvement moves at once."""

_BESIDE_TOP = 3
"""Designs that are simulated beside those asked for, in case the ranking errs."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Ranked:
    """A design with its figures. replications: simulated. speedups: None where there is nothing to compare with.

    surely: the probability that it is faster than the next one simulated; is_tie: the two do not differ by what
    matters. flags: what its figures take for granted. is_written: it is the scenario as it was.
    """

    design: Design
    scenario: Scenario
    time_per_token_s: Estimate
    estimate_s: float
    speedup: Estimate | None
    speedup_over_plain: Estimate | None
    device_bytes: int
    replications: int
    surely: float | None
    is_tie: bool
    flags: tuple[str, ...]
    warnings: tuple[str, ...]
    is_written: bool

    @property
    def tokens_per_s(self) -> float:
        """Tokens per second."""
        return 1.0 / self.time_per_token_s.mean


@dataclass(frozen=True, slots=True)
class Robust:
    """The best design if drafts were accepted with probability `acceptance` only, and what the first design takes then.

    stays: the first design is the best there too. time_per_token_s: of the best there; first_s: of the first design.
    """

    acceptance: float
    design: Design
    scenario: Scenario
    time_per_token_s: float
    first_s: float
    surely: float
    stays: bool


@dataclass(frozen=True, slots=True)
class Searched:
    """What was looked at. infeasible: designs that cannot be had, by reason; improved: cuts tried beside the first.

    estimate_error: of the ranking, over the time, the most among those simulated; unseen: by how much the best design
    that was not simulated is slower than the first by its estimate; None if all were. kept: what was left as written.
    """

    num_designs: int
    infeasible: Mapping[str, int]
    improved: int
    num_simulated: int
    num_sequences: int
    estimate_error: float
    unseen: float | None
    kept: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """The best designs, the fastest first; none with one device, which decodes plainly.

    written: the scenario as it was, simulated beside them, and its time; None where it cannot be had. surely: the
    probability that the first is the fastest of all that were simulated.
    """

    best: tuple[Ranked, ...]
    scenario: Scenario
    written_s: Estimate | None
    plain: Row | None
    surely: float | None
    searched: Searched
    robust: Robust | None
    reason: Reason | None


def plan(
    scenario: Scenario, *, is_feasible: bool = True, top: int = 5, precision: float = PRECISION,
    min_acceptance: float | None = None, progress: Progress | None = None,
) -> Plan:  # fmt: skip
    """Return the best designs for the scenario's devices and its work.

    is_feasible: whether the scenario can be had as it is written; if not there is no speedup over it. min_acceptance:
    also the best design if only so many drafts were accepted. progress: called with (steps done, steps in all).
    Raises InputError where no design can be had: it tells the nearest one and what it lacks.
    """
    space = Space(scenario)
    ranking = _Ranking(scenario, space, progress)
    plain = None if has_whole_stages(scenario) else _best_plain(scenario, precision)
    if scenario.devices.count == 1 or scenario.model.num_layers == 1:
        if plain is None:
            raise InputError(_no_plain(scenario))
        return Plan((), scenario, None, plain, None, ranking.searched((), 0), None, None)
    if not ranking.paces:
        devices = f"{scenario.devices.count} {scenario.devices.gpu.name}"
        raise InputError(f"no design can be had on {devices}: {space.lack()}")
    ranking.improve(ranking.rejection)
    runners = [ranking.runner(design) for design in ranking.first(top + _BESIDE_TOP)]
    written = _written(scenario, ranking, runners) if is_feasible and scenario.partition.stages > 1 else None
    if written is not None and written not in runners:
        runners.append(written)
    found = race(runners, top, precision, ranking.simulated)
    designs = [runner for runner in found if runner.design is not None]
    robust = None if min_acceptance is None else _robust(ranking, designs[0], min_acceptance, precision)
    best = tuple(
        _ranked(scenario, runner, designs[index + 1] if index + 1 < len(designs) else None, written, plain)
        for index, runner in enumerate(designs[:top])
    )
    first, others = designs[0], [runner for runner in found if runner is not designs[0]]
    surely = max(0.0, 1.0 - sum(1.0 - sureness(first, other) for other in others))
    reason = None if written is None or written is first else reason_of(scenario, first.scenario)
    return Plan(
        best, scenario, None if written is None else written.time_s, plain, surely,
        ranking.searched(found, sum(r.num_replications for r in found) * scenario.workload.sequences), robust, reason,
    )  # fmt: skip


class _Ranking:
    """Every design with its pace. A pace holds whatever the acceptance is, to first order."""

    def __init__(self, scenario: Scenario, space: Space, progress: Progress | None) -> None:
        self.scenario, self.space = scenario, space
        self.paces: dict[Design, Pace] = {}
        self.num_designs, self.improved = 0, 0
        self._progress = progress
        self._tries = 0
        for design in space.designs():
            self.num_designs += 1
            if design is not None:
                self._tell(self.num_designs)
                try:
                    self.pace(design)
                except ScenarioError as error:
                    space.infeasible[str(error)] += 1

    def pace(self, design: Design) -> Pace:
        """Return the pace of a design, and keep it. Raises ScenarioError if it cannot be had."""
        if design not in self.paces:
            scenario = with_design(self.scenario, design)
            machine = machine_of(scenario)
            workload = scenario.workload
            middle = workload.prompt_tokens + workload.max_new_tokens // 2
            self.paces[design] = pace_of(machine, scenario.seed, 1.0 - self.rejection(design), middle)
        return self.paces[design]

    def rejection(self, design: Design) -> float:
        """Return how often a draft of the design is rejected."""
        scenario = with_design(self.scenario, design)
        capacity = design.stages + design.verification_lag
        return 1.0 - mean_acceptance(acceptance_of(scenario), capacity)

    def time_s(self, design: Design, rejection: Callable[[Design], float]) -> float:
        """Return the estimate of a design's seconds per token."""
        return self.paces[design].time_per_token_s(rejection(design), self.scenario.workload.max_new_tokens)

    def first(self, count: int, rejection: Callable[[Design], float] | None = None) -> list[Design]:
        """Return the best designs, one for each way to place them: the best cut of each."""
        told = self.rejection if rejection is None else rejection
        best: dict[Design, Design] = {}
        for design in sorted(self.paces, key=lambda each: (round(self.time_s(each, told), 15), each.simplicity)):
            best.setdefault(replace(design, layers=()), design)
        return list(best.values())[:count]

    def improve(self, rejection: Callable[[Design], float]) -> None:
        """Move layers from stage to stage in the best designs, as long as that makes them faster."""
        if has_whole_stages(self.scenario):
            return
        self._tries = self.improved + _MOST_TRIES
        candidates = self.first(_MOST_IMPROVED, rejection)
        most_s = _WITHIN * self.time_s(candidates[0], rejection) if candidates else 0.0
        for design in candidates:
            if self.time_s(design, rejection) <= most_s:
                self._climb(design, rejection)

    def _climb(self, design: Design, rejection: Callable[[Design], float]) -> None:
        for step in _STEPS:
            is_better = True
            while is_better:
                is_better = False
                for moved in _moves(design, step):
                    if self.improved >= self._tries:
                        return
                    if not fits(with_design(self.scenario, moved)):
                        continue
                    self.improved += moved not in self.paces
                    self.pace(moved)
                    if self.time_s(moved, rejection) < self.time_s(design, rejection) * (1.0 - 1e-9):
                        design, is_better = moved, True
                        break
                self._tell(self.num_designs)

    def runner(self, design: Design, scenario: Scenario | None = None) -> Runner:
        """Return a design to be simulated, on another scenario than its own if one is given."""
        return Runner.of(design, with_design(scenario or self.scenario, design), self.time_s(design, self.rejection))

    def simulated(self, num_sequences: int) -> None:
        """Say that so many sequences are simulated."""
        self._tell(self.num_designs + num_sequences)

    def searched(self, found: Sequence[Runner], num_sequences: int) -> Searched:
        """Return what was looked at."""
        designs = [runner for runner in found if runner.design is not None]
        off = [abs(runner.estimate_s / runner.time_s.mean - 1.0) for runner in designs]
        seen = {replace(runner.design, layers=()) for runner in designs if runner.design is not None}
        others = [each for each in self.first(len(self.paces)) if replace(each, layers=()) not in seen]
        unseen = self.time_s(others[0], self.rejection) / designs[0].estimate_s - 1.0 if others and designs else None
        return Searched(
            self.num_designs, dict(sorted(self.space.infeasible.items())), self.improved, len(found), num_sequences,
            max(off, default=0.0), unseen, tuple(self.space.kept),
        )  # fmt: skip

    def _tell(self, done: int) -> None:
        if self._progress is not None:
            total = 3 * max(self.num_designs, 100)
            self._progress(min(done, total - 1), total)


def _moves(design: Design, step: int) -> Iterable[Design]:
    """Yield the design with `step` layers moved from one stage to another."""
    for source in range(design.stages):
        for to in range(design.stages):
            if source != to and design.layers[source] > step:
                layers = list(design.layers)
                layers[source] -= step
                layers[to] += step
                yield replace(design, layers=tuple(layers))


def _written(scenario: Scenario, ranking: _Ranking, runners: Sequence[Runner]) -> Runner:
    """Return the scenario as written: one of the runners if its design is, or else one of its own."""
    design = design_of(scenario)
    if scenario.devices.workers is None:
        for runner in runners:
            if runner.design == design:
                return runner
    return Runner.of(None, scenario, 0.0)


def _ranked(
    scenario: Scenario, runner: Runner, behind: Runner | None, written: Runner | None, plain: Row | None
) -> Ranked:
    assert runner.design is not None
    time_s = runner.time_s
    over = None
    if plain is not None:
        plain_s = plain.figures.time_per_token_s.mean
        low, high = (None if bound is None else plain_s / bound for bound in (time_s.high, time_s.low))
        over = Estimate(plain_s / time_s.mean, low, high)
    return Ranked(
        design=runner.design, scenario=runner.scenario, time_per_token_s=time_s, estimate_s=runner.estimate_s,
        speedup=None if written is None else runner.over(written), speedup_over_plain=over,
        device_bytes=max(device_bytes(runner.scenario)), replications=runner.num_replications,
        surely=None if behind is None else sureness(runner, behind),
        is_tie=behind is not None and is_tie(runner, behind),
        flags=flags_of(scenario, runner.design), warnings=runner.machine.warnings, is_written=runner is written,
    )  # fmt: skip


def _robust(ranking: _Ranking, first: Runner, acceptance: float, precision: float) -> Robust:
    """Return the best design at another acceptance; the paces stay, and the best few are simulated there.

    With the draft module that the first has: one acceptance for all depths would make the least of them the best.
    """

    def rejection(_: Design) -> float:
        return 1.0 - acceptance

    assert first.design is not None
    ranking.improve(rejection)
    scenario = with_acceptance(ranking.scenario, acceptance)
    depth = first.design.draft_layers
    others = [each for each in ranking.first(len(ranking.paces), rejection) if each.draft_layers == depth]
    designs = list(dict.fromkeys([*others[: 1 + _BESIDE_TOP], first.design]))
    runners = [ranking.runner(design, scenario) for design in designs]
    found = race(runners, 1, precision)
    best, stays = found[0], found[0].design == first.design
    there = next(runner for runner in found if runner.design == first.design)
    assert best.design is not None
    return Robust(
        acceptance, best.design, best.scenario, best.time_s.mean, there.time_s.mean,
        1.0 if stays else sureness(best, there), stays,
    )  # fmt: skip


def _best_plain(scenario: Scenario, precision: float) -> Row | None:
    keys = [entry.key for entry in METHODS if entry.is_plain]
    return next(iter(compare(scenario, keys=keys, precision=precision).rows), None)


def _no_plain(scenario: Scenario) -> str:
    missing = compare(scenario, keys=["plain"]).missing[0]
    return f"one device is plain decoding, which cannot be had: {missing.reason}"


def flags_of(written: Scenario, design: Design) -> tuple[str, ...]:
    """Return what a design's figures take for granted of its acceptance, a few words each."""
    before = design_of(written)
    match written.acceptance:
        case ByStages(p=table):
            if not min(table) <= design.stages <= max(table):
                return (f"acceptance told for {min(table)} to {max(table)} stages",)
            return ()
        case _ if before.stages == 1:
            return ("acceptance told without a number of stages",)
        case _ if design.stages != before.stages:
            return (f"acceptance told for {before.stages} stages",)
        case _ if design.layers != before.layers:
            return ("acceptance told for another cut",)
        case _:
            return ()
