"""The probes `launch` and `copy`: what a host needs to issue an operation, and how fast a device moves bytes."""

from collections.abc import Callable, Iterator

import torch

from executor.probing.findings import Finding, Measured, Params
from executor.probing.share import Share
from executor.probing.subject import Subject, free_bytes
from executor.probing.timers import host_seconds, samples_of, timer_of

_OPERATIONS = 200
"""In a row, so that reading the clock costs nothing; a GPU's queue holds as many."""
_GRAPHS = 20
_NODES = (1, 100)
_CPU_BUFFER_BYTES, _GPU_BUFFER_BYTES = 64 << 20, 256 << 20


def probe_launch(subject: Subject, share: Share) -> Iterator[Finding]:
    """Yield the host's seconds to issue a small operation and a CUDA graph; a CPU computes the operation as well."""
    device = subject.device
    is_cuda = device.type == "cuda"
    if not is_cuda:
        share.skip("operation cuda_graph: needs a CUDA device")
    cases: list[Params] = [{"operation": "add"}]
    if is_cuda:
        cases += [{"operation": "cuda_graph", "nodes": nodes} for nodes in _NODES]
    for params, seconds in share.cases(cases):
        count = _OPERATIONS if params["operation"] == "add" else _GRAPHS
        act = _adding(device) if params["operation"] == "add" else _replaying(device, int(params["nodes"]))
        found = samples_of(_issuing(device, count), act, seconds)
        yield Measured("launch", params, found)


def probe_copy(subject: Subject, share: Share) -> Iterator[Finding]:
    """Yield the bytes read and written in a second by a copy from a large buffer to another."""
    device = subject.device
    num_bytes = _GPU_BUFFER_BYTES if device.type == "cuda" else _CPU_BUFFER_BYTES
    if 4 * num_bytes > free_bytes(device):
        share.skip(f"buffer_bytes {num_bytes}: not enough memory is free")
        return
    for params, seconds in share.cases([{"buffer_bytes": num_bytes, "threads": subject.plan.threads}]):
        source = torch.ones(num_bytes // 4, device=device)
        target = torch.zeros_like(source)
        found = samples_of(timer_of(device), lambda: target.copy_(source), seconds)  # noqa: B023  # used at once
        yield Measured("copy", params, tuple(2 * num_bytes / each for each in found), "bytes/s")


def _issuing(device: torch.device, count: int) -> Callable[[Callable[[], object]], float]:
    """A timer of one of `count` times: of the host alone, which waits for the device only afterwards."""

    def repeat(act: Callable[[], object]) -> None:
        for _ in range(count):
            act()

    def timer(act: Callable[[], object]) -> float:
        took_s = host_seconds(lambda: repeat(act))
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return took_s / count

    return timer


def _adding(device: torch.device) -> Callable[[], object]:
    total_1 = torch.zeros(1, device=device)
    return lambda: total_1.add_(1.0)


def _replaying(device: torch.device, nodes: int) -> Callable[[], object]:
    add = _adding(device)
    beside = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    with torch.cuda.stream(beside):
        add()
    torch.cuda.synchronize(device)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=beside, capture_error_mode="thread_local"):
        for _ in range(nodes):
            add()
    return graph.replay
