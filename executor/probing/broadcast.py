"""The probe `broadcast`: until the last of several workers has a verdict, sent to one after another, as in a run.

All processes of a host share a clock, so that nobody need answer.
"""

import time
from collections.abc import Iterator, Sequence
from functools import partial

import torch

from executor.events import RankReport, Sink
from executor.plan import Job, Plan
from executor.probing.findings import Finding, Measured, Params
from executor.probing.ranks import Samples, agreed, measure, on_hosts, report_of
from executor.probing.share import Share
from executor.probing.subject import Subject
from executor.progress import Progress
from executor.transport.distributed import DistributedTransport
from executor.transport.local import LocalTransport
from executor.transport.message import Channel, Field
from spdsim.schedules.spd import Layout

RECEIVERS = (2, 4, 8)
_SLOTS = 4
_WARM_UPS = 3
_LEAST_ROUNDS, _MOST_ROUNDS = 10, 60
_APART_S = 2e-3
"""Between verdicts, so that every receiver waits again when the next one comes."""


def probe_broadcast(subject: Subject, share: Share) -> Iterator[Finding]:
    """Yield the seconds from the first sending until the last receiver has it, by the number of receivers."""
    plan = subject.plan
    # Between processes verdicts travel by sockets, whatever else does.
    backend = "local" if plan.backend == "local" else "socket"
    process_s = 0.0
    cases: list[Params] = [{"receivers": receivers, "backend": backend} for receivers in RECEIVERS]
    for params, seconds in share.cases(cases):
        receivers = int(params["receivers"])
        if plan.backend == "local":
            yield Measured("broadcast", params, _at_home(receivers, seconds))
            continue
        if process_s * (receivers + 1) > share.seconds:
            share.skip(f"receivers {receivers}: to start {receivers + 1} processes takes longer than the budget allows")
            continue
        begin_s = time.perf_counter()
        of_workers = measure(on_hosts(plan, Layout(receivers)), partial(spread, seconds))
        at_s = of_workers[0]["at_s"]
        start_s = time.perf_counter() - begin_s - (at_s[-1] - at_s[0])
        share.prolong(start_s)
        process_s = start_s / (receivers + 1)
        yield Measured("broadcast", params, _last_arrivals(of_workers))


def _last_arrivals(of_workers: Sequence[Samples]) -> tuple[float, ...]:
    begun_s, *arrived_s = (samples["at_s"] for samples in of_workers)
    return tuple(max(round_s) - start_s for start_s, *round_s in zip(begun_s, *arrived_s, strict=True))


def spread(
    seconds: float, plan: Plan, jobs: Sequence[Job], worker: int, transport: DistributedTransport, progress: Progress,
    sink: Sink | None,
) -> RankReport:  # fmt: skip
    """Be the worker that sends, 0, or one that receives, for about `seconds`; tell when each round began or ended."""
    receivers = range(1, plan.layout.num_workers)
    at_s: list[float] = []
    with torch.inference_mode():
        verdict_2 = torch.ones(2, dtype=torch.int64)
        outboxes = [transport.outbox(_channel(to), _SLOTS) for to in receivers] if worker == 0 else []
        inbox = None if worker == 0 else transport.inbox(_channel(worker), _SLOTS)
        transport.meet()
        rounds = agreed(transport.gather, "rounds", worker, lambda: _rounds(seconds))
        for _ in range(_WARM_UPS + int(rounds)):
            if inbox is None:
                time.sleep(_APART_S)
                at_s.append(time.perf_counter())
                for outbox in outboxes:
                    outbox.slot()[0].copy_(verdict_2)
                    outbox.send()
            else:
                inbox.post()
                inbox.take()
                at_s.append(time.perf_counter())
    return report_of(worker, transport, {"at_s": tuple(at_s[_WARM_UPS:])})


def _rounds(seconds: float) -> int:
    return min(_MOST_ROUNDS, max(_LEAST_ROUNDS, int(seconds / _APART_S)))


def _channel(to: int) -> Channel:
    return Channel("verdict", 0, to, (Field("verdict", torch.int64, (2,)),), is_host=True)


def _at_home(receivers: int, seconds: float) -> tuple[float, ...]:
    """The same within a process, whose one host takes what it has sent."""
    transport = LocalTransport((torch.device("cpu"),) * (receivers + 1))
    boxes = [transport.outbox(_channel(to), _SLOTS) for to in range(1, receivers + 1)]
    verdict_2 = torch.ones(2, dtype=torch.int64)
    samples: list[float] = []
    end_s = time.perf_counter() + seconds
    while len(samples) < _WARM_UPS + _LEAST_ROUNDS or (
        len(samples) < _WARM_UPS + _MOST_ROUNDS and time.perf_counter() < end_s
    ):
        start_s = time.perf_counter()
        for box in boxes:
            box.slot()[0].copy_(verdict_2)
            box.send()
        for box in boxes:
            box.take()
        samples.append(time.perf_counter() - start_s)
    return tuple(samples[_WARM_UPS:])
