"""What a measurement was made on: processors, devices and the versions of what runs on them."""

import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import torch

from executor.plan import DeviceKind

_CPUS = Path("/proc/cpuinfo")
_DRIVER = Path("/proc/driver/nvidia/version")
_PATIENCE_S = 5.0


def machine_info(device: DeviceKind) -> dict[str, Any]:
    """Return what this machine is, as plain data; None for what it does not have or does not say.

    device: the kind that computes. devices: all that there are of it. cores: those that this process may use.
    """
    cpu = _cpu_name()
    devices = _gpu_names() if device == "cuda" else [cpu]
    return {
        "device": devices[0] if devices else cpu,
        "devices": devices,
        "cpu": cpu,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        "torch": str(torch.__version__),
        "cuda": torch.version.cuda,
        "driver": _driver_version(),
        "nccl": _nccl_version(),
        "python": platform.python_version(),
        "host_os": platform.platform(),
    }


def source_commit() -> str | None:
    """Return the commit of the checkout that this program runs from, "-dirty" behind it where files were changed.

    None where it is installed without one, or git does not say.
    """
    checkout = Path(__file__).resolve().parent.parent
    if not (checkout / ".git").exists():
        return None
    command = ["git", "-C", str(checkout), "describe", "--always", "--abbrev=12", "--exclude=*", "--dirty"]
    try:
        told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=_PATIENCE_S)
    except (OSError, subprocess.SubprocessError):
        return None
    return told.stdout.strip() or None


def _gpu_names() -> list[str]:
    return [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]


def _cpu_name() -> str:
    """The processor's name: Linux alone tells it in a file, others by the standard library."""
    for line in _lines(_CPUS):
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            return value.strip()
    return platform.processor() or platform.machine()


def _driver_version() -> str | None:
    """The version of NVIDIA's kernel module: the first word of its line that is a number with points."""
    words = (word for line in _lines(_DRIVER)[:1] for word in line.split())
    return next((word for word in words if "." in word and word.replace(".", "").isdecimal()), None)


def _nccl_version() -> str | None:
    if not torch.cuda.is_available() or not torch.distributed.is_nccl_available():
        return None
    return ".".join(map(str, torch.cuda.nccl.version()))  # type: ignore[no-untyped-call]


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text(errors="replace").splitlines()
    except OSError:
        return []
