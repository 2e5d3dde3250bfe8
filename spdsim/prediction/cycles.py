"""The cycles of a case, read off a short run of the engine: the one that `spdsim simulate` runs, too."""

from dataclasses import dataclass

from spdsim.prediction.case import Case, scenario_of
from spdsim.scenario.profile import Profile
from spdsim.simulation import simulate

_STEADY = 4
"""Full cycles after each refill: by then nothing is left of it."""


@dataclass(frozen=True, slots=True)
class Cycles:
    """Seconds of one steady full cycle, of the first fill and of a refill, and whether the draft sets the pace.

    A fill or refill is all that comes on top of the full cycles: n - 1 cycles without a verdict, what the
    rollback takes, and what the first full cycles after it take more or less than a steady one.
    """

    full_s: float
    first_fill_s: float
    refill_s: float
    is_draft_bound: bool

    def decode_s(self, num_tokens: int, num_rejections: float) -> float:
        """Return the seconds of decoding K tokens: (K - 1) full cycles, one fill, R refills."""
        return (num_tokens - 1) * self.full_s + self.first_fill_s + num_rejections * self.refill_s


def cycles_of(case: Case, profile: Profile) -> Cycles:
    """Return the cycles of a case, simulated: some full cycles, a rejection, the refill, full cycles again.

    Raises InputError where the profile, the model and the stages do not go together.
    """
    verdicts = "A" * _STEADY + "R" + "A" * (_STEADY + 1)
    trace = simulate(scenario_of(case, profile, verdicts, len(verdicts) + 1))
    ops = [(site.worker, site.op) for site in trace.sites]
    committed_s, asked_s, sent_s = [], 0.0, 0.0
    for site, start_s, end_s in zip(trace.site, trace.start_s, trace.end_s, strict=True):
        match ops[site]:
            case (0, "commit"):
                committed_s.append(end_s)
            case (0, "recv hidden"):
                asked_s = start_s
            case (last_worker, "send hidden") if last_worker == case.stages:
                sent_s = end_s
    rejected, last = _STEADY + 1, len(committed_s) - 1
    full_s = committed_s[last] - committed_s[last - 1]
    return Cycles(
        full_s,
        committed_s[rejected] - committed_s[0] - rejected * full_s,
        committed_s[last] - committed_s[rejected] - (last - rejected) * full_s,
        # In the last cycle, the last stage was done before the draft rank asked for its output.
        is_draft_bound=sent_s < asked_s,
    )
