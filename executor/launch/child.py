"""What runs in a process that `launch` has started: one rank, from finding the others to its report.

The fork server imports this module before it forks, so that a rank starts with torch loaded.
"""

import faulthandler
import os
import signal
from datetime import timedelta
from typing import TYPE_CHECKING

import torch
from torch.distributed import TCPStore  # type: ignore[attr-defined]  # documented, but not in its __all__

from executor.events import Event, RankReport, Sink, TokenVerified
from executor.launch.faults import failure_of
from executor.launch.orders import Orders
from executor.launch.system import die_with_parent, wake_on_time
from executor.launch.tokens import TokenLog
from executor.plan import Plan
from executor.progress import Doing, Progress
from executor.transport.distributed import DistributedTransport
from executor.transport.meeting import PATIENCE_S

if TYPE_CHECKING:
    from executor.launch.orders import RankFunction


def run(orders: Orders) -> None:
    """Run one rank and tell the parent how it went. Does not return: the process ends when the parent lets it go."""
    die_with_parent()
    # A Ctrl-C at the terminal reaches every process; the parent decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for stream in (1, 2):
        os.dup2(orders.output.number, stream)
    faulthandler.enable(2)
    progress = Progress(orders.plan.layout.num_workers, orders.places)
    try:
        said: object = _report(orders, progress)
    except BaseException as error:
        place = progress.place(orders.worker)
        said = failure_of(error, orders.plan.layout, orders.worker, place, orders.jobs)
    orders.pipe.send(said)
    # A rank that left at once would look lost to those who are still at work.
    orders.pipe.poll(None)
    os._exit(0)


def prepare(plan: Plan, worker: int, rank: "RankFunction | None") -> "RankFunction":
    """Make this process fit for one rank, and return what it is to run."""
    wake_on_time()
    torch.set_num_threads(plan.threads)
    if plan.device == "cuda":
        # Every posted receive holds a stream: with fewer queues than streams one would hold up others.
        os.environ.setdefault("CUDA_DEVICE_MAX_CONNECTIONS", "32")
        torch.cuda.set_device(plan.devices[worker])
    if rank is not None:
        return rank
    from executor.rank import run_rank

    return run_rank


def _report(orders: Orders, progress: Progress) -> RankReport:
    plan, worker, listener = orders.plan, orders.worker, orders.listener
    rank = prepare(plan, worker, orders.rank)
    store = TCPStore(
        "127.0.0.1", orders.port, is_master=listener is not None, timeout=timedelta(seconds=PATIENCE_S),
        wait_for_workers=False, master_listen_fd=None if listener is None else listener.number,
    )  # fmt: skip
    transport = DistributedTransport(worker, plan, store)
    progress.is_doing(worker, Doing.LOADING)
    sink = _sink(orders) if worker == plan.layout.driver else None
    report = rank(plan, orders.jobs, worker, transport, progress, sink)
    transport.close()
    return report


def _sink(orders: Orders) -> Sink:
    log, send = TokenLog(orders.tokens), orders.pipe.send

    def sink(event: Event) -> None:
        if isinstance(event, TokenVerified):
            log.write(event)
        else:
            send(event)

    return sink
