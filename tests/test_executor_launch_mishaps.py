"""Ranks that are lost: the run ends with one error that names one of them, and no process is left behind."""

import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from executor.errors import LaunchError, LostRankError
from executor.events import Event, TokenVerified
from executor.launch.processes import launch
from executor.plan import Backend
from spdsim.errors import InputError, SpdError
from tests.emulation import emulated_plan, emulated_scenario
from tests.executor_ranks import BACKENDS, WORDS, Mishap, job, ring, ring_plan

CYCLE = 6
"""The one in which mishaps happen."""

MISHAPS: list[tuple[Mishap, type[SpdError], str]] = [
    (
        Mishap(2, CYCLE, "is killed"),
        LostRankError,
        "rank 2 (stage 1) was killed by signal 9 in cycle 6 of sequence 7: ",
    ),
    (Mishap(0, CYCLE, "crashes"), LostRankError, "rank 0 (draft) was killed by signal 11 in cycle 6 of sequence 7: "),
    (Mishap(1, CYCLE, "stops"), LostRankError, "rank 1 (stage 0) stalled in cycle 6 of sequence 7: "),
    (Mishap(2, CYCLE, "sleeps"), LostRankError, "rank 2 (stage 1) stalled in cycle 6 of sequence 7: "),
    (Mishap(1, CYCLE, "exits"), LostRankError, "rank 1 (stage 0) ended with exit code 3 in cycle 6 of sequence 7, "),
    (Mishap(0, CYCLE, "raises"), LostRankError, "rank 0 (draft) failed in cycle 6 of sequence 7: ValueError: a bug"),
    (Mishap(2, CYCLE, "has no memory"), LostRankError, "rank 2 (stage 1) ran out of memory in cycle 6 of sequence 7: "),
    (Mishap(2, None, "has no memory"), LaunchError, "rank 2 (stage 1) ran out of memory while loading: "),
    (Mishap(1, None, "misses a file"), InputError, "rank 1 (stage 0): model.safetensors: is not there"),
    (Mishap(1, None, "is killed"), LostRankError, "rank 1 (stage 0) was killed by signal 9 while loading: "),
    (Mishap(0, None, "stops"), LostRankError, "rank 0 (draft) stalled while loading: "),
]
ON_BACKENDS = [(BACKENDS[1], *case) for case in MISHAPS]
ON_BACKENDS += [(BACKENDS[0], *case) for case in MISHAPS if case[0].kind in ("is killed", "sleeps")]


def pids_in(directory: Path) -> list[int]:
    return [int(path.name) for path in directory.iterdir()]


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def children_of(pid: int) -> list[int]:
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = status.read_text().rpartition(")")[2].split()
            if int(fields[1]) == pid and fields[0] != "Z":
                found.append(int(status.parent.name))
    return sorted(found)


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + 60.0
    while not is_so():
        assert time.monotonic() < deadline_s, "waited in vain"
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("backend", "mishap", "error", "text"), ON_BACKENDS, ids=lambda value: getattr(value, "kind", "")
)
def test_a_mishap_ends_the_run_with_one_error_that_names_the_rank(
    backend: Backend, mishap: Mishap, error: type[SpdError], text: str, tmp_path: Path
) -> None:
    """Its text says who, where and what; tokens verified until then have reached the sink; no process is left."""
    events: list[Event] = []
    rank = partial(ring, mishap=mishap, pids=tmp_path)
    timeout_s = 1.5 if mishap.kind in ("sleeps", "stops") else 20.0
    with pytest.raises(error) as caught:
        launch(ring_plan(backend, timeout_s), [job(50)], events.append, rank=rank)
    assert type(caught.value) is error
    assert str(caught.value).startswith(text) and "\n" not in str(caught.value)
    tokens = [event.token - 3 for event in events if isinstance(event, TokenVerified)]
    assert tokens == list(range(len(tokens)))
    # What a rank did just before it was lost may not have come round any more.
    assert len(tokens) in ([0] if mishap.cycle is None else [CYCLE - 1, CYCLE])
    assert len(pids_in(tmp_path)) == 3 or mishap.cycle is None
    assert not any(map(is_alive, pids_in(tmp_path)))
    notes = "\n".join(caught.value.__notes__)
    assert WORDS in notes
    assert ("ValueError: a bug\nwith more to say" in notes) == (mishap.kind == "raises")


def test_a_sink_that_raises_ends_the_ranks(tmp_path: Path) -> None:
    """A Ctrl-C, or an output that is gone: the error is the caller's, and no process is left."""

    def sink(event: Event) -> None:
        if isinstance(event, TokenVerified):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        launch(ring_plan(BACKENDS[1]), [job(10**6)], sink, rank=partial(ring, pids=tmp_path))
    assert len(pids_in(tmp_path)) == 3 and not any(map(is_alive, pids_in(tmp_path)))


def test_a_wish_to_stop_that_comes_while_processes_are_started_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not reach those who are started, and is not lost."""
    heard: list[str] = []

    def start() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        heard.append("not yet")

    monkeypatch.setattr("executor.launch.processes.forkserver.ensure_running", start)
    with pytest.raises(KeyboardInterrupt):
        launch(ring_plan("socket"), [job(4)], lambda _: None)
    assert heard == ["not yet"]
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


def test_ranks_do_not_outlive_the_process_that_launched_them(tmp_path: Path) -> None:
    """Not even one that is stopped, when the launching process is killed."""
    scenario = emulated_scenario(2, p=1.0, forward_s=1e-3)
    arguments = tmp_path / "arguments"
    arguments.write_bytes(pickle.dumps((emulated_plan(scenario, backend=BACKENDS[1]), [job(10**5)])))
    program = "import pickle, sys; from executor.launch.processes import launch; "
    program += "launch(*pickle.load(open(sys.argv[1], 'rb')), lambda event: print(event, flush=True))"
    command = [sys.executable, "-c", program, str(arguments)]
    with subprocess.Popen(command, cwd=Path(__file__).parent.parent, stdout=subprocess.PIPE, text=True) as launcher:
        assert launcher.stdout is not None and launcher.stdout.readline().startswith("Ready(")
        (server,) = [child for child in children_of(launcher.pid) if children_of(child)]
        ranks = children_of(server)
        assert len(ranks) == 3
        os.kill(ranks[1], signal.SIGSTOP)
        launcher.kill()
    wait_until(lambda: not any(map(is_alive, ranks)))
