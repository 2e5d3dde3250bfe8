"""The probe `contention`: how many passes through a stage several workers make in a second, over what one makes alone.

Workers share what they share in a run: with processes of their own the processors and their memory, in one process a
GPU (a stream for each) or a CPU, on which they take turns.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial

import torch

from executor.events import RankReport, Sink
from executor.plan import Job, Plan
from executor.probing.findings import Finding, Measured, Params
from executor.probing.ranks import agreed, measure, report_of
from executor.probing.share import Share
from executor.probing.subject import ProbedStage, Subject, layers_that_fit, subject_of
from executor.progress import Progress
from executor.transport.distributed import DistributedTransport
from spdsim.scenario.model import Launch

_CONTEXT = 256
_ROUNDS = 7
_LEAST_PASSES, _MOST_PASSES = 4, 60
_LEAD_S = 3e-3
"""Until all begin together, once all know when."""

Pass = Callable[[], object]


def probe_contention(subject: Subject, share: Share) -> Iterator[Finding]:
    """Yield the passes of j workers in a second over those of one alone, j from 1 to all workers of the plan."""
    plan = subject.plan
    num_workers = plan.layout.num_workers
    shapes = layers_that_fit(subject, subject.stage_shapes, _rows(subject), copies=num_workers)
    if not shapes:
        share.skip(f"{num_workers} workers: not one layer for each fits into half of the memory that is free")
        return
    sharing = "processes" if plan.backend != "local" else "streams" if plan.device == "cuda" else "turns"
    share.begin({"workers": f"1 to {num_workers}", "sharing": sharing})
    if sharing == "processes":
        of_workers = measure(plan, partial(compete, share.left_s, len(shapes)))
        rates = [[samples[_key(workers)] for samples in of_workers[:workers]] for workers in _counts(plan)]
        totals = [[sum(of_round) for of_round in zip(*found, strict=True)] for found in rates]
    else:
        totals = _in_one_process(subject, len(shapes), share.left_s)
    for workers, total in zip(_counts(plan), totals, strict=True):
        params: Params = {"workers": workers, "sharing": sharing, "layers": len(shapes), "launch": _launch(plan)}
        ratios = tuple(each / alone for each, alone in zip(total, totals[0], strict=True))
        yield Measured("contention", params, ratios, "ratio")


def _counts(plan: Plan) -> range:
    return range(1, plan.layout.num_workers + 1)


def _key(workers: int) -> str:
    return f"{workers} workers"


def _rows(subject: Subject) -> int:
    return subject.contexts((_CONTEXT,))[0]


def _launch(plan: Plan) -> Launch:
    """As the plan says; but to compile in every worker takes long, and a process captures graphs on one device only."""
    is_spread = plan.backend == "local" and len(set(plan.devices)) > 1
    return "eager" if plan.launch == "compiled" or is_spread else plan.launch


def _pass_of(subject: Subject, num_layers: int) -> Pass:
    """A pass through a stage of the worker's own, after it was warmed up."""
    rows = _rows(subject)
    stage = ProbedStage(subject, subject.stage_shapes[:num_layers], rows, _launch(subject.plan))
    stage.pretend(rows - 1)
    run = partial(stage.forward, subject.hidden(1), rows - 1)
    run()
    return run


def _plan_of_rounds(pass_s: float, seconds: float, num_workers: int) -> tuple[int, float]:
    """How many rounds there is time for, and the seconds of each number of workers in a round."""
    rounds = max(1, min(_ROUNDS, int(seconds / (num_workers * _LEAST_PASSES * pass_s))))
    window_s = seconds / (rounds * num_workers)
    return rounds, min(_MOST_PASSES * pass_s, max(_LEAST_PASSES * pass_s, window_s))


def _rate(run: Pass, start_s: float, window_s: float) -> float:
    """Passes in a second, from `start_s` on."""
    while time.perf_counter() < start_s:
        pass
    begin_s, passes = time.perf_counter(), 0
    while (now_s := time.perf_counter()) < begin_s + window_s or not passes:
        run()
        passes += 1
    return passes / (now_s - begin_s)


def _pass_s(run: Pass) -> float:
    """Seconds of the quickest of a few passes."""
    return min(1.0 / _rate(run, 0.0, 0.0) for _ in range(_LEAST_PASSES))


# Processes.


def compete(
    seconds: float, num_layers: int, plan: Plan, jobs: Sequence[Job], worker: int, transport: DistributedTransport,
    progress: Progress, sink: Sink | None,
) -> RankReport:  # fmt: skip
    """Be one of the workers of a launch of which ever more run their stage at the same time, `seconds` in all."""
    subject = subject_of(plan, worker)
    with torch.inference_mode():
        run = _pass_of(subject, num_layers)

        def whole() -> None:
            run()
            if subject.device.type == "cuda":
                torch.cuda.synchronize(subject.device)

        whole()
        transport.meet()
        pass_s = agreed(transport.gather, "pass", worker, lambda: _pass_s(whole))
        rounds, window_s = _plan_of_rounds(pass_s, seconds, plan.layout.num_workers)
        rates: dict[str, list[float]] = {}
        for number in range(rounds):
            for workers in _counts(plan):
                # Whoever has no part waits here for the next one.
                subject_s = f"round {number} of {workers}"
                start_s = agreed(transport.gather, subject_s, worker, lambda: time.perf_counter() + _LEAD_S)
                if worker < workers:
                    rates.setdefault(_key(workers), []).append(_rate(whole, start_s, window_s))
    return report_of(worker, transport, {key: tuple(found) for key, found in rates.items()})


# One process.


def _in_one_process(subject: Subject, num_layers: int, seconds: float) -> list[list[float]]:
    """Passes in a second by workers and round: issued worker by worker, as one host does it."""
    plan = subject.plan
    workers = [subject_of(plan, worker) for worker in range(plan.layout.num_workers)]
    streams = [_stream(each.device) for each in workers]
    passes: list[Pass] = []
    for each, stream in zip(workers, streams, strict=True):
        with _on(stream):
            passes.append(_pass_of(each, num_layers))

    def together(count: int) -> None:
        for run, stream in zip(passes[:count], streams, strict=False):
            with _on(stream):
                run()
        for each in workers[:count]:
            if each.device.type == "cuda":
                torch.cuda.synchronize(each.device)

    rounds, window_s = _plan_of_rounds(_pass_s(lambda: together(1)), seconds, len(workers))
    totals: list[list[float]] = [[] for _ in workers]
    for _ in range(rounds):
        for count in _counts(plan):
            totals[count - 1].append(count * _rate(partial(together, count), 0.0, window_s))
    return totals


def _on(stream: "torch.cuda.Stream | None") -> AbstractContextManager[object]:
    return nullcontext() if stream is None else torch.cuda.stream(stream)


def _stream(device: torch.device) -> "torch.cuda.Stream | None":
    return torch.cuda.Stream(device) if device.type == "cuda" else None  # type: ignore[no-untyped-call]
