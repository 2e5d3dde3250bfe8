"""Machines made of constants, and runs on them: what the laws are tried on."""

from collections.abc import Sequence
from dataclasses import dataclass

from spdsim.acceptance import Acceptance, Bernoulli, Coins, toss
from spdsim.distributions import Constant, Distribution
from spdsim.engine import Engine, Request, decode_all
from spdsim.machine import Duration, Link, Machine, Message, Sharing, Worker
from spdsim.schedules.ops import Payload, Send, Task, Verdict
from spdsim.schedules.spd import Layout, LmHead, advance, program, start
from spdsim.trace import Trace, TraceHeader, WorkerInfo

PLACEMENTS: tuple[LmHead, ...] = ("draft_rank", "last_stage", "sharded", "own_device")
TASKS: tuple[Task, ...] = ("prefill", "draft", "verify", "combine", "commit", "rollback")
Time = float | Distribution


def edges(layout: Layout) -> list[tuple[Payload, int, int]]:
    """Return every (payload, source, destination) that the schedule uses."""
    found = set()
    for accepted in (True, False):
        state = start(layout, 4)
        while not state.is_done:
            for worker in range(layout.num_workers):
                ops = program(state, worker)
                found |= {(op.payload, worker, op.to) for op in ops if isinstance(op, Send)}
            state = advance(state, Verdict(accepted) if state.is_full else None)
    return sorted(found)


@dataclass(frozen=True)
class Place:
    """Where workers run and what they share.

    devices: the device of each worker, one each unless given. common_link: all messages cross one shared link.
    """

    devices: Sequence[int] | None = None
    sharing: Sharing = "turns"
    common_link: bool = False


def machine(layout: Layout, place: Place = Place(), /, **times_s: Time | Sequence[float]) -> Machine:
    """Return a machine on which every task, `hop` and `post` takes the given seconds, and what is not given none.

    `forward` (1 s unless given) may be one time for all stages or a list.
    """
    devices = range(layout.num_workers) if place.devices is None else place.devices
    workers = tuple(Worker(w, layout.role(w), devices[w]) for w in range(layout.num_workers))
    tasks: dict[tuple[int, Task], Duration] = {
        (worker.index, task): Duration(_distribution(times_s.get(task, 0.0))) for worker in workers for task in TASKS
    }
    forward = times_s.get("forward", 1.0)
    for stage in range(layout.num_stages):
        time = forward[stage] if isinstance(forward, Sequence) else forward
        tasks[layout.worker_of_stage(stage), "forward"] = Duration(_distribution(time))
    links: dict[tuple[int, int], int] = {}
    messages = {}
    for payload, source, to in edges(layout):
        pair = (0, 0) if place.common_link else (devices[source], devices[to])
        link = None if devices[source] == devices[to] else links.setdefault(pair, len(links))
        cost = Constant(0.0) if link is None else _distribution(times_s.get("hop", 0.0))
        messages[payload, source, to] = Message(link, 10, 20, cost, cost, _distribution(times_s.get("post", 0.0)))
    return Machine(
        layout, workers, tuple(f"device {d}" for d in range(max(devices) + 1)), place.sharing, tasks,
        tuple(Link(str(pair), is_shared=place.common_link) for pair in links), messages,
    )  # fmt: skip


def empty_trace(machine: Machine) -> Trace:
    """Return a trace without spans whose header fits `machine`."""
    workers = tuple(WorkerInfo(w.index, w.role, machine.devices[w.device]) for w in machine.workers)
    layout = machine.layout
    return Trace(TraceHeader("simulator", "spd", layout.num_stages, layout.verification_lag, workers))


def run(
    machine: Machine,
    num_tokens: int = 40,
    num_sequences: int = 1,
    acceptance: Acceptance = Bernoulli(0.7),
    seed: int = 0,
) -> Trace:
    """Return the trace of `num_sequences` sequences, each a replication of its own."""
    trace = empty_trace(machine)
    length = num_tokens + machine.layout.capacity + 1
    requests = [[Request(s, num_tokens, toss(acceptance, seed, s, length))] for s in range(num_sequences)]
    assert list(decode_all(machine, trace, requests, seed))
    return trace


def play(machine: Machine, verdicts: str) -> Trace:
    """Return the trace of one sequence with the given verdicts: "AAR" is accept, accept, reject."""
    trace = empty_trace(machine)
    fixed = [True, *(letter == "A" for letter in verdicts), *[True] * (machine.layout.capacity + 1)]
    Engine(machine, trace).decode(Request(0, len(verdicts) + 1, Coins(fixed)))
    return trace


def _distribution(time: Time | Sequence[float]) -> Distribution:
    assert not isinstance(time, Sequence)
    return Constant(float(time)) if isinstance(time, (int, float)) else time
