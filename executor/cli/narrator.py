"""What a run says while it goes on: text as its tokens come, and how far the rest is.

A rank's events arrive from inside its cycles, so they are only put in a queue there; a thread of its own tells them.
"""

from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread
from types import TracebackType

from executor.cli.waiting import LateStatus
from executor.events import Event, JobDone, Ready, TokenVerified
from executor.plan import Job, JobResult
from executor.planning import Run
from executor.text.printable import printable
from executor.text.tokenizer import ByteStream, FileStream
from spdsim.cli.progress import LateProgress

Print = Callable[[str], None]


class Narrator:
    """Tells a run, and keeps what it told. Use as a context; called with every event.

    show: prints a piece of text at once; None: no text. is_watched: progress is shown.
    ready, tokens and verdicts (of each job), results: known, and final, once the context has ended.
    """

    def __init__(self, run: Run, show: Print | None, *, is_watched: bool) -> None:
        self.ready: Ready | None = None
        self.tokens: list[list[int]] = [[] for _ in run.jobs]
        self.verdicts: list[list[bool]] = [[] for _ in run.jobs]
        self.results: list[JobResult] = []
        self._run, self._show, self._is_watched = run, show, is_watched
        self._shown_method = "spd" if any(job.method == "spd" for job in run.jobs) else "plain"
        self._text: ByteStream | FileStream | None = None
        self._is_line_open = False
        self._progress: LateProgress | None = None
        self._loading = LateStatus(is_watched, "loading")
        self._queue: SimpleQueue[Event | None] = SimpleQueue()
        self._thread = Thread(target=self._tell_all, name="narrator", daemon=True)
        self._failure: BaseException | None = None

    def __call__(self, event: Event) -> None:
        """Take an event; costs next to nothing."""
        self._queue.put(event)

    def __enter__(self) -> "Narrator":
        self._loading.__enter__()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._queue.put(None)
        self._thread.join()
        self._loading.stop()
        self._end_progress()
        self._end_line()
        if kind is None and self._failure is not None:
            raise self._failure

    def _tell_all(self) -> None:
        while (event := self._queue.get()) is not None:
            try:
                self._tell(event)
            except BaseException as failure:  # told where the run is at home: in the thread that waits for it
                self._failure = self._failure or failure

    def _tell(self, event: Event) -> None:
        match event:
            case Ready():
                self.ready = event
                self._loading.stop()
            case TokenVerified(job=number, token=token, accepted=accepted):
                self.tokens[number].append(token)
                self.verdicts[number].append(accepted)
                self._tell_token(self._run.jobs[number], self.tokens[number])
            case JobDone(result=result):
                self.results.append(result)
                self._end_progress()
                self._end_line()

    def _tell_token(self, job: Job, tokens: list[int]) -> None:
        if not self._is_shown(job):
            if len(tokens) == 1:
                what = "plain decoding" if job.method == "plain" else "speculative pipeline decoding"
                self._progress = LateProgress(self._is_watched, f"{what}, tokens")
            if self._progress is not None:
                self._progress(len(tokens), job.max_new_tokens)
            return
        assert self._show is not None
        tokenizer = self._run.tokenizer
        if len(tokens) == 1:
            self._text = None if tokenizer is None else tokenizer.stream()
            self._is_line_open = True
            self._show(self._heading(job))
        if self._text is None:
            self._show(f"{tokens[-1]} ")
        elif tokens[-1] not in job.end_tokens:
            self._show(printable(self._text.put(tokens[-1])))

    def _is_shown(self, job: Job) -> bool:
        return self._show is not None and job.method == self._shown_method and self._run.plan.emulated is None

    def _heading(self, job: Job) -> str:
        several = self._run.plan.scenario.workload.sequences > 1
        return f"[sequence {job.sequence}] " if several else ""

    def _end_line(self) -> None:
        if self._show is not None and self._is_line_open:
            self._show((printable(self._text.finish()) if self._text is not None else "") + "\n")
        self._text, self._is_line_open = None, False

    def _end_progress(self) -> None:
        if self._progress is not None:
            self._progress.__exit__(None, None, None)
            self._progress = None
