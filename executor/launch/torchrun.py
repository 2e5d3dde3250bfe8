"""One rank among those that torchrun has started, on one host or several: finds the others, runs, reports.

Knows nothing of what a rank does.
"""

import os
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous

from executor.errors import LaunchError
from executor.events import Event, JobDone, Outcome, Sink
from executor.launch.child import prepare
from executor.launch.control import Control
from executor.launch.faults import failure_of
from executor.plan import Job, JobResult, Plan
from executor.progress import Doing, Progress, rank_name
from executor.transport.distributed import DistributedTransport
from executor.transport.meeting import PATIENCE_S, Meeting, host_id, one_line

if TYPE_CHECKING:
    from executor.launch.orders import RankFunction

_VARIABLES = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


def join(plan: Plan, jobs: Sequence[Job], sink: Sink, *, rank: "RankFunction | None" = None) -> Outcome | None:
    """Run `jobs` as the worker whose number torchrun has given this process; return the outcome on worker 0.

    sink: gets events on worker 0. rank: what the rank runs; None: `executor.rank.run_rank`.
    Raises LaunchError if torchrun has started another number of ranks, or they do not find each other; LostRankError,
    on every rank that waits for it, if one dies or stalls; and whatever SpdError this rank raises, with its name.
    """
    worker = _worker(plan)
    progress = Progress(plan.layout.num_workers)
    results: list[JobResult] = []

    def hear(event: Event) -> None:
        if isinstance(event, JobDone):
            results.append(event.result)
        sink(event)

    try:
        run = prepare(plan, worker, rank)
        store = _store(worker, plan)
        meeting = Meeting(PrefixStore("control", store), plan.layout, worker, host_id(), os.environ["MASTER_ADDR"])
        transport = DistributedTransport(worker, plan, PrefixStore("messages", store), meeting.master_host)
        control = Control(meeting, transport.hosts)
        before = control.offset()
        progress.is_doing(worker, Doing.LOADING)
        report = run(plan, jobs, worker, transport, progress, hear if worker == plan.layout.driver else None)
        transport.close()
        control.set_timeout(plan.timeout_s)
        reports = control.gather(report, before)
        control.close()
    except Exception as error:
        failure = failure_of(error, plan.layout, worker, progress.place(worker), jobs)
        raise failure.error(failure.text) from error
    return Outcome(tuple(results), tuple(reports)) if worker == 0 else None


def _worker(plan: Plan) -> int:
    """Return which worker this process is. Raises LaunchError if torchrun says nothing of it, or started too many."""
    missing = [name for name in _VARIABLES if name not in os.environ]
    if missing:
        raise LaunchError(f"{missing[0]} is not set: this process was not started by torchrun")
    started, needed = int(os.environ["WORLD_SIZE"]), plan.layout.num_workers
    if started != needed:
        stages = plan.layout.num_stages
        rule = f"{stages} stage{'' if stages == 1 else 's'} need {needed}: --nproc-per-node times --nnodes must be that"
        raise LaunchError(f"torchrun has started {started} rank{'' if started == 1 else 's'}: {rule}")
    return int(os.environ["RANK"])


def _store(worker: int, plan: Plan) -> Store:
    """Return the store of all ranks. Raises LaunchError if it cannot be reached."""
    try:
        store: Store = next(rendezvous("env://", timeout=timedelta(seconds=PATIENCE_S)))[0]
    except (RuntimeError, ValueError) as error:
        at = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
        name = rank_name(plan.layout, worker)
        raise LaunchError(f"{name} cannot meet the others at {at}: {one_line(error)}") from error
    return store
