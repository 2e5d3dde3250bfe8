"""What is asked of the operating system for a process of a run; nothing where the system has no such thing."""

import ctypes
import os
import signal
import sys
from contextlib import suppress
from multiprocessing import forkserver
from pathlib import Path

_PR_SET_PDEATHSIG, _PR_SET_TIMERSLACK = 1, 29


def die_with_parent() -> None:
    """Let this process be killed when its parent ends, and let the fork server end with the process that launched it.

    A fork server lives as long as any process holds the pipe that it watches, and it gives that pipe to those it forks.
    """
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    held = getattr(getattr(forkserver, "_forkserver", None), "_forkserver_alive_fd", None)
    if held is not None:
        with suppress(OSError):
            os.close(held)


def wake_on_time() -> None:
    """Let the waits of this thread, and of those it starts, end when they should: by default they are rounded up."""
    _prctl(_PR_SET_TIMERSLACK, 1)


def is_stopped(pid: int | None) -> bool:
    """Whether a process is stopped, as by SIGSTOP or a debugger."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return False
    return state in ("T", "t")


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(option, ctypes.c_ulong(value), 0, 0, 0)
