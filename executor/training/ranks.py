"""The processes that train one module: alone, or as many as torchrun has started, each with its own sequences.

Gradients are averaged by torch's DistributedDataParallel, over gloo on CPUs and NCCL on GPUs.
"""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from executor.errors import LaunchError, LostRankError
from executor.plan import DeviceKind

_PATIENCE = timedelta(minutes=30)
"""How long processes wait for each other: one that writes a large state lets the others wait."""

_OF_MESSAGES = ("gloo", "nccl", "NCCL", "Connection", "peer")
"""Words in what torch says when another process is gone."""


@dataclass(frozen=True, slots=True)
class Ranks:
    """This process among all of a run. device: its own."""

    rank: int
    size: int
    device: torch.device

    @property
    def is_first(self) -> bool:
        """Whether this process is the one that writes and tells."""
        return self.rank == 0

    def total(self, figures: Tensor) -> Tensor:
        """Return the sum of every process's figures, the same on all; `figures` is changed."""
        if self.size > 1:
            figures = figures.to(self.device)
            distributed.all_reduce(figures)
        return figures

    def averaged(self, module: nn.Module) -> nn.Module:
        """Return a module whose backward pass averages gradients over the processes; `module`, where there is one."""
        if self.size == 1:
            return module
        return DistributedDataParallel(module, gradient_as_bucket_view=True)

    def gathering(self, module: nn.Module, *, is_last: bool) -> AbstractContextManager[None]:
        """Return a context for one of several backward passes of an `averaged` module: the last one averages."""
        if is_last or not isinstance(module, DistributedDataParallel):
            return nullcontext()
        return module.no_sync()

    def wait(self) -> None:
        """Wait until every process is here."""
        self.total(torch.zeros(1))


@contextmanager
def joined(rank: int, size: int, local_rank: int, device: DeviceKind) -> Iterator[Ranks]:
    """Be one of `size` processes that train together, and leave them at the end.

    Raises LaunchError if they do not find each other, LostRankError if one is lost on the way.
    """
    own = torch.device(device, local_rank) if device == "cuda" else torch.device(device)
    if device == "cuda":
        if local_rank >= (there := torch.cuda.device_count()):
            raise LaunchError(f"rank {rank} needs GPU {local_rank}, and there are {there}: start fewer processes")
        torch.cuda.set_device(own)
    if size == 1:
        yield Ranks(rank, size, own)
        return
    try:
        distributed.init_process_group("nccl" if device == "cuda" else "gloo", timeout=_PATIENCE)
    except (RuntimeError, ValueError) as error:
        at = f"{os.environ.get('MASTER_ADDR')}:{os.environ.get('MASTER_PORT')}"
        raise LaunchError(f"rank {rank} cannot meet the others at {at}: {' '.join(str(error).split())}") from error
    try:
        yield Ranks(rank, size, own)
    except RuntimeError as error:
        if any(word in str(error) for word in _OF_MESSAGES):
            raise LostRankError(f"rank {rank} waits in vain: another process of this run is gone") from error
        raise
    finally:
        distributed.destroy_process_group()
