"""What a run runs on: device, backend, number format, threads, and which worker is where.

Knows nothing of the model but its number format.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args

from executor.errors import LaunchError
from executor.plan import Backend, DeviceKind, DType
from executor.planning.place import Place
from executor.planning.request import Request
from executor.planning.target import language_config
from spdsim.errors import InputError
from spdsim.scenario.model import Launch
from spdsim.schedules.spd import Layout

DTYPE_BYTES: dict[DType, int] = {"float32": 4, "bfloat16": 2, "float16": 2}


ON_CPUS: tuple[Backend, ...] = ("socket", "gloo")
"""The backends that give each worker a process and no GPU."""


@dataclass(frozen=True, slots=True)
class Hardware:
    """What a run runs on. num_devices, per_node: of the kind `device`, as far as the run uses them."""

    device: DeviceKind
    backend: Backend
    launch: Launch
    dtype: DType
    threads: int
    num_devices: int
    per_node: int | None = None


def hardware_of(
    request: Request, place: Place, layout: Layout, config: Mapping[str, Any] | None, launch: Launch | None
) -> Hardware:
    """Return what a run that computes runs on. config: the model's. launch: the scenario's; None: there is none.

    Raises InputError for what is not there or does not go together.
    """
    device = device_of(request, place)
    gpus = place.count_gpus() if device == "cuda" else 0
    backend = _backend(request, place, device, layout.num_workers, gpus)
    _check_world(place, layout)
    is_spread = backend != "local"
    return Hardware(
        device, backend, _launch(request, device, launch), dtype_of(request, device, config),
        threads_of(request, cores_each(place, layout.num_workers if is_spread else 1)),
        num_devices=layout.num_workers if is_spread else min(layout.num_workers, max(gpus, 1)),
        per_node=place.world.per_node if place.world else None,
    )  # fmt: skip


def emulated_hardware(request: Request, place: Place, layout: Layout, dtype_bytes: int) -> Hardware:
    """Return what a run runs on that computes nothing. Raises InputError for options that ask for computing."""
    for option, is_given in {
        "--device cuda": request.device == "cuda",
        "--dtype": request.dtype is not None,
        "--launch": request.launch is not None,
    }.items():
        if is_given:
            raise InputError(f"{option} is given beside --emulate: nothing is computed then: leave it out")
    if request.backend == "nccl":
        raise InputError("--backend is nccl: must be local, socket or gloo with --emulate, which needs no GPU")
    _check_world(place, layout)
    backend = request.backend or ("gloo" if place.world else "local")
    _check_backend(backend, place)
    dtype: DType = "float32" if dtype_bytes == DTYPE_BYTES["float32"] else "bfloat16"
    return Hardware("cpu", backend, "eager", dtype, threads_of(request, 1), layout.num_workers)


def device_of(request: Request, place: Place) -> DeviceKind:
    """Return what computes: as asked, else a GPU if there is one. Raises InputError for a GPU that is not there."""
    if request.device is None:
        return "cuda" if request.backend not in ON_CPUS and place.count_gpus() else "cpu"
    if request.device == "cuda" and not place.count_gpus():
        raise InputError("--device is cuda: there is no CUDA device here: must be cpu")
    return request.device


def _backend(request: Request, place: Place, device: DeviceKind, num_workers: int, gpus: int) -> Backend:
    if place.world:
        default: Backend = "nccl" if device == "cuda" else "gloo"
    else:
        default = "nccl" if device == "cuda" and 1 < num_workers <= gpus else "local"
    backend = request.backend or default
    if backend == "nccl" and device != "cuda":
        raise InputError("--backend is nccl: needs --device cuda: must be local, socket or gloo on a CPU")
    if backend in ON_CPUS and device == "cuda":
        raise InputError(f"--backend is {backend}: is for CPUs: must be local or nccl with --device cuda")
    _check_backend(backend, place)
    here = min(num_workers, place.world.per_node) if place.world else num_workers
    if backend == "nccl" and gpus < here:
        rule = f"needs a GPU for each of {here} workers, and there are {gpus}: use --backend local"
        raise InputError(f"--backend is nccl: {rule}")
    return backend


def _check_backend(backend: Backend, place: Place) -> None:
    if backend == "local" and place.world and place.world.size > 1:
        raise InputError("--backend is local: is one process, and torchrun has started several: leave it out")


def _check_world(place: Place, layout: Layout) -> None:
    if place.world and place.world.size != layout.num_workers:
        started = f"{place.world.size} process{'' if place.world.size == 1 else 'es'}"
        rule = f"must be as many as there are workers, {layout.num_workers} ({_who(layout)})"
        raise LaunchError(f"torchrun has started {started}: {rule}")


def _who(layout: Layout) -> str:
    if layout.num_stages == 1:
        return "1 stage"
    head = ", the LM head" if layout.lm_head == "own_device" else ""
    return f"the draft rank, {layout.num_stages} stages{head}"


def _launch(request: Request, device: DeviceKind, written: Launch | None) -> Launch:
    """The option's, the scenario's, or what suits the device; no scenario on a CPU has graphs."""
    if device == "cpu" and request.launch == "cuda_graph":
        raise InputError("--launch is cuda_graph: needs --device cuda: must be eager or compiled on a CPU")
    if written is None or (device == "cpu" and written == "cuda_graph"):
        written = "cuda_graph" if device == "cuda" else "eager"
    return request.launch or written


def dtype_of(request: Request, device: DeviceKind, config: Mapping[str, Any] | None) -> DType:
    """Return the number format: as asked, else float32 on a CPU and the model's own on a GPU."""
    if request.dtype is not None:
        return request.dtype
    keys = language_config(config or {})
    written = keys.get("dtype") or keys.get("torch_dtype")
    own = next((dtype for dtype in get_args(DType) if dtype == written), None)
    return "float32" if device == "cpu" else own or "bfloat16"


def threads_of(request: Request, default: int) -> int:
    """Return the threads of each process. Raises InputError for fewer than one."""
    if request.threads is not None and request.threads < 1:
        raise InputError(f"--threads is {request.threads}: must be at least 1")
    return request.threads or default


def cores_each(place: Place, num_processes: int) -> int:
    """The cores that each process of a node can have to itself."""
    here = min(num_processes, place.world.per_node) if place.world else num_processes
    return max(1, place.num_cores // here)
