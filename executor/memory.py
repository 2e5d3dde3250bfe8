"""How much memory this process uses: what a rank reports of itself."""

import resource
import sys
from pathlib import Path

import torch

_STATM = Path("/proc/self/statm")


def held_bytes(device: torch.device) -> int:
    """Return the bytes in use now: of tensors on a GPU, else resident in this process (0 where that is not known)."""
    if device.type == "cuda":
        return torch.cuda.memory_allocated(device)
    if not _STATM.exists():
        return 0
    return int(_STATM.read_text().split()[1]) * resource.getpagesize()


def peak_bytes(device: torch.device) -> int:
    """Return the most bytes that were in use at any time so far."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    # The unit is a kibibyte on Linux and a byte on macOS.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
