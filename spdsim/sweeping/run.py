"""Evaluating points, one after another or on many cores: the figures are the same bit for bit.

joblib is imported where there is more than one process, and nowhere else.
"""

import os
import signal
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from importlib import import_module
from itertools import chain, islice
from threading import current_thread, main_thread
from time import monotonic
from typing import Any, Literal

from spdsim.errors import InputError, SpdError
from spdsim.evaluation import evaluate
from spdsim.scenario import Scenario, scenario_sha256
from spdsim.sweeping.points import Point, Spec
from spdsim.timing import machine_of

Backend = Literal["loky", "dask", "ray"]

_NEEDS = {"dask": ("distributed", "dask distributed"), "ray": ("ray.util.joblib", "ray")}
"""What a backend imports, and what pip calls it."""


_STARTING_S = 1.0
"""About what processes take to start."""


@dataclass(frozen=True, slots=True)
class Effort:
    """How long to look at each point; see `spdsim.evaluation.evaluate`."""

    precision: float | None = None
    max_replications: int | None = None


def sweep(
    spec: Spec,
    effort: Effort = Effort(),
    *,
    jobs: int | None = 1,
    backend: Backend = "loky",
    done: Collection[int] = (),
) -> Iterator[Point]:
    """Yield every point of `spec` that is not `done`, with its figures or its error, as they are finished.

    jobs: processes; None: as many as there are cores, once the sweep has taken longer than they take to start.
    done: numbers of points to leave out. Raises InputError for a backend that is not installed.
    """
    tasks = (_task(spec, number, values) for number, values in enumerate(spec.points()) if number not in done)
    is_alone = backend == "loky" and jobs == 1
    if is_alone or (jobs is None and backend == "loky"):
        begin_s = monotonic()
        for point, scenario in tasks:
            yield _evaluated(point, scenario, effort)
            if not is_alone and monotonic() - begin_s > _STARTING_S:
                break
        else:
            return
    yield from _in_parallel(tasks, effort, jobs, backend)


def _task(spec: Spec, number: int, values: tuple[Any, ...]) -> tuple[Point, Scenario | None]:
    try:
        return Point(number, values), spec.scenario(values)
    except SpdError as error:
        return Point(number, values, error=str(error)), None


def _evaluated(point: Point, scenario: Scenario | None, effort: Effort) -> Point:
    if scenario is None:
        return point
    try:
        machine = machine_of(scenario)
        found = evaluate(
            scenario, precision=effort.precision, max_replications=effort.max_replications, machine=machine
        )
    except SpdError as error:
        return replace(point, error=str(error))
    return replace(
        point, evaluation=found, scenario_sha256=scenario_sha256(scenario), warnings=machine.warnings,
        origins=machine.origins,
    )  # fmt: skip


def _evaluated_apart(point: Point, scenario: Scenario | None, effort: Effort) -> Point:
    """Evaluate in a process of ours, to which Ctrl-C is none of its business: who started it will end it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    return _evaluated(point, scenario, effort)


def _in_parallel(
    tasks: Iterator[tuple[Point, Scenario | None]], effort: Effort, jobs: int | None, backend: Backend
) -> Iterator[Point]:
    first = list(islice(tasks, 2))
    if len(first) < 2 and backend == "loky":
        yield from (_evaluated(*task, effort) for task in first)
        return
    from joblib import Parallel, delayed

    evaluated = _evaluated_apart if backend == "loky" else _evaluated
    with _workers(backend, -1 if jobs is None else jobs):
        with _deaf_children():
            finished = Parallel(return_as="generator_unordered")(
                delayed(evaluated)(*task, effort) for task in chain(first, tasks)
            )
        is_whole = False
        try:
            yield from finished
            is_whole = True
        finally:
            finished.close()
            if backend == "loky" and not is_whole:
                _end_workers()


def check_backend(backend: Backend) -> None:
    """Raise InputError, which names what to install, where `backend` is not there."""
    if backend in _NEEDS:
        module, packages = _NEEDS[backend]
        try:
            import_module(module)
        except ImportError:
            raise InputError(f"--backend is {backend}: it is not installed: pip install {packages}") from None


@contextmanager
def _workers(backend: Backend, jobs: int) -> Iterator[None]:
    """Let joblib use `backend` within the block.

    dask has the cluster at DASK_SCHEDULER_ADDRESS, or else one that is made on this machine.
    """
    from joblib import parallel_config

    check_backend(backend)
    with ExitStack() as stack:
        if backend == "dask":
            address = os.environ.get("DASK_SCHEDULER_ADDRESS")
            local = {} if address else {"n_workers": None if jobs < 0 else jobs, "threads_per_worker": 1}
            stack.enter_context(import_module("distributed").Client(address, **local))
        elif backend == "ray":
            import_module("ray.util.joblib").register_ray()
        with parallel_config(backend=backend, n_jobs=jobs):
            yield


@contextmanager
def _deaf_children() -> Iterator[None]:
    """Let processes that are started within the block ignore Ctrl-C, which a terminal sends them too."""
    if current_thread() is not main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _end_workers() -> None:
    """End the processes that are still at work on points that nobody waits for any more."""
    from joblib.externals.loky import get_reusable_executor

    get_reusable_executor().shutdown(wait=False, kill_workers=True)
