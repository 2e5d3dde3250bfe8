"""Hears what the ranks of a run say until all have reported, or until one is lost. Standard library only."""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import IO

from executor.events import Event, JobDone, Outcome, RankReport, Sink
from executor.launch.faults import Death, Failure, Fate, Stall, culprit, error_of, is_victim
from executor.launch.system import is_stopped
from executor.launch.tokens import Cells, TokenLog
from executor.plan import Job, JobResult, Plan
from executor.progress import Place, Progress
from spdsim.errors import SpdError

_POLL_S = 0.05
"""How often tokens are looked for. Were they sent, each would wake this process."""
_LOOK_S = 1.0
"""How often processes are looked at."""
_GRACE_S = 1.0
"""How long after a victim's error a better explanation may come."""
_LAST_BYTES = 4000
"""How much is shown of what the libraries of a lost rank have written."""


@dataclass(frozen=True, slots=True)
class Rank:
    """The process of one rank. output: what its libraries have written."""

    process: BaseProcess
    pipe: Connection
    output: IO[bytes]


class Watch:
    """What is known of a run while it goes on."""

    def __init__(
        self, plan: Plan, jobs: Sequence[Job], sink: Sink, ranks: Sequence[Rank], places: Cells, tokens: Cells
    ) -> None:
        self._plan, self._jobs, self._sink, self._ranks = plan, jobs, sink, ranks
        self._progress, self._log = Progress(len(ranks), places), TokenLog(tokens)
        self._silent = set(range(len(ranks)))
        self._reports: dict[int, RankReport] = {}
        self._results: list[JobResult] = []
        self._fates: dict[int, Fate] = {}
        self._stopped_s: dict[int, float] = {}
        self._places = self._where_all_are()
        self._look_s, self._deadline_s = 0.0, float("inf")

    def outcome(self) -> Outcome:
        """Hand events on until every rank has reported. Raises the error that explains it if one does not."""
        while len(self._reports) < len(self._ranks):
            self._hear()
            self._look()
            if time.monotonic() > self._deadline_s or any(not is_victim(fate) for fate in self._fates.values()):
                self._tell_tokens(self._log.end())
                raise self._error()
        return Outcome(tuple(self._results), tuple(self._reports[worker] for worker in sorted(self._reports)))

    def _hear(self) -> None:
        """Take what the ranks say now, or wait a moment for it."""
        # What was written before a message is told before it, and what came after a message is told after it.
        written = self._log.end()
        pipes = {self._ranks[worker].pipe: worker for worker in self._silent}
        sentinels = {self._ranks[worker].process.sentinel: worker for worker in self._silent}
        ready = wait([*pipes, *sentinels], _POLL_S)
        for worker in sorted({worker for found in (pipes, sentinels) for key, worker in found.items() if key in ready}):
            self._receive(worker)
        self._tell_tokens(written)
        for sentinel, worker in sentinels.items():
            if sentinel in ready and worker in self._silent:
                self._end_with(Death(worker, self._ranks[worker].process.exitcode or 0))

    def _receive(self, worker: int) -> None:
        pipe = self._ranks[worker].pipe
        try:
            while worker in self._silent and pipe.poll():
                self._take(pipe.recv())
        except (EOFError, OSError):
            # The process has ended: its sentinel tells how.
            return

    def _take(self, said: Event | RankReport | Failure) -> None:
        match said:
            case RankReport():
                self._reports[said.worker] = said
                self._silent.discard(said.worker)
                self._must_end_within(self._plan.timeout_s)
            case Failure():
                self._end_with(said)
            case JobDone():
                self._tell_tokens(self._log.end(), said.job)
                self._results.append(said.result)
                self._sink(said)
            case _:
                self._sink(said)

    def _tell_tokens(self, end: int, last_job: int | None = None) -> None:
        for event in self._log.read(end, last_job):
            self._sink(event)

    def _look(self) -> None:
        """Look now and then for processes that are stopped."""
        now_s = time.monotonic()
        if now_s < self._look_s:
            return
        self._look_s = now_s + _LOOK_S
        for worker in tuple(self._silent):
            if not is_stopped(self._ranks[worker].process.pid):
                self._stopped_s.pop(worker, None)
            elif now_s - self._stopped_s.setdefault(worker, now_s) > self._plan.timeout_s:
                self._end_with(Stall(worker))

    def _end_with(self, fate: Fate) -> None:
        if not self._fates:
            self._places = self._where_all_are()
            self._must_end_within(0.0)
        self._silent.discard(fate.worker)
        self._fates[fate.worker] = fate

    def _must_end_within(self, wait_s: float) -> None:
        self._deadline_s = min(self._deadline_s, time.monotonic() + wait_s + _GRACE_S)

    def _where_all_are(self) -> list[Place]:
        return [self._progress.place(worker) for worker in range(len(self._ranks))]

    def _error(self) -> SpdError:
        if self._fates:
            stopped = [worker for worker in sorted(self._silent) if is_stopped(self._ranks[worker].process.pid)]
            fate = culprit(self._fates, self._places, stopped)
        else:
            fate, self._places = Stall(min(self._silent)), self._where_all_are()
        plan = self._plan
        error = error_of(fate, plan.layout, self._places[fate.worker], self._jobs, plan.timeout_s)
        for note in (fate.trace if isinstance(fate, Failure) else "", self._last_words(fate.worker)):
            if note:
                error.add_note(note)
        return error

    def _last_words(self, worker: int) -> str:
        """The end of what a rank's libraries have written."""
        output = self._ranks[worker].output
        output.seek(max(0, output.seek(0, os.SEEK_END) - _LAST_BYTES))
        return output.read().decode(errors="replace").strip()
