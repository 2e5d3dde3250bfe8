"""Evaluating points, one after another or on many cores: the figures are the same bit for bit.

joblib is imported where there is more than one process, and nowhere else.
"""

import os
import signal
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib import import_module
from itertools import chain, islice
from threading import current_thread, main_thread
from time import monotonic
from typing import Any, Literal

from spdsim import fast
from spdsim.errors import InputError, SpdError
from spdsim.evaluation import Evaluation, evaluate, evaluate_each, num_sequences
from spdsim.machine import Machine
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
    batches = _batches(tasks, effort)
    left: deque[_Task] = deque()
    is_alone = backend == "loky" and jobs == 1
    if is_alone or (jobs is None and backend == "loky"):
        begin_s = monotonic()

        def is_over() -> bool:
            return not is_alone and monotonic() - begin_s > _STARTING_S

        for batch in batches:
            points, slow = _evaluated_together(batch, effort)
            yield from points
            left += slow
            while left and not is_over():
                yield _evaluated(left.popleft(), effort)
            if is_over():
                break
    yield from _in_parallel(batches, left, effort, jobs, backend)


_Task = tuple[Point, Scenario | None]
"""A point without figures, and its scenario, if it is one."""

_BATCH_TOKENS = 2**20
"""Of a batch, about: a second or two of the fast path, so that progress is seen and processes share the work."""


def _task(spec: Spec, number: int, values: tuple[Any, ...]) -> _Task:
    try:
        return Point(number, values), spec.scenario(values)
    except SpdError as error:
        return Point(number, values, error=str(error)), None


def _batches(tasks: Iterator[_Task], effort: Effort) -> Iterator[list[_Task]]:
    """Yield the tasks in lists of as many as are worth being evaluated together."""
    batch: list[_Task] = []
    sequences = tokens = 0
    for task in tasks:
        scenario = task[1]
        more = 0 if scenario is None else num_sequences(scenario, effort.precision)
        more_tokens = 0 if scenario is None else more * scenario.workload.max_new_tokens
        if batch and (sequences + more > fast.CHUNK or tokens + more_tokens > _BATCH_TOKENS):
            yield batch
            batch, sequences, tokens = [], 0, 0
        batch.append(task)
        sequences, tokens = sequences + more, tokens + more_tokens
    if batch:
        yield batch


def _evaluated_together(batch: Sequence[_Task], effort: Effort) -> tuple[list[Point], list[_Task]]:
    """Evaluate the tasks of a batch; return their points, and the tasks that gain nothing by company."""
    points: list[Point] = []
    known: list[tuple[Point, Scenario, Machine]] = []
    for point, scenario in batch:
        if scenario is None:
            points.append(point)
            continue
        try:
            known.append((point, scenario, machine_of(scenario)))
        except SpdError as error:
            points.append(replace(point, error=str(error)))
    found = evaluate_each([task[1:] for task in known], **asdict(effort))
    slow: list[_Task] = [task[:2] for task, each in zip(known, found, strict=True) if each is None]
    points += [_with(task, each) for task, each in zip(known, found, strict=True) if each is not None]
    return sorted(points, key=lambda point: point.number), slow


def _evaluated(task: _Task, effort: Effort) -> Point:
    """Evaluate a task by itself."""
    point, scenario = task
    assert scenario is not None
    machine = machine_of(scenario)
    try:
        found: Evaluation | SpdError = evaluate(scenario, machine=machine, **asdict(effort))
    except SpdError as error:
        found = error
    return _with((point, scenario, machine), found)


def _with(known: tuple[Point, Scenario, Machine], found: Evaluation | SpdError) -> Point:
    """Return the point with what was found."""
    point, scenario, machine = known
    if isinstance(found, SpdError):
        return replace(point, error=str(found))
    return replace(
        point, evaluation=found, scenario_sha256=scenario_sha256(scenario), warnings=machine.warnings,
        origins=machine.origins,
    )  # fmt: skip


def _apart(function: Callable[[Any, Effort], Any], work: Any, effort: Effort) -> Any:
    """Call a function in a process of ours, to which Ctrl-C is none of its business: who started it will end it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    return function(work, effort)


def _in_parallel(
    batches: Iterator[list[_Task]], left: Collection[_Task], effort: Effort, jobs: int | None, backend: Backend
) -> Iterator[Point]:
    """Evaluate batches in processes, and then one by one what is left of them, and what was left before."""
    slow = list(left)
    first = list(islice(batches, 2))
    if len(first) < 2 and backend == "loky" and len(slow) < 2:
        for batch in first:
            points, more = _evaluated_together(batch, effort)
            yield from points
            slow += more
        if len(slow) < 2:
            yield from (_evaluated(task, effort) for task in slow)
            return
        first = []
    with _workers(backend, -1 if jobs is None else jobs):
        for points, more in _shared_out(_evaluated_together, chain(first, batches), effort, backend):
            yield from points
            slow += more
        yield from _shared_out(_evaluated, slow, effort, backend)


def _shared_out(
    function: Callable[[Any, Effort], Any], work: Iterable[Any], effort: Effort, backend: Backend
) -> Iterator[Any]:
    """Yield what `function` returns for each piece of work, from many processes, in any order."""
    from joblib import Parallel, delayed

    call = partial(_apart, function) if backend == "loky" else function
    with _deaf_children():
        finished = Parallel(return_as="generator_unordered")(delayed(call)(each, effort) for each in work)
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
