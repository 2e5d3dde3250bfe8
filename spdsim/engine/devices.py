"""What several workers compute on together: they take turns, share the bandwidth, or slow each other down.

`work(now, duration)` is a generator for a SimPy process; it returns the span's start and end. `now` is the
worker's own clock, which may be ahead of SimPy's, so it first waits for SimPy's.
"""

from collections.abc import Generator, Sequence
from typing import Any

import simpy

from spdsim.machine import Sharing, total_speed

Work = Generator[simpy.Event, Any, tuple[float, float]]


class TurnsDevice:
    """One computation at a time, first come first served. A span starts when the device is granted.

    Workers come in the order of SimPy's clock, so the time at which the device is free says when each is served.
    """

    def __init__(self, env: simpy.Environment) -> None:
        self._env = env
        self._free_s = env.now

    def work(self, now: float, duration_s: float) -> Work:
        """Wait for a turn, then compute for `duration_s`."""
        if now > self._env.now:
            yield self._env.timeout(now - self._env.now)
        begin = max(now, self._free_s)
        self._free_s = begin + duration_s
        return begin, self._free_s


class Contention:
    """Computations side by side that slow each other down: with j of them, each at curve(j) / j of its speed alone.

    Where devices of their own share a memory or cores, a span is recorded as long as it took, since the worker itself
    cannot tell that it was slowed down.
    """

    def __init__(self, env: simpy.Environment, curve: Sequence[float]) -> None:
        self._env, self._curve = env, curve
        self._left_s: dict[simpy.Event, float] = {}
        self._updated_s = env.now
        self._epoch = 0

    def work(self, now: float, duration_s: float) -> Work:
        """Compute what takes `duration_s` alone, longer where others compute too."""
        env = self._env
        if now > env.now:
            yield env.timeout(now - env.now)
        begin, finished = env.now, env.event()
        self._elapse()
        self._left_s[finished] = duration_s
        self._schedule_next()
        yield finished
        return begin, env.now

    def _slowness(self) -> float:
        """How many times as long each computation takes as alone."""
        together = len(self._left_s)
        return together / total_speed(self._curve, together)

    def _elapse(self) -> None:
        """Take from every computation what it got done since the last change."""
        if self._left_s:
            done_s = (self._env.now - self._updated_s) / self._slowness()
            for job in self._left_s:
                self._left_s[job] -= done_s
        self._updated_s = self._env.now

    def _schedule_next(self) -> None:
        self._epoch += 1
        if self._left_s:
            wait_s = max(0.0, min(self._left_s.values())) * self._slowness()
            end = self._env.timeout(wait_s, self._epoch)
            assert end.callbacks is not None
            end.callbacks.append(self._finish_next)

    def _finish_next(self, end: simpy.Event) -> None:
        # A computation that began in between has made this end out of date.
        if end.value != self._epoch:
            return
        self._elapse()
        least_s = min(self._left_s.values())
        for job in [job for job, left_s in self._left_s.items() if left_s <= least_s + 1e-15]:
            del self._left_s[job]
            job.succeed()
        self._schedule_next()


class BandwidthDevice(Contention):
    """One device whose bandwidth computations share: together they get done what one alone does (processor sharing).

    A span is recorded with its length alone, ending when it really ended: the time lost to the others stands
    as a gap before it, where a device that is shared by turns has it too.
    """

    def __init__(self, env: simpy.Environment) -> None:
        super().__init__(env, (1.0, 1.0))

    def work(self, now: float, duration_s: float) -> Work:
        """Compute `duration_s` of work, longer where others compute too."""
        _, end_s = yield from super().work(now, duration_s)
        return end_s - duration_s, end_s


SharedDevice = TurnsDevice | Contention


def shared_device(env: simpy.Environment, sharing: Sharing) -> SharedDevice:
    """Return a device that is shared in the given way."""
    return TurnsDevice(env) if sharing == "turns" else BandwidthDevice(env)
