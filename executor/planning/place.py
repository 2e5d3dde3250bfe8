"""Where a run takes place: the processors of this computer, and the processes that torchrun has started.

Knows nothing of the run. Standard library only.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from executor.errors import LaunchError


@dataclass(frozen=True, slots=True)
class World:
    """The processes that torchrun has started: this one's rank, all of them, and those of each node."""

    rank: int
    size: int
    per_node: int


@dataclass(frozen=True, slots=True)
class Place:
    """What there is to run on. count_gpus: asked only where it matters, for it loads torch."""

    num_cores: int
    count_gpus: Callable[[], int]
    world: World | None = None


def this_place() -> Place:
    """Return what this process finds around it. Raises LaunchError if torchrun's variables are not all there."""
    # Of the cores of this computer a batch system may have granted a few only; not every system can tell.
    is_told = hasattr(os, "sched_getaffinity")
    num_cores = len(os.sched_getaffinity(0)) if is_told else os.cpu_count() or 1
    return Place(num_cores, _count_gpus, world_of(os.environ))


def world_of(environment: Mapping[str, str]) -> World | None:
    """Return what torchrun says in the environment; None without it.

    Raises LaunchError if it says only a part, or what cannot be.
    """
    if "RANK" not in environment:
        return None
    rank, size, per_node = (_count(environment, name) for name in ("RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE"))
    if rank >= size:
        raise LaunchError(f"RANK is {rank}: must be 0 to {size - 1}, below WORLD_SIZE")
    if per_node < 1 or size % per_node:
        rule = f"must divide WORLD_SIZE, {size}: start as many processes on every node"
        raise LaunchError(f"LOCAL_WORLD_SIZE is {per_node}: {rule}")
    return World(rank, size, per_node)


def _count(environment: Mapping[str, str], name: str) -> int:
    written = environment.get(name)
    if written is None:
        raise LaunchError(f"{name} is missing: RANK is set, so torchrun's other variables must be too")
    if not written.isdecimal():
        raise LaunchError(f"{name} is {written!a}: must be a whole number")
    return int(written)


def _count_gpus() -> int:
    import torch

    return torch.cuda.device_count()
