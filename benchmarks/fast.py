"""What the fast path reaches: simulated tokens a second, and how many times a straightforward model. Prints a table.

    python -m benchmarks.fast [--repeats 5] [--replications 2000]

n = 8, p = 0.8, 512 tokens, the machine of benchmarks/engine.py with constant durations and with lognormal ones of
stages and draft (cv 0.1). Coins, draws and the code of the machine are included. The straightforward model is what one
writes first with SimPy: a process per worker, a store per inbox, a resource per link, a process per message; its finish
times must be the engine's. It and the engine run one sequence, in the same process and right before the fast path.
A figure is the median over repeats; so is a ratio, which a busy machine moves less. CPU time throughout.
"""

import argparse
import resource
import sys
from collections import defaultdict
from collections.abc import Callable, Generator
from dataclasses import replace
from statistics import median
from time import process_time
from typing import Any

import numpy as np
import simpy

from benchmarks.engine import bench_machine, boundaries
from spdsim.acceptance import Bernoulli, toss
from spdsim.distributions import LogNormal, mean_s
from spdsim.draws import Address, Draws, constant_s
from spdsim.engine import Engine, Request
from spdsim.fast import decode, unsupported
from spdsim.machine import Duration, Machine
from spdsim.schedules.ops import Compute, Op, Payload, Recv, Send, Verdict
from spdsim.schedules.spd import Layout, PipelineState, advance, program, start
from spdsim.trace import Trace, TraceHeader

Edge = tuple[Payload, int, int]
Process = Generator[simpy.Event, Any, None]
Perform = Callable[[int, int], Process]
"""Performs an op in a cycle, for a position."""

NUM_STAGES, NUM_TOKENS, P, CV = 8, 512, 0.8, 0.1
TARGETS = "targets, lognormal: at least 0.8 million tokens/s, and 200 times the straightforward model"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Measure the fast path against a straightforward SimPy model.")
    parser.add_argument("--repeats", type=int, default=5, help="repeats of each row (default 5)")
    parser.add_argument("--replications", type=int, default=2000, help="sequences of the fast path (default 2000)")
    options = parser.parse_args()
    print(
        f"Python {sys.version.split()[0]}, NumPy {np.__version__}, SimPy {simpy.__version__}, n = {NUM_STAGES}, "
        f"p = {P}, {options.replications} replications of {NUM_TOKENS} tokens, median of {options.repeats}"
    )
    print(
        "durations  million tokens/s  (best)  us/token  engine us/token  straightforward us/token  "
        "times engine  times it"
    )
    constant = bench_machine(NUM_STAGES, boundaries(NUM_STAGES))
    for name, machine in (("constant", constant), ("lognormal", with_lognormal(constant))):
        measure(name, machine, options.replications, options.repeats)
    peak_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    print(f"peak memory of the process: {peak_bytes / 2**20:.0f} MiB")
    print(TARGETS)


def with_lognormal(machine: Machine) -> Machine:
    """Return the machine with lognormal durations of forwards and drafts."""
    tasks = {
        key: replace(duration, base=LogNormal(mean_s(duration.base), CV))
        if key[1] in ("forward", "draft")
        else duration
        for key, duration in machine.tasks.items()
    }
    return replace(machine, tasks=tasks)


def measure(name: str, machine: Machine, replications: int, repeats: int) -> None:
    """Print one row, after a check that all three agree."""
    assert unsupported(machine) is None
    header = TraceHeader("simulator", "spd", NUM_STAGES, 0, ())

    def fast() -> float:
        return float(decode(machine, [request(sequence) for sequence in range(replications)], seed=0).done_s[0])

    def engine() -> float:
        return Engine(machine, Trace(header)).decode(request(0))

    def straightforward() -> float:
        return Straightforward(machine).decode(request(0))

    expected, got = engine(), straightforward()
    assert abs(got - expected) < 1e-9 * expected, f"{name}: straightforward {got}, engine {expected}"
    assert fast() == expected, f"{name}: the fast path is not the engine"
    rows = []
    for _ in range(repeats):
        slow_s = [seconds(run) / NUM_TOKENS for run in (engine, straightforward)]
        rows.append((seconds(fast) / NUM_TOKENS / replications, *slow_s))
    fast_s, engine_s, plain_s = (median(column) for column in zip(*rows, strict=True))
    best_s = min(row[0] for row in rows)
    print(
        f"{name:<9} {1e-6 / fast_s:17.2f} {1e-6 / best_s:7.2f} {fast_s * 1e6:9.2f} {engine_s * 1e6:16.1f}"
        f" {plain_s * 1e6:25.1f} {median(row[1] / row[0] for row in rows):13.0f}"
        f" {median(row[2] / row[0] for row in rows):9.0f}"
    )


def request(sequence: int) -> Request:
    """Return a sequence with its coins."""
    return Request(sequence, NUM_TOKENS, toss(Bernoulli(P), 0, sequence, NUM_TOKENS + NUM_STAGES + 1))


def seconds(run: Callable[[], object]) -> float:
    """Return the CPU seconds of one run."""
    begin = process_time()
    run()
    return process_time() - begin


class Straightforward:
    """The schedule as a SimPy model without tricks, on machines whose hosts do not run ahead of devices."""

    def __init__(self, machine: Machine, seed: int = 0) -> None:
        self._machine = machine
        self._draws = {
            (worker, task): Draws.of(duration.base, Address(seed, worker, task))
            for (worker, task), duration in machine.tasks.items()
        }
        self._steps: dict[tuple[int, bool, int, bool], list[tuple[Perform, int]]] = {}

    def decode(self, request: Request) -> float:
        """Return the time at which the last worker is done, in seconds."""
        self._env = simpy.Environment()
        for draws in self._draws.values():
            if draws is not None:
                draws.restart(request.number)
        self._links = [simpy.Resource(self._env) for _ in self._machine.links]
        self._inboxes: dict[Edge, simpy.Store] = defaultdict(lambda: simpy.Store(self._env))
        for worker in range(self._machine.layout.num_workers):
            self._env.process(self._work(worker, request))
        self._env.run()
        return float(self._env.now)

    def _work(self, worker: int, request: Request) -> Process:
        layout, accepted = self._machine.layout, request.own_coins.fixed
        assert isinstance(layout, Layout) and accepted is not None
        state = start(layout, request.num_tokens)
        while not state.is_done:
            for perform, offset in self._steps_of(worker, state):
                yield from perform(state.cycle, state.oldest + offset)
            is_accepted = state.cycle < 0 or accepted[state.oldest + 1]
            state = advance(state, Verdict(is_accepted) if state.is_full else None)

    def _steps_of(self, worker: int, state: PipelineState) -> list[tuple[Perform, int]]:
        """The worker's ops, worked out once for each shape of the state: programs differ by an offset only."""
        shape = (worker, state.cycle < 0, len(state.in_flight), state.rejected)
        if shape not in self._steps:
            ops = program(state, worker)
            self._steps[shape] = [(self._step(worker, op, state.cycle < 0), op.position - state.oldest) for op in ops]
        return self._steps[shape]

    def _step(self, worker: int, op: Op, is_prefill: bool) -> Perform:
        match op:
            case Compute(task, _):
                return self._compute(self._machine.tasks[worker, task], self._draws[worker, task])
            case Send(payload, _, to):
                return self._send((payload, worker, to), is_prefill)
            case Recv(payload, _, source):
                return self._receive((payload, source, worker))

    def _compute(self, duration: Duration, draws: Draws | None) -> Perform:
        base_s, slope_s, prompt = constant_s(duration.base), duration.per_context_token_s, self._machine.prompt_tokens

        def perform(cycle: int, position: int) -> Process:
            duration_s = base_s + slope_s * (prompt + position) + (0.0 if draws is None else draws.at(cycle))
            yield self._env.timeout(duration_s)

        return perform

    def _send(self, edge: Edge, is_prefill: bool) -> Perform:
        message = self._machine.messages[edge]
        post_s = constant_s(message.post) + (0.0 if is_prefill else message.control_s)
        transit_s = constant_s(message.prefill_transit if is_prefill else message.transit)
        assert message.link is not None
        link = message.link

        def perform(cycle: int, position: int) -> Process:
            if post_s:
                yield self._env.timeout(post_s)
            self._env.process(self._carry(edge, link, transit_s, position))

        return perform

    def _carry(self, edge: Edge, link: int, transit_s: float, position: int) -> Process:
        with self._links[link].request() as turn:
            yield turn
            yield self._env.timeout(transit_s)
        self._inboxes[edge].put(position)

    def _receive(self, edge: Edge) -> Perform:
        receive_s = self._machine.messages[edge].receive_s

        def perform(cycle: int, position: int) -> Process:
            yield self._inboxes[edge].get()
            if receive_s:
                yield self._env.timeout(receive_s)

        return perform


if __name__ == "__main__":
    main()
