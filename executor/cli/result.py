"""What came of a run: the figures, what they rest on, and what people should know beside them."""

from collections.abc import Iterator
from dataclasses import dataclass

from executor.cli.narrator import Narrator
from executor.events import Outcome, RankReport
from executor.plan import JobResult, Plan
from executor.planning import Run
from executor.summary import Figures, figures
from spdsim.scenario.placement import place
from spdsim.scenario.profile import Profile
from spdsim.scenario.times import ProfileTimes

_HARDLY_ANY = 0.1


@dataclass(frozen=True, slots=True)
class Result:
    """A run and what came of it.

    devices: of each worker, as they are called. load_s: how long worker 0 took to be ready; None: it never was.
    results: of the jobs that ended. tokens, verdicts: of every job, as far as it came; the first verdict is y_1's.
    reports: of every rank.
    error: what ended the run early; None: it is complete.
    """

    run: Run
    devices: tuple[str, ...]
    load_s: float | None
    results: tuple[JobResult, ...]
    tokens: tuple[tuple[int, ...], ...]
    verdicts: tuple[tuple[bool, ...], ...]
    reports: tuple[RankReport, ...]
    figures: Figures
    error: str | None = None

    @classmethod
    def of(cls, run: Run, narrator: Narrator, outcome: Outcome | None, error: str | None = None) -> "Result":
        """Put together what `narrator` was told and, if the run came to its end, what the ranks reported."""
        results = tuple(narrator.results) if outcome is None else outcome.results
        plan = run.plan
        # Which tokens an emulated target says is invented, and sampling may draw others where drafts have a law.
        must_agree = plan.emulated is None and not plan.uses_rejection
        return cls(
            run=run,
            devices=_devices(run, narrator),
            load_s=None if narrator.ready is None else narrator.ready.load_s,
            results=results,
            tokens=tuple(tuple(tokens) for tokens in narrator.tokens),
            verdicts=tuple(tuple(verdicts) for verdicts in narrator.verdicts),
            reports=() if outcome is None else outcome.reports,
            figures=figures(plan.layout, run.jobs, results, must_agree=must_agree),
            error=error,
        )

    @property
    def is_emulated(self) -> bool:
        """Whether durations were slept through rather than computed."""
        return self.run.plan.emulated is not None

    @property
    def is_forced(self) -> bool:
        """Whether it was decreed which drafts are right."""
        return self.run.plan.draft.forced is not None

    @property
    def num_devices(self) -> int:
        """Devices that workers are on."""
        return len(set(self.devices))

    @property
    def unfinished(self) -> int | None:
        """The number of the job that had begun and did not end; None if there is none."""
        number = len(self.results)
        return number if number < len(self.tokens) and self.tokens[number] else None

    @property
    def shares_process(self) -> bool:
        """Whether all workers are computed by one processor in turn, so that nothing overlaps."""
        plan = self.run.plan
        return plan.backend == "local" and plan.device == "cpu" and not self.is_emulated

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is wrong with the figures, a line each."""
        return tuple(_warnings(self))

    @property
    def notes(self) -> tuple[str, ...]:
        """What people should know to read the figures, a line each."""
        return (*self.run.notes, *_notes(self))

    @property
    def hints(self) -> tuple[str, ...]:
        """What would change the figures, a line each."""
        return tuple(_hints(self))


def _devices(run: Run, narrator: Narrator) -> tuple[str, ...]:
    plan = run.plan
    if plan.emulated is not None:
        return tuple(plan.emulated.devices[worker.device] for worker in plan.emulated.workers)
    if narrator.ready is not None:
        return narrator.ready.devices
    return tuple(f"{plan.device} {worker.device}" for worker in place(plan.scenario))


def _warnings(result: Result) -> Iterator[str]:
    found = result.figures
    if result.error is not None:
        yield "the run ended early: figures are of the sequences that were done until then"
    if found.differences:
        first = found.differences[0]
        where = f"position {first.position} of sequence {first.sequence}"
        yield f"the tokens are not those of plain decoding from {where} on, as they must be"


def _notes(result: Result) -> Iterator[str]:
    plan = result.run.plan
    if result.is_emulated:
        yield f"nothing was computed: workers waited as long as the profile says{_origin(plan)}; tokens were invented"
    elif plan.model.directory is None:
        yield "the model has random weights: what it writes means nothing"


def _origin(plan: Plan) -> str:
    """How the durations of an emulated run are known."""
    match plan.scenario.timing:
        case ProfileTimes(profile=Profile(origin=origin, source=source)):
            return f" ({origin}: {source})" if source else f" ({origin})"
        case _:
            return ""


def _hints(result: Result) -> Iterator[str]:
    plan, acceptance = result.run.plan, result.figures.acceptance_probability
    is_random = plan.has_module_drafts and plan.draft.checkpoint is None
    if is_random and acceptance is not None and acceptance < _HARDLY_ANY:
        yield (
            "the draft module has random weights, so hardly any draft is right: train one "
            "(--draft CHECKPOINT) or force the acceptance (--draft forced:p=0.8)"
        )
    if plan.draft.is_free:
        yield "no draft module runs: no draft that is accepted as often could bring more"
    if result.shares_process and plan.layout.num_stages > 1:
        yield "all workers take turns in one process, so nothing overlaps: --backend socket gives each its own"
