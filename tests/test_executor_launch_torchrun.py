"""Ranks that others have started: they join by what torchrun leaves in the environment, and agree on the clock."""

import multiprocessing
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from multiprocessing.connection import Connection
from typing import Any, TypeVar

import pytest
import torch.distributed

from executor.errors import LaunchError
from executor.events import JobDone, Outcome, RankReport, TokenVerified
from executor.launch.control import Control
from executor.launch.torchrun import join
from executor.plan import Backend
from executor.transport.clocks import Offset
from executor.transport.meeting import Meeting
from spdsim.schedules.spd import Layout
from spdsim.trace import Site, Trace
from tests.executor_ranks import BACKENDS, HEADER, Mishap, job, join_as, ring, ring_plan

T = TypeVar("T")

JOBS = [job(12)]


def torchrun(backend: Backend, rank: Callable[..., RankReport], world_size: int = 3) -> list[Any]:
    """Return what each of `world_size` processes says that join a run as torchrun's do."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["executor.launch.child", "executor.rank"])
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    plan, pipes, processes = ring_plan(backend, timeout_s=2.0), list[Connection](), list[Any]()
    for worker in range(world_size):
        here, there = context.Pipe()
        environment = {
            "RANK": str(worker), "WORLD_SIZE": str(world_size), "MASTER_ADDR": "localhost", "MASTER_PORT": str(port),
        }  # fmt: skip
        processes.append(context.Process(target=join_as, args=(plan, JOBS, environment, rank, there), daemon=True))
        processes[-1].start()
        there.close()
        pipes.append(here)
    said = [pipe.recv() if pipe.poll(60) else None for pipe in pipes]
    for process, pipe in zip(processes, pipes, strict=True):
        pipe.close()
        process.kill()
        process.join()
        process.close()
    return said


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_outcome_is_on_worker_0_and_so_are_the_events(backend: Backend) -> None:
    """Every other rank has none; a report of each is in the outcome, in their order."""
    (outcome, events), *others = torchrun(backend, ring)
    assert isinstance(outcome, Outcome) and others == [(None, [])] * 2
    assert [report.worker for report in outcome.reports] == [0, 1, 2]
    assert outcome.results == tuple(event.result for event in events if isinstance(event, JobDone))
    assert [event.token for event in events if isinstance(event, TokenVerified)] == [3 + n for n in range(12)]


def test_ranks_that_wait_for_a_lost_one_say_where_they_were() -> None:
    """There is no parent to tell which it was: each names the one that it waits for."""
    lost, victim, other = torchrun(BACKENDS[1], partial(ring, mishap=Mishap(0, 6, "raises")))
    assert lost == "LostRankError: rank 0 (draft) failed in cycle 6 of sequence 7: ValueError: a bug"
    for said, name in ((victim, "rank 1 (stage 0)"), (other, "rank 2 (stage 1)")):
        assert said.startswith(f"LostRankError: {name}, in cycle ")


def test_a_world_of_another_size_is_refused_with_what_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says how many ranks the plan needs and how they are started."""
    plan = ring_plan(BACKENDS[1])
    for name, value in (("RANK", "0"), ("WORLD_SIZE", "4"), ("MASTER_ADDR", "localhost"), ("MASTER_PORT", "1")):
        with pytest.raises(LaunchError, match=f"^{name} is not set: "):
            join(plan, JOBS, lambda event: None)
        monkeypatch.setenv(name, value)
    with pytest.raises(LaunchError, match=r"^torchrun has started 4 ranks: 2 stages need 3: --nproc-per-node"):
        join(plan, JOBS, lambda event: None)


def in_threads(work: Callable[[int, Any], T], count: int) -> list[T]:
    """Return what `work` returns for each worker, all at once, with a store of their own."""
    store = torch.distributed.HashStore()  # type: ignore[attr-defined]
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(lambda worker: work(worker, store), range(count)))


@pytest.mark.parametrize("hosts", [("a", "a", "a"), ("a", "b", "a"), ("a", "b", "c")], ids=str)
def test_spans_of_other_hosts_are_moved_to_the_clock_of_worker_0(hosts: tuple[str, ...]) -> None:
    """Hosts by name only, on one clock: what is measured is an offset of nothing, known as well as it claims."""
    layout = Layout(2)

    def work(worker: int, store: Any) -> tuple[float, Offset | None, list[RankReport]]:
        control = Control(Meeting(store, layout, worker, hosts[worker]), hosts)
        spans = Trace(HEADER)
        spans.begin_sequence()
        before = control.offset()
        now_s = time.perf_counter()
        spans.record(spans.site_id(Site(worker, "forward")), 0, 0, now_s, now_s + 1.0)
        reports = control.gather(RankReport(worker, spans, 0, 0), before)
        control.close()
        return now_s, before, reports

    said = in_threads(work, len(hosts))
    for host, (_, offset, _) in zip(hosts, said, strict=True):
        assert (offset is None) == (host == hosts[0])
        assert offset is None or abs(offset.offset_s) <= offset.error_s
    reports = said[0][2]
    assert [report.worker for report in reports] == [0, 1, 2] and said[1][2] == said[2][2] == []
    for (now_s, offset, _), report in zip(said, reports, strict=True):
        (span,) = report.spans.spans()
        assert (span.start_s == now_s) == (offset is None or offset.offset_s == 0.0)
        assert abs(span.start_s - now_s) < 1.0 and abs(span.end_s - now_s - 1.0) < 1.0
