"""Ranks as processes: they find each other, pass messages in order, and run what one process runs."""

import os
import socket
from functools import partial
from pathlib import Path

import pytest

from executor.errors import LaunchError
from executor.events import Event, JobDone, Ready, TokenVerified
from executor.launch.processes import launch
from executor.plan import Backend
from executor.rank import run_local
from tests.emulation import emulated_plan, emulated_scenario, jobs
from tests.executor_ranks import BACKENDS, flood, job, ring, ring_plan


@pytest.mark.parametrize("backend", BACKENDS)
def test_messages_arrive_in_order_and_events_reach_the_sink_in_theirs(backend: Backend) -> None:
    """More messages than slots go round; every job's tokens come between the end of the job before and its own."""
    events: list[Event] = []
    plan, counts = ring_plan(backend), (50, 1, 7)
    outcome = launch(plan, [job(count) for count in counts], events.append, rank=ring)
    expected: list[type[Event]] = [Ready]
    for count in counts:
        expected += [*[TokenVerified] * count, JobDone]
    assert [type(event) for event in events] == expected
    tokens = [(event.job, event.token, event.accepted) for event in events if isinstance(event, TokenVerified)]
    ring_sum = sum(range(plan.layout.num_workers))
    assert tokens == [(n, cycle + ring_sum, cycle % 2 == 0) for n, count in enumerate(counts) for cycle in range(count)]
    assert [len(result.tokens) for result in outcome.results] == list(counts)
    assert [report.worker for report in outcome.reports] == [0, 1, 2]
    assert len({report.peak_bytes for report in outcome.reports} | {os.getpid()}) == 4, "each rank has its process"
    assert all(report.held_bytes == plan.threads for report in outcome.reports), "each rank has the plan's threads"


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_sender_may_be_far_ahead_of_its_receiver(backend: Backend) -> None:
    """Many messages, more than slots and larger than the system's buffers, all arrive whole."""
    outcome = launch(ring_plan(backend), [job(20)], lambda event: None, rank=flood)
    assert outcome.reports[1].peak_bytes == 0, "values that came wrong"


@pytest.mark.parametrize("backend", BACKENDS)
def test_ranks_apart_decode_what_one_process_does(backend: Backend) -> None:
    """Tokens, verdicts and cycles do not depend on where the workers are; nor do their spans."""
    scenario = emulated_scenario(3)
    apart, at_home = list[Event](), list[Event]()
    outcome = launch(emulated_plan(scenario, backend=backend), jobs(24), apart.append)
    expected = run_local(emulated_plan(scenario), jobs(24), at_home.append)
    assert [(r.tokens, r.accepted, r.num_cycles) for r in outcome.results] == [
        (r.tokens, r.accepted, r.num_cycles) for r in expected.results
    ]
    tokens = [event for event in apart if isinstance(event, TokenVerified)]
    assert tokens == [event for event in at_home if isinstance(event, TokenVerified)]
    for mine, theirs in zip(outcome.reports, expected.reports, strict=True):
        assert [(s.op, s.cycle) for s in mine.spans.spans()] == [(s.op, s.cycle) for s in theirs.spans.spans()]


def test_a_port_in_use_is_said_before_any_rank_starts(tmp_path: Path) -> None:
    """The error names the port; with a free one all goes well."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(LaunchError, match=rf"^port {port} is in use: "):
            launch(ring_plan(BACKENDS[1]), [job(1)], lambda event: None, port=port, rank=partial(ring, pids=tmp_path))
    assert not list(tmp_path.iterdir()), "a rank has started"
    assert launch(ring_plan(BACKENDS[1]), [job(1)], lambda event: None, port=port, rank=ring).results


def test_a_port_that_cannot_be_is_refused() -> None:
    """The error gives the rule."""
    with pytest.raises(LaunchError, match=r"^port is 65536: must be 1 to 65535$"):
        launch(ring_plan(BACKENDS[1]), [job(1)], lambda event: None, port=65536, rank=ring)
