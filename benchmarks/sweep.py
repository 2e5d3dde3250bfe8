"""What a sweep costs: 1,000 points of 200 replications of 512 tokens with eight stages. Prints a table.

    python benchmarks/sweep.py [--points 4] [--replications 20] [--jobs 1]

A few points, evenly among the 1,000, are run, by the engine with some of the replications, and the whole is
extrapolated. Then the same points are evaluated until their
intervals are as narrow as those of 200 replications without a control variate would be. Seconds are of the wall;
memory is the most that the process and its children have held.
"""

import argparse
import resource
import sys
from math import sqrt
from pathlib import Path
from statistics import mean, median
from time import perf_counter

import numpy as np

from spdsim.analysis.estimates import ratio
from spdsim.evaluation import evaluate
from spdsim.evaluation.runs import producer_of
from spdsim.scenario import Scenario
from spdsim.scenario.load import read_source
from spdsim.sweeping import Spec, parse_vary, sweep
from spdsim.sweeping.run import Effort
from spdsim.timing import machine_of

TUTORIAL = Path(__file__).parent.parent / "scenarios" / "tutorial.yaml"
POINTS, REPLICATIONS, TOKENS, STAGES = 1000, 200, 512, 8
VARY = ("acceptance.p=0.5..0.95:100", "links.intra_node.latency_s=1e-6..1e-4:x10")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Measure a sweep, and extrapolate it.")
    parser.add_argument("--points", type=int, default=4, help="points that are run (default 4)")
    parser.add_argument("--replications", type=int, default=20, help="replications of each (default 20)")
    parser.add_argument("--jobs", type=int, default=1, help="processes of the sweep at the end (default 1)")
    asked = parser.parse_args()
    print(f"Python {sys.version.split()[0]}; {POINTS} points, {REPLICATIONS} x {TOKENS} tokens, n = {STAGES}")
    for name, settings in (("constant durations", []), ("gamma, cv 0.1", [_GAMMA])):
        scenarios = some_points(asked.points, settings)
        print(name)
        plain(scenarios, asked.replications)
        precise(scenarios, asked.replications)
    spec = Spec(read_source(TUTORIAL, _settings([])), (parse_vary(f"acceptance.p=0.5..0.95:{asked.points * 2}"),))
    begin = perf_counter()
    number = sum(1 for _ in sweep(spec, Effort(0.01), jobs=asked.jobs))
    print(f"a sweep to 1 %, {asked.jobs} processes: {number / (perf_counter() - begin):.2f} points/s")
    most = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    print(f"memory: {most / 1024:.0f} MB at most in a process")


_GAMMA = "timing.profile.forward_per_layer={kind: gamma, mean_s: 1e-3, cv: 0.1}"


def _settings(more: list[str]) -> list[str]:
    return [
        f"partition.stages={STAGES}", f"devices.count={STAGES + 1}", f"devices.per_node={STAGES + 1}",
        f"workload.new_tokens={TOKENS}",
        # Stages that set the pace, so that what is random of them shows.
        "timing.profile.draft=0.5e-3", "timing.profile.verify=0.1e-3", *more,
    ]  # fmt: skip


def some_points(count: int, settings: list[str]) -> list[Scenario]:
    """Return so many of the points, evenly among all of them."""
    spec = Spec(read_source(TUTORIAL, _settings(settings)), tuple(map(parse_vary, VARY)))
    points = list(spec.points())
    assert len(points) == POINTS
    return [spec.scenario(points[(2 * number + 1) * POINTS // (2 * count)]) for number in range(count)]


def plain(scenarios: list[Scenario], replications: int) -> None:
    """Print what all replications would take; on the fast path all of a point's are run."""
    is_fast = producer_of(scenarios[0], machine_of(scenarios[0]))[1] == "fast"
    number = REPLICATIONS if is_fast else replications
    point_s = median(_seconds(scenario, number) for scenario in scenarios) * REPLICATIONS / number
    print(
        f"  {REPLICATIONS} replications{'' if is_fast else f' by {number} of them'}: "
        f"{REPLICATIONS * TOKENS / point_s:,.0f} tokens/s, {1 / point_s:.3f} points/s; "
        f"all: {POINTS * point_s:,.0f} s (extrapolated)"
    )


def precise(scenarios: list[Scenario], replications: int) -> None:
    """Print what it takes to have intervals as narrow, with control variates and early stopping."""
    widths = [plain_width(scenario, replications) for scenario in scenarios]
    begin = perf_counter()
    found = [evaluate(scenario, precision=width) for scenario, width in zip(scenarios, widths, strict=True)]
    point_s = (perf_counter() - begin) / len(scenarios)
    reached = mean(
        (each.time_per_token_s.mean - (each.time_per_token_s.low or 0.0)) / each.time_per_token_s.mean for each in found
    )
    print(
        f"  as narrow as those ({mean(widths):.2%}; reached {reached:.3%}): "
        f"{mean(each.num_sequences for each in found):.0f} sequences a point, {1 / point_s:.2f} points/s; "
        f"all: {POINTS * point_s:,.0f} s (extrapolated)"
    )


def plain_width(scenario: Scenario, replications: int) -> float:
    """Return half of the interval of `REPLICATIONS` replications over the mean, by the spread of fewer."""
    machine = machine_of(scenario)
    runs = producer_of(scenario, machine)[0].runs(0, replications)
    middle, low, _ = ratio(runs.end_s - runs.begin_s, (runs.num_tokens - 1).astype(np.float64))
    assert low is not None
    return (middle - low) / middle * sqrt(replications / REPLICATIONS)


def _seconds(scenario: Scenario, replications: int) -> float:
    begin = perf_counter()
    evaluate(scenario.model_copy(update={"replications": replications}))
    return perf_counter() - begin


if __name__ == "__main__":
    main()
