"""What a profile is worth: runs that it has not seen, predicted and measured.

Two errors. The times' alone, which is graded: the simulator with the verdicts that the run had, since acceptance was
forced and is no prediction. The whole model's: the simulator with coins of its own, many times over.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from spdsim.calibration.campaign import Config, Done
from spdsim.calibration.observed import Observed
from spdsim.calibration.predict import predict
from spdsim.comparison import Comparison, compare
from spdsim.scenario.profile import Profile
from spdsim.trace import Trace

REPLICATIONS = 16
"""Of each prediction: what a mean of many sequences is."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One held-out configuration: what was measured, in all rounds, beside what was predicted."""

    config: Config
    comparison: Comparison
    whole: Comparison
    measured: Trace
    predicted: Trace


@dataclass(frozen=True, slots=True)
class Proof:
    """All held-out configurations, at least one."""

    cells: tuple[Cell, ...]

    @property
    def worst(self) -> Cell:
        """The cell with the largest error that is graded."""
        return max(self.cells, key=lambda cell: cell.comparison.graded_error)

    @property
    def graded_error(self) -> float:
        """The largest error of a mean cycle or a mean time per token, a fraction."""
        return self.worst.comparison.graded_error

    @property
    def mean_cycle_error(self) -> float:
        """The mean size of the errors of the mean cycles, a fraction."""
        return sum(abs(cell.comparison.cycle_error) for cell in self.cells) / len(self.cells)

    @property
    def grade(self) -> str:
        """The grade of the worst cell."""
        return self.worst.comparison.grade


def prove(profile: Profile, done: Sequence[Done], replications: int = REPLICATIONS) -> "Proof | None":
    """Return what every held-out configuration of `done` proves; None where nothing was held out."""
    configs = dict.fromkeys(each.config for each in done if each.config.is_held_out)
    cells = tuple(
        _cell(profile, config, [each.observed for each in done if each.config == config], replications)
        for config in configs
    )
    return Proof(cells) if cells else None


def _cell(profile: Profile, config: Config, runs: Sequence[Observed], replications: int) -> Cell:
    scenario = runs[0].scenario
    measured = joined([run.trace for run in runs])
    recorded = [each for run in runs for each in verdicts(run)]
    replayed = predict(scenario, profile, replications=len(runs), verdicts=recorded)
    anew = predict(scenario, profile, replications=replications)
    return Cell(config, compare(measured, replayed), compare(measured, anew), measured, replayed)


def joined(traces: Sequence[Trace]) -> Trace:
    """Return the sequences of several traces of one pipeline as one trace."""
    whole = Trace(traces[0].header)
    for trace in traces:
        numbers = [whole.site_id(site) for site in trace.sites]
        for sequence in range(trace.num_sequences):
            whole.begin_sequence()
            for i in range(*trace.sequence_bounds(sequence)):
                whole.record(
                    numbers[trace.site[i]], trace.cycle[i], trace.position[i], trace.start_s[i], trace.end_s[i]
                )
    return whole


def verdicts(run: Observed) -> list[str]:
    """Return the verdicts of every sequence of a run, as replays are written."""
    found: list[dict[int, bool]] = [{} for _ in range(run.trace.num_sequences)]
    for span in run.trace.spans():
        if span.op == "commit" and span.worker == run.layout.driver and span.cycle >= 0:
            found[span.sequence][span.cycle] = span.accepted is not False
    return ["".join("A" if of_cycle[cycle] else "R" for cycle in sorted(of_cycle)) for of_cycle in found]
