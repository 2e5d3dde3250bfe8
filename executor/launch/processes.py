"""Starts the ranks of a run as processes of this host, and sees to it that none is left. Loads no torch itself.

Knows nothing of what a rank does.
"""

import errno
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import forkserver, get_context, resource_tracker
from typing import TYPE_CHECKING, Any

from executor.errors import LaunchError
from executor.events import Outcome, Sink
from executor.launch.orders import Inherited, Orders, obey
from executor.launch.tokens import num_cells as num_token_cells
from executor.launch.watch import Rank, Watch
from executor.plan import Job, Plan
from executor.progress import num_cells as num_place_cells

if TYPE_CHECKING:
    from executor.launch.orders import RankFunction

_HOST = "127.0.0.1"
_PRELOADED = ["executor.launch.child", "executor.rank"]
_FAREWELL_S = 5.0
"""How long a rank may take to end once it is let go."""


def launch(
    plan: Plan, jobs: Sequence[Job], sink: Sink, *, port: int | None = None, rank: "RankFunction | None" = None
) -> Outcome:
    """Run `jobs` as all workers of `plan`, in this process or in one of its own for each, and return what came of it.

    sink: gets the events of worker 0, in this process. port: of the ranks' store; None: a free one. rank: what each
    rank runs; None: `executor.rank.run_rank`.
    Raises LaunchError if the ranks cannot be started or do not find each other, LostRankError if one dies, stalls or
    fails, and whatever SpdError a rank raises, with the rank named. No process is left behind.
    """
    if plan.backend == "local":
        from executor.rank import run_local

        return run_local(plan, jobs, sink)
    context: Any = get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
    places = context.RawArray("q", num_place_cells(plan.layout.num_workers))
    tokens = context.RawArray("q", num_token_cells(jobs))
    _start_server()
    ranks: list[Rank] = []
    with _listener(port) as listener, _ended(ranks):
        number = listener.getsockname()[1]
        for worker in range(plan.layout.num_workers):
            here, there = context.Pipe()
            output = tempfile.TemporaryFile()  # noqa: SIM115
            orders = Orders(
                plan, tuple(jobs), worker, number, Inherited(listener.fileno()) if worker == 0 else None,
                Inherited(output.fileno()), places, tokens, there, rank,
            )  # fmt: skip
            ranks.append(Rank(context.Process(target=obey, args=(orders,), daemon=True), here, output))
            with there:
                _start(ranks[-1])
        listener.close()
        return Watch(plan, jobs, sink, ranks, places, tokens).outcome()


def _listener(port: int | None) -> socket.socket:
    """Return the socket on which the ranks find their store. Raises LaunchError if the port is taken."""
    if port is not None and not 0 < port < 1 << 16:
        raise LaunchError(f"port is {port}: must be 1 to 65535")
    try:
        return socket.create_server((_HOST, port or 0), backlog=1024)
    except OSError as error:
        why = "is in use" if error.errno == errno.EADDRINUSE else f"cannot be had ({error})"
        raise LaunchError(f"port {port} {why}: choose another, or none, and a free one is found") from None


def _start_server() -> None:
    """Start the fork server such that a Ctrl-C at the terminal does not reach it, nor those whom it forks."""
    if threading.current_thread() is not threading.main_thread():
        # Only the main thread may say what a signal does; the ranks ignore it as soon as they run.
        return
    # It lets signals through when it starts, so it goes first; the fork server would start it otherwise.
    resource_tracker.ensure_running()
    # Held back rather than ignored: a Ctrl-C that comes just now is heard afterwards. Who is started inherits this.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start(rank: Rank) -> None:
    try:
        rank.process.start()
    except (OSError, EOFError) as error:
        raise LaunchError(f"no process can be started for a rank: {error or type(error).__name__}") from error


@contextmanager
def _ended(ranks: list[Rank]) -> Iterator[None]:
    """End all processes that `ranks` then holds: let them go if all is well, else kill them."""
    try:
        yield
    except BaseException:
        for rank in ranks:
            if rank.process.pid is not None:
                rank.process.kill()
        raise
    finally:
        for rank in ranks:
            rank.pipe.close()
            rank.output.close()
        for rank in ranks:
            if rank.process.pid is not None:
                rank.process.join(_FAREWELL_S)
                rank.process.kill()
                rank.process.join()
                rank.process.close()
