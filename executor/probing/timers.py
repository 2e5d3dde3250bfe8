"""How long something takes, on a host or on a GPU that works behind it, again and again."""

import time
from collections.abc import Callable

import torch

Act = Callable[[], object]
Timer = Callable[[Act], float]
"""Does something and returns the seconds that it took."""

MOST_SAMPLES = 100
_LEAST_SAMPLES = 3


def timer_of(device: torch.device) -> Timer:
    """Return the timer of a device."""
    return _CudaTimer(device) if device.type == "cuda" else host_seconds


def host_seconds(act: Act) -> float:
    """Return the seconds after which the host goes on."""
    start_s = time.perf_counter()
    act()
    return time.perf_counter() - start_s


class _CudaTimer:
    """From the begin of the first operation to the end of the last, as the GPU sees it, the host's delays included."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._start, self._end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]

    def __call__(self, act: Act) -> float:
        stream = torch.cuda.current_stream(self._device)
        self._start.record(stream)
        act()
        self._end.record(stream)
        self._end.synchronize()
        took_ms: float = self._start.elapsed_time(self._end)
        return took_ms * 1e-3


def samples_of(timer: Timer, act: Act, seconds: float) -> tuple[float, ...]:
    """Return what `act` takes, again and again until `seconds` are over or there are enough samples, after a warm-up.

    There are at least three, or one where a single run takes a third of all the time.
    """
    act()  # it may compile, or capture
    end_s = time.perf_counter() + seconds
    least = _LEAST_SAMPLES if timer(act) * _LEAST_SAMPLES < seconds else 1
    samples: list[float] = []
    while len(samples) < MOST_SAMPLES and (len(samples) < least or time.perf_counter() < end_s):
        samples.append(timer(act))
    return tuple(samples)
