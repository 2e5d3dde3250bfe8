"""Runs a plan's jobs: as one rank among others, or as all workers in one process.

Loads what the worker needs, runs the schedule, and hands over its spans. Knows nothing of how ranks were started.
"""

import gc
import time
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import nullcontext

import torch

from executor import memory
from executor.events import Outcome, RankReport, Ready, Sink
from executor.plan import Job, JobResult, Plan
from executor.progress import Doing, Progress
from executor.transport.local import LocalTransport, Streams
from executor.transport.message import Transport
from executor.worker.build import build_worker
from executor.worker.clock import Clock, CudaClock, EmulatedClock, HostClock
from executor.worker.interpreter import Interpreter

_WARM_UP_TOKENS = 3


def run_rank(
    plan: Plan, jobs: Sequence[Job], worker: int, transport: Transport, progress: Progress, sink: Sink | None
) -> RankReport:
    """Run all jobs as one worker among other ranks, in this process. sink: for worker 0 only.

    Raises InputError where the model cannot be loaded, LostRankError where another rank does not answer.
    """
    device = device_of(plan, worker)
    with torch.inference_mode():
        begun_s = time.perf_counter()
        progress.is_doing(worker, Doing.LOADING)
        clock = _clock(plan, device, is_alone=True)
        before_bytes = memory.held_bytes(device)
        built = build_worker(plan, worker, device, clock.wait)
        held_bytes = memory.held_bytes(device) - before_bytes
        interpreter = Interpreter(plan, built, transport, clock, progress)
        transport.meet()
        for job in _warm_up(plan, jobs):
            deque(interpreter.run(0, job, None), maxlen=0)
        if sink is not None:
            sink(Ready(time.perf_counter() - begun_s, _device_names(plan)))
        gc.freeze()
        for number, job in enumerate(jobs):
            # A rank by itself has nobody to yield to.
            deque(interpreter.run(number, job, sink), maxlen=0)
        progress.is_doing(worker, Doing.DONE)
    return RankReport(worker, interpreter.spans.trace, memory.peak_bytes(device), held_bytes)


def run_local(plan: Plan, jobs: Sequence[Job], sink: Sink) -> Outcome:
    """Run all jobs as every worker, in this process, on one device or several.

    Raises InputError where the model cannot be loaded.
    """
    workers = range(plan.layout.num_workers)
    devices = tuple(device_of(plan, worker) for worker in workers)
    progress = Progress(plan.layout.num_workers)
    transport = LocalTransport(devices)
    torch.set_num_threads(plan.threads)
    with torch.inference_mode():
        streams = Streams.of(devices)
        begun_s = time.perf_counter()
        interpreters: list[Interpreter] = []
        held_bytes: list[int] = []
        for worker, device in enumerate(devices):
            clock, before_bytes = _clock(plan, device, is_alone=False), memory.held_bytes(device)
            with streams.of_device(device):
                built = build_worker(plan, worker, device, clock.wait)
            held_bytes.append(memory.held_bytes(device) - before_bytes)
            interpreters.append(Interpreter(plan, built, transport, clock, progress))
        for job in _warm_up(plan, jobs):
            _in_turn(interpreters, 0, job, None, devices, streams)
        sink(Ready(time.perf_counter() - begun_s, _device_names(plan)))
        # What is loaded stays: a collector that looks through it amid a cycle stops every worker.
        gc.freeze()
        try:
            results = [_in_turn(interpreters, number, job, sink, devices, streams) for number, job in enumerate(jobs)]
        finally:
            gc.unfreeze()
    reports = tuple(
        RankReport(worker, interpreters[worker].spans.trace, memory.peak_bytes(devices[worker]), held_bytes[worker])
        for worker in workers
    )
    return Outcome(tuple(results), reports)


def device_of(plan: Plan, worker: int) -> torch.device:
    """Return the device of a worker."""
    return torch.device("cuda", plan.devices[worker]) if plan.device == "cuda" else torch.device("cpu")


def _warm_up(plan: Plan, jobs: Sequence[Job]) -> Iterator[Job]:
    """Yield a few tokens of every method in use: what is done once, such as compiling, is no part of a measurement."""
    if plan.emulated is not None:
        return
    most_rows = max((len(job.prompt) + job.max_new_tokens for job in jobs), default=0)
    methods = sorted({job.method for job in jobs})  # plain decoding first, which forced drafts learn from
    for method in methods:
        first = next(job for job in jobs if job.method == method)
        yield Job(method, first.sequence, first.prompt[:1], max(1, min(_WARM_UP_TOKENS, most_rows - 1)))


def _in_turn(
    interpreters: Sequence[Interpreter], number: int, job: Job, sink: Sink | None,
    devices: Sequence[torch.device], streams: Streams,
) -> JobResult:  # fmt: skip
    """Run a job as all workers, each until it needs a message that is not there yet."""
    is_one_device = len(set(devices)) == 1
    with streams.of_device(devices[0]) if is_one_device else nullcontext():
        # The last stage first: what it computes is verified next, and the draft rank waits for the verdict.
        runs = {worker: interpreters[worker].run(number, job, sink) for worker in reversed(range(len(interpreters)))}
        results: dict[int, JobResult] = {}
        while runs:
            for worker in list(runs):
                with nullcontext() if is_one_device else streams.of_device(devices[worker]):
                    if (result := _advance(runs[worker])) is not None:
                        results[worker] = result
                        del runs[worker]
        return results[0]


def _advance(run: Generator[None, None, JobResult]) -> JobResult | None:
    try:
        next(run)
    except StopIteration as end:
        result: JobResult = end.value
        return result
    return None


def _clock(plan: Plan, device: torch.device, *, is_alone: bool) -> Clock:
    """The clock of one of several workers of a process, or of one that has it to itself."""
    if plan.emulated is not None and not is_alone:
        return EmulatedClock()
    return CudaClock(device) if device.type == "cuda" else HostClock()


def _device_names(plan: Plan) -> tuple[str, ...]:
    """What people call the device of each worker."""
    if plan.device == "cuda":
        return tuple(f"{torch.cuda.get_device_name(index)} {index}" for index in plan.devices)
    alone = plan.backend != "local"
    return tuple(f"cpu process {worker}" if alone else "cpu" for worker in range(plan.layout.num_workers))
