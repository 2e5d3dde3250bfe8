"""Runs of any schedule on machines made of constants, and its ops cycle by cycle."""

from collections.abc import Hashable, Iterator
from functools import cache
from itertools import product
from typing import Any, cast

from spdsim.acceptance import Acceptance, Coins, toss
from spdsim.analysis.report import Report
from spdsim.analysis.summary import summarize
from spdsim.distributions import Constant
from spdsim.engine import Engine, Request
from spdsim.machine import Duration, Link, Machine, Message, Worker
from spdsim.schedules import asynchronous, dsi, plain_pipeline, plain_tensor, ppsd, prepared, rounds
from spdsim.schedules.grid import Script
from spdsim.schedules.ops import Op, Payload, Send, Task
from spdsim.schedules.schedule import Layout, Schedule, State
from spdsim.trace import Trace, TraceHeader, WorkerInfo

TASKS: tuple[Task, ...] = ("prefill", "forward", "draft", "verify", "combine", "commit", "rollback")

SCHEDULES: tuple[tuple[Schedule, Layout], ...] = (
    (plain_pipeline, plain_pipeline.Layout(2)),
    (plain_pipeline, plain_pipeline.Layout(4)),
    (plain_tensor, plain_tensor.Layout(3)),
    *((rounds, rounds.Layout(*options)) for options in ((1,), (3,), (2, True), (2, False, True, 3), (3, True, True))),
    *((ppsd, ppsd.Layout(n)) for n in (2, 3, 4)),
    *((dsi, dsi.Layout(*options)) for options in ((2,), (3,), (2, 3), (3, 2))),
    *(
        (asynchronous, asynchronous.Layout(*options))
        for options in ((1,), (3,), (1, False), (2, False, 2), (2, True, 3))
    ),
    *((prepared, prepared.Layout(*options)) for options in ((2, 0.5, 1), (1, 0.5, 0), (2, 0.5, 3, True, 2))),
)
"""Every schedule but SPD's, whose laws have tests of their own, with options of every kind."""


def name_of(schedule: Schedule) -> str:
    """Return the name of a schedule's module."""
    return str(getattr(schedule, "__name__", "")).rpartition(".")[2]


def scripts(length: int) -> Iterator[Script]:
    """Yield all that can happen to `length` drafts, with events that alternate."""
    for number, letters in enumerate(product("AR", repeat=length)):
        yield Script("".join(letters), "YNNYNY" if number % 2 else "NYYN")


def states(schedule: Schedule, layout: Layout, script: Script) -> list[tuple[Any, Any]]:
    """Return every step's state with its outcome, the prefill first."""
    state, found = schedule.start(layout, script.num_tokens), []
    judge = schedule.judge(state, script)
    while not state.is_done:
        outcome = judge.outcome(state)
        found.append((state, outcome))
        state = schedule.advance(state, outcome)
    return found


def num_cycles(schedule: Schedule, layout: Layout, script: Script) -> int:
    """Return the cycles after the prefill."""
    return len({state.cycle for state, _ in states(schedule, layout, script)} - {-1})


def programs(schedule: Schedule, state: State) -> list[tuple[Op, ...]]:
    """Return what every worker does in `state`."""
    return [schedule.program(state, worker) for worker in range(state.layout.num_workers)]


@cache
def edges(schedule: Any, layout: Any) -> list[tuple[Payload, int, int]]:
    """Return every (payload, source, destination) that the schedule uses."""
    shapes: dict[Hashable, Any] = {}
    for script in scripts(6):
        shapes.update((state.shape, state) for state, _ in states(schedule, layout, script))
    programs_of = (enumerate(programs(schedule, state)) for state in shapes.values())
    ops = ((worker, op) for program in programs_of for worker, ops in program for op in ops)
    return sorted({(op.payload, worker, op.to) for worker, op in ops if isinstance(op, Send)})


def machine(schedule: Schedule, layout: Layout, /, hop: float = 0.0, **times_s: float) -> Machine:
    """Return a machine on which every task takes the given seconds and every message `hop`, each on a link alone."""
    pairs: dict[tuple[int, int], int] = {}
    messages: dict[tuple[Payload, int, int], Message] = {}
    for payload, source, to in edges(*cast(Any, (schedule, layout))):
        link = pairs.setdefault((source, to), len(pairs))
        messages[payload, source, to] = Message(link, 10, 20, Constant(hop), Constant(hop))
    workers = tuple(Worker(worker, layout.role(worker), worker) for worker in range(layout.num_workers))
    tasks: dict[tuple[int, Task], Duration] = {
        (worker.index, task): Duration(Constant(times_s.get(task, 0.0))) for worker in workers for task in TASKS
    }
    devices = tuple(f"device {worker.index}" for worker in workers)
    links = tuple(Link(str(pair)) for pair in pairs)
    return Machine(layout, workers, devices, "turns", tasks, links, messages, schedule=schedule)


def decode(machine: Machine, request: Request, method: str = "", plain_token_s: float = 1.0) -> Trace:
    """Return the trace of one sequence."""
    workers = tuple(WorkerInfo(w.index, w.role, machine.devices[w.device]) for w in machine.workers)
    method = method or name_of(machine.schedule)
    trace = Trace(TraceHeader("simulator", method, machine.layout.num_stages, 0, workers, plain_token_s=plain_token_s))
    Engine(machine, trace).decode(request)
    return trace


def play(machine: Machine, script: Script) -> Trace:
    """Return the trace of one sequence to which happens what `script` says."""
    return decode(machine, Request(0, script.num_tokens, cast(Coins, script)))


def run(machine: Machine, num_tokens: int, acceptance: Acceptance, seed: int = 0) -> Report:
    """Return the report of one sequence with coins that are tossed."""
    coins = toss(acceptance, seed, 0, num_tokens + machine.layout.capacity + 1)
    return summarize(decode(machine, Request(0, num_tokens, coins)))


def decode_s(machine: Machine, script: Script) -> float:
    """Return the seconds from the first token to the last."""
    commits = [span for span in play(machine, script).spans() if span.op == "commit"]
    return commits[-1].end_s - commits[0].end_s
