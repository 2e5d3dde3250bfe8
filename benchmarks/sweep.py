"""What a sweep costs: 1,000 points of 200 replications of 512 tokens with eight stages. Prints a table.

    python -m benchmarks.sweep [--points 80] [--jobs 2]

First some points, evenly among the 1,000, are simulated with all replications, and the whole is extrapolated. Then all
1,000 are swept until their intervals are as narrow as the narrowest of those would be without a control variate;
nothing of that is extrapolated. Seconds are of the wall; memory is the most that a process has held.
"""

import argparse
import resource
import sys
from pathlib import Path
from statistics import mean
from time import perf_counter

import numpy as np

from spdsim.analysis.estimates import ratio
from spdsim.evaluation.runs import producer_of
from spdsim.scenario import Scenario
from spdsim.scenario.load import read_source
from spdsim.sweeping import Spec, parse_vary, sweep
from spdsim.sweeping.run import Effort
from spdsim.timing import machine_of

TUTORIAL = Path(__file__).parent.parent / "scenarios" / "tutorial.yaml"
POINTS, REPLICATIONS, TOKENS, STAGES = 1000, 200, 512, 8
LATENCIES = 10


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Measure a sweep.")
    parser.add_argument("--points", type=int, default=80, help="points with all replications (default 80)")
    parser.add_argument("--jobs", type=int, default=2, help="processes (default 2)")
    asked = parser.parse_args()
    print(f"Python {sys.version.split()[0]}; {POINTS} points, {REPLICATIONS} x {TOKENS} tokens, n = {STAGES}")
    print(f"{asked.jobs} processes; plain: by {asked.points} points; precise: all points")
    for name, settings in (("constant", []), ("lognormal, cv 0.1", [_LOGNORMAL]), ("gamma, cv 0.1", [_GAMMA])):
        spec = spec_of(settings, POINTS)
        plain_s = plain(spec_of(settings, asked.points), asked.jobs)
        print(f"{name}: plain {plain_s:.0f} s; {precise(spec, plain_width(spec), asked.jobs)}")
    most = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    print(f"memory: {most / 1024:.0f} MB at most in a process")


_LOGNORMAL = "timing.profile.forward_per_layer={kind: lognormal, mean_s: 1e-3, cv: 0.1}"
_GAMMA = "timing.profile.forward_per_layer={kind: gamma, mean_s: 1e-3, cv: 0.1}"


def _settings(more: list[str]) -> list[str]:
    return [
        f"partition.stages={STAGES}", f"devices.count={STAGES + 1}", f"devices.per_node={STAGES + 1}",
        f"workload.new_tokens={TOKENS}", f"replications={REPLICATIONS}",
        # Stages that set the pace, so that what is random of them shows.
        "timing.profile.draft=0.5e-3", "timing.profile.verify=0.1e-3", *more,
    ]  # fmt: skip


def spec_of(settings: list[str], points: int) -> Spec:
    """Return the sweep: ten latencies by as many acceptances as there is room for."""
    assert points % LATENCIES == 0
    varied = (
        f"acceptance.p=0.5..0.95:{points // LATENCIES}",
        f"links.intra_node.latency_s=1e-6..1e-4:x{LATENCIES}",
    )
    return Spec(read_source(TUTORIAL, _settings(settings)), tuple(map(parse_vary, varied)))


def plain(spec: Spec, jobs: int) -> float:
    """Return the seconds of all points with all replications, by those of `spec`."""
    begin = perf_counter()
    number = sum(point.evaluation is not None for point in sweep(spec, Effort(), jobs=jobs))
    return (perf_counter() - begin) * POINTS / number


def precise(spec: Spec, width: float, jobs: int) -> str:
    """Say what it takes to have intervals as narrow everywhere, with control variates and early stopping."""
    begin = perf_counter()
    found = [point.evaluation for point in sweep(spec, Effort(width), jobs=jobs) if point.evaluation is not None]
    all_s = perf_counter() - begin
    assert len(found) == POINTS
    reached = max(1.0 - (each.time_per_token_s.low or 0.0) / each.time_per_token_s.mean for each in found)
    sequences = mean(each.num_sequences for each in found)
    return f"precise {all_s:.1f} s, {sequences:.1f} sequences a point; asked {width:.2%}, reached {reached:.3%}"


def plain_width(spec: Spec) -> float:
    """Return half of the narrowest interval of all replications over the mean, among some points."""
    values = list(spec.points())
    return min(_plain_width(spec.scenario(values[at * POINTS // 5])) for at in range(5))


def _plain_width(scenario: Scenario) -> float:
    runs = producer_of(scenario, machine_of(scenario))[0].runs(0, REPLICATIONS)
    middle, low, _ = ratio(runs.end_s - runs.begin_s, (runs.num_tokens - 1).astype(np.float64))
    assert low is not None
    return (middle - low) / middle


if __name__ == "__main__":
    main()
