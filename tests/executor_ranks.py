"""Ranks that pass numbers round a ring, and what can befall them: stand-ins for `executor.rank.run_rank`.

The ring has two stages: verdicts from the draft rank to stage 0, hidden states to stage 1 and back to the draft rank.
A module of its own, small, because every rank's process loads it.
"""

import os
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch

from executor.events import JobDone, RankReport, Ready, Sink, TokenVerified
from executor.launch.torchrun import join
from executor.plan import Backend, Job, JobResult, Plan
from executor.progress import Doing, Progress
from executor.transport.distributed import DistributedTransport
from executor.transport.message import Channel, Field, Inbox, Outbox
from spdsim.errors import InputError
from spdsim.schedules.ops import Payload
from spdsim.trace import Trace, TraceHeader
from tests.emulation import PROMPT, emulated_plan, emulated_scenario

BACKENDS: tuple[Backend, ...] = ("gloo", "socket")
NUM_SLOTS = 3
WORDS = "libraries write what they like"
HEADER = TraceHeader("executor", "ring", 2, 0, ())


@dataclass(frozen=True, slots=True)
class Mishap:
    """What befalls a worker in a cycle of the first job; cycle None: while it loads."""

    worker: int
    cycle: int | None
    kind: str

    def befall(self, worker: int, cycle: int | None) -> None:
        """Let it happen, if it is now."""
        if (worker, cycle) == (self.worker, self.cycle):
            HAPPEN[self.kind]()


def _signal(number: int) -> None:
    os.kill(os.getpid(), number)


def _raise(error: Exception) -> None:
    raise error


HAPPEN: dict[str, Callable[[], None]] = {
    "is killed": partial(_signal, signal.SIGKILL),
    "crashes": partial(_signal, signal.SIGSEGV),
    "stops": partial(_signal, signal.SIGSTOP),
    "exits": partial(os._exit, 3),
    "sleeps": partial(time.sleep, 60.0),
    "raises": partial(_raise, ValueError("a bug\nwith more to say")),
    "has no memory": partial(_raise, RuntimeError("CUDA out of memory. Tried to allocate 20 GiB")),
    "misses a file": partial(_raise, InputError("model.safetensors: is not there")),
}


def ring_plan(backend: Backend, timeout_s: float = 20.0) -> Plan:
    """Return a plan of two stages, so of three ranks."""
    return replace(emulated_plan(emulated_scenario(2)), backend=backend, timeout_s=timeout_s)


def job(new_tokens: int, sequence: int = 7) -> Job:
    """Return a job of a sequence."""
    return Job("spd", sequence, PROMPT, new_tokens)


def channel(payload: Payload, source: int, to: int, num_values: int = 4) -> Channel:
    """Return a channel of messages of 64-bit integers."""
    return Channel(payload, source, to, (Field("values", torch.int64, (num_values,)),))


def ring(
    plan: Plan, jobs: Sequence[Job], worker: int, transport: DistributedTransport, progress: Progress,
    sink: Sink | None, *, mishap: Mishap | None = None, pids: Path | None = None,
) -> RankReport:  # fmt: skip
    """Pass a number round the ring as often as a job has tokens. Each rank adds its own number to it.

    pids: where to leave a file named after this process.
    """
    print(WORDS, flush=True)
    if pids is not None:
        (pids / str(os.getpid())).touch()
    if mishap is not None:
        mishap.befall(worker, None)
    comes: Inbox
    goes: Outbox
    source = (worker - 1) % 3
    comes = transport.inbox(channel("hidden" if source else "verdict", source, worker), NUM_SLOTS)
    goes = transport.outbox(channel("hidden" if worker else "verdict", worker, (worker + 1) % 3), NUM_SLOTS)
    transport.meet()
    if sink is not None:
        sink(Ready(0.0, ("cpu",) * 3))
    for number, job in enumerate(jobs):
        seen = []
        for cycle in range(job.max_new_tokens):
            progress.begin(worker, number, cycle)
            if mishap is not None and number == 0:
                mishap.befall(worker, cycle)
            comes.post()
            if worker == 0:
                goes.slot()[0].fill_(cycle)
                goes.send()
            progress.is_doing(worker, Doing.WAITING, source)
            value = comes.take()[0]
            progress.is_doing(worker, Doing.WORKING)
            if worker:
                goes.slot()[0].copy_(value + worker)
                goes.send()
            if sink is not None:
                seen.append(int(value[-1]))
                sink(TokenVerified(number, seen[-1], cycle % 2 == 0))
        if sink is not None:
            sink(JobDone(number, JobResult(tuple(seen), (), len(seen), 0.0, 0.0, 0.0)))
    progress.is_doing(worker, Doing.DONE)
    return RankReport(worker, Trace(HEADER), os.getpid(), torch.get_num_threads())


def flood(
    plan: Plan, jobs: Sequence[Job], worker: int, transport: DistributedTransport, progress: Progress, sink: Sink | None
) -> RankReport:
    """Send far more than there are slots before anything is taken; big messages and small ones by turns."""
    small, large = channel("verdict", 0, 1), channel("draft", 0, 1, 1 << 18)
    wrong, count = 0, jobs[0].max_new_tokens
    if worker == 0:
        to_small, to_large = transport.outbox(small, NUM_SLOTS), transport.outbox(large, NUM_SLOTS)
        transport.meet()
        for number in range(count):
            for box in (to_small, to_large):
                box.slot()[0].fill_(number)
                box.send()
    elif worker == 1:
        of_small, of_large = transport.inbox(small, NUM_SLOTS), transport.inbox(large, NUM_SLOTS)
        transport.meet()
        time.sleep(0.05)
        for number in range(count):
            for inbox in (of_small, of_large):
                inbox.post()
                wrong += int((inbox.take()[0] != number).sum())
    else:
        transport.meet()
    return RankReport(worker, Trace(HEADER), wrong, 0)


def join_as(plan: Plan, jobs: Sequence[Job], environment: dict[str, str], rank: object, says: object) -> None:
    """Join a run as torchrun's processes do, and say what came of it."""
    os.environ |= environment
    events: list[object] = []
    try:
        said: object = (join(plan, jobs, events.append, rank=rank), events)  # type: ignore[arg-type]
    except Exception as error:
        said = f"{type(error).__name__}: {error}"
    says.send(said)  # type: ignore[attr-defined]
