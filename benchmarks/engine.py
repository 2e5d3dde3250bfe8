"""What the engine costs: SimPy timeouts, events and bytes an executed stage step. Prints a table.

    python benchmarks/engine.py [--repeats 9]

Each figure is the median over repeats of a ratio taken within one repeat: the engine's CPU time a stage step
over the CPU time of one SimPy timeout in the same process, measured right before. So a busy machine moves both.
The whole trace is recorded. p = 0.8, constant durations. With "every stage" all stages send features to the draft
rank, so that a stage step is the same work at any n; with "five anchors", the default, at most four of them do, and
long pipelines send fewer messages a step. Compiling the schedule's programs is included.
"""

import argparse
import sys
from collections.abc import Collection, Generator
from pathlib import Path
from statistics import median
from time import process_time
from typing import Any

import simpy

from spdsim.acceptance import Bernoulli, toss
from spdsim.engine import Engine, Request
from spdsim.machine import Machine
from spdsim.scenario import load_scenario
from spdsim.timing import machine_of
from spdsim.trace import Trace, TraceHeader

TUTORIAL = Path(__file__).parent.parent / "scenarios" / "tutorial.yaml"
SIZES = ((2, 512), (4, 512), (8, 512), (16, 512), (64, 128))
TARGETS = "targets: at most 8 timeouts and 4 events a stage step at n = 8; flat within 2 from n = 2 to 64; \
at most 40 bytes a span, 3 KB a token at n = 8"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Measure the engine against SimPy's timeout.")
    parser.add_argument("--repeats", type=int, default=9, help="repeats of each row (default 9)")
    repeats = parser.parse_args().repeats
    print(f"Python {sys.version.split()[0]}, SimPy {simpy.__version__}, p = 0.8, median of {repeats}")
    print("stages tokens  timeouts/step  us/step  us/token  events/step  spans/step  bytes/span  bytes/token")
    for features, anchors in (("every stage", boundaries), ("five anchors", lambda _: [0, 16, 32, 48, 63])):
        print(f"features from: {features}")
        rows = [measure(n, tokens, repeats, anchors(n)) for n, tokens in SIZES]
        print(f"  n = 2 to 64: largest over smallest timeouts/step {spread(rows):.2f}")
    rows = [measure(8, tokens, repeats, boundaries(8)) for tokens in (128, 1024, 4096)]
    print(f"  128 to 4096 tokens at n = 8: largest over smallest timeouts/step {spread(rows):.2f}")
    print(TARGETS)


def spread(values: Collection[float]) -> float:
    """Return the largest over the smallest value."""
    return max(values) / min(values)


def boundaries(num_stages: int) -> list[int]:
    """Return anchors at the embedding and at the end of each of `num_stages` equal stages of 64 layers."""
    return list(range(0, 65, 64 // num_stages))


def measure(num_stages: int, num_tokens: int, repeats: int, anchors: list[int]) -> float:
    """Print one row; return its timeouts a stage step."""
    machine = bench_machine(num_stages, anchors)
    header = TraceHeader("simulator", "spd", num_stages, 0, ())
    ratios, seconds, trace, steps = [], [], Trace(header), 0
    request = Request(0, num_tokens, toss(Bernoulli(0.8), 0, 0, num_tokens + num_stages + 1))
    for sequence in range(repeats + 1):
        trace = Trace(header)
        engine = Engine(machine, trace)
        request = Request(sequence, num_tokens, toss(Bernoulli(0.8), 0, sequence, num_tokens + num_stages + 1))
        timeout_s = seconds_of_a_timeout()
        begin = process_time()
        engine.decode(request)
        spent_s = process_time() - begin
        steps = sum(trace.sites[site].op == "forward" for site in trace.site)
        if sequence:  # the first warms up
            seconds.append(spent_s / steps)
            ratios.append(spent_s / steps / timeout_s)
    spans, events = len(trace), count_events(machine, request)
    print(
        f"{num_stages:6d} {num_tokens:6d} {median(ratios):14.2f} {median(seconds) * 1e6:8.2f}"
        f" {median(seconds) * 1e6 * steps / num_tokens:9.1f} {events / steps:12.2f} {spans / steps:11.2f}"
        f" {trace.num_bytes / spans:11.1f} {trace.num_bytes / num_tokens:12.0f}"
    )
    return median(ratios)


def count_events(machine: Machine, request: Request) -> int:
    """Return how many events SimPy schedules for one sequence."""
    count, schedule = 0, simpy.Environment.schedule

    def counting(*arguments: Any, **named: Any) -> None:
        nonlocal count
        count += 1
        schedule(*arguments, **named)

    simpy.Environment.schedule = counting  # type: ignore[method-assign]
    try:
        Engine(machine, Trace(TraceHeader("simulator", "spd", machine.layout.num_stages, 0, ()))).decode(request)
    finally:
        simpy.Environment.schedule = schedule  # type: ignore[method-assign]
    return count


def bench_machine(num_stages: int, anchors: list[int]) -> Machine:
    """Return the tutorial's machine with 64 layers, cut into `num_stages`, each on a device of its own."""
    overrides = [
        "model.num_layers=64", f"partition.stages={num_stages}", f"devices.count={num_stages + 1}",
        f"devices.per_node={num_stages + 1}", f"draft.anchors={anchors}",
    ]  # fmt: skip
    return machine_of(load_scenario(TUTORIAL, overrides))


def seconds_of_a_timeout(count: int = 30_000) -> float:
    """Return the CPU seconds of one SimPy timeout of one process."""
    env = simpy.Environment()

    def wait() -> Generator[simpy.Event, None, None]:
        for _ in range(count):
            yield env.timeout(1.0)

    env.process(wait())
    begin = process_time()
    env.run()
    return (process_time() - begin) / count


if __name__ == "__main__":
    main()
