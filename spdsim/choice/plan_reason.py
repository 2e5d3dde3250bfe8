"""Why one design beats another: the same waterfall of both, step by step, whose ratios multiply to the speedup."""

from dataclasses import dataclass

from spdsim.analysis.report import Report
from spdsim.analysis.summary import summarize
from spdsim.scenario import Scenario
from spdsim.simulation import simulate

PLAIN, STAGES = "plain_token", "stages"
"""Before the waterfall's steps: a token one stage after another, and how many stages work on it at a time."""

_SEQUENCES = 8


@dataclass(frozen=True, slots=True)
class ReasonStep:
    """A step of both waterfalls. factor: by how much the design is faster for it.

    before, after: of the other and of the design: seconds of `plain_token`, the number of `stages`, else the factor by
    which the step changes the speedup.
    """

    step: str
    before: float
    after: float
    factor: float


@dataclass(frozen=True, slots=True)
class Reason:
    """The steps from another design to the best, which multiply to `factor`, the speedup in these few sequences."""

    steps: tuple[ReasonStep, ...]
    factor: float
    num_sequences: int


def reason_of(other: Scenario, best: Scenario) -> Reason | None:
    """Return why `best` is as much faster than `other` as it is; None where a waterfall has nothing to take apart."""
    before, after = _report(other), _report(best)
    if not before.waterfall or not after.waterfall or before.time_per_token_s is None or after.time_per_token_s is None:
        return None
    plain_s = [_plain_token_s(report) for report in (before, after)]
    steps = [
        ReasonStep(PLAIN, plain_s[0], plain_s[1], plain_s[0] / plain_s[1]),
        ReasonStep(STAGES, before.num_stages, after.num_stages, after.num_stages / before.num_stages),
    ]
    for was, becomes in zip(before.waterfall, after.waterfall, strict=True):
        steps.append(ReasonStep(was.step, was.factor, becomes.factor, becomes.factor / was.factor))
    factor = before.time_per_token_s.mean / after.time_per_token_s.mean
    return Reason(tuple(steps), factor, after.num_sequences)


def _plain_token_s(report: Report) -> float:
    """Seconds of a token of plain decoding that the waterfall's last speedup is over."""
    assert report.time_per_token_s is not None
    return report.time_per_token_s.mean * report.waterfall[-1].speedup_after


def _report(scenario: Scenario) -> Report:
    few = min(scenario.replications, max(1, _SEQUENCES // scenario.workload.sequences))
    return summarize(simulate(scenario.model_copy(update={"replications": few})))
