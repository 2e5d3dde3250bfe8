"""The executor's interpreter of a schedule: every op of `program(state, worker)`, in order, then `advance`.

The simulator's does the same with another clock. Between ranks a receipt waits; within a process it yields, so that
one host can issue the work of all workers in turn.
"""

import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any

from executor.events import JobDone, Sink, TokenVerified
from executor.plan import Job, JobResult, Plan
from executor.progress import Doing, Progress
from executor.transport.message import Channel, Inbox, Outbox, Transport
from executor.worker.channels import channel_of
from executor.worker.clock import Clock
from executor.worker.durations import Durations
from executor.worker.spans import Spans
from executor.worker.worker import Worker
from spdsim.schedules import plain, spd
from spdsim.schedules.ops import Compute, Op, Recv, Send, Verdict
from spdsim.schedules.spd import PipelineState

SCHEDULES: dict[str, Any] = {"spd": spd, "plain": plain}
"""By method: modules with `start`, `advance`, `program` and `verdict_position`."""

_COMPUTE, _SEND, _RECV, _PAUSE = range(4)
"""Kinds of step; in a pause the host issues what it can for other workers of its process."""

Step = tuple[int, int, Callable[..., None], Any, int, bool, Any]
"""Kind, position less the oldest in flight, what to do, box, site, whether a verdict comes of it, task or peer."""


@dataclass(frozen=True, slots=True)
class Cycle:
    """What a worker does in a cycle, looked up once for each shape of the state. inboxes: of the receipts."""

    steps: tuple[Step, ...]
    inboxes: tuple[Inbox, ...]


class Interpreter:
    """Runs jobs as one worker."""

    def __init__(self, plan: Plan, worker: Worker, transport: Transport, clock: Clock, progress: Progress) -> None:
        self._plan, self._worker, self._transport = plan, worker, transport
        self._clock, self._progress = clock, progress
        machines = {"spd": plan.emulated, "plain": plan.emulated_plain or plan.emulated}
        self._emulated = {
            method: Durations(machine, worker.index, plan.seed)
            for method, machine in machines.items() if machine is not None
        }  # fmt: skip
        self._durations: Durations | None = None
        self.spans = Spans(worker.index)
        self._boxes: dict[Channel, Outbox | Inbox] = {}
        self._cycles: dict[tuple[str, int, bool, int, bool], Cycle] = {}

    def run(self, number: int, job: Job, sink: Sink | None) -> Generator[None, None, JobResult]:
        """Decode a sequence. Yields where a message of a worker of this process is not there yet.

        sink: hears of it, on the driver.

        Raises LostRankError if a message of another rank does not come.
        """
        schedule = SCHEDULES[job.method]
        layout, index = self._plan.layout, self._worker.index
        state: PipelineState = schedule.start(layout, job.max_new_tokens, job.end_tokens)
        book = _Book(number, sink if index == layout.driver else None)
        self._worker.begin(job, book.commit)
        self._durations = self._emulated.get(job.method)
        if self._durations is not None:
            self._durations.begin(job)
        first = self.spans.begin() if job.is_recorded else 0
        # A new length of prompt needs new buffers, which are no part of the time to the first token.
        self._cycle(schedule, state, job)
        book.start_s = time.perf_counter()
        while not state.is_done:
            awaited = schedule.verdict_position(state)
            self._progress.begin(index, number, state.cycle)
            self._worker.begin_cycle(state, awaited)
            cycle = self._cycle(schedule, state, job)
            for inbox in cycle.inboxes:
                inbox.post()
            yield from self._perform(cycle.steps, state, job.is_recorded)
            verdict = self._worker.settle()
            if verdict is not None:
                book.note(verdict)
                if job.is_recorded and awaited is not None:
                    self.spans.decide(awaited, verdict.accepted)
            state = schedule.advance(state, verdict)
        self._clock.wait()
        if job.is_recorded:
            self._clock.resolve(self.spans.trace, first)
        result = book.result(state.cycle)
        self._worker.end(job, result.tokens)
        if book.sink is not None:
            book.sink(JobDone(number, result))
        return result

    def _perform(self, steps: tuple[Step, ...], state: PipelineState, is_recorded: bool) -> Generator[None, None, None]:
        clock, progress, index = self._clock, self._progress, self._worker.index
        oldest, cycle = state.oldest, state.cycle
        start_s = clock.now() if is_recorded else 0.0
        for kind, offset, do, box, site, is_undecided, detail in steps:
            position = oldest + offset
            if kind == _PAUSE:
                yield
                if is_recorded:
                    start_s = clock.now()
                continue
            if kind == _COMPUTE:
                do(position)
                if self._durations is not None:
                    clock.work(self._durations.of(detail, state, position))
            elif kind == _SEND:
                if self._durations is not None:
                    clock.sending(box)
                do(position, box.slot())
                box.send()
            else:
                progress.is_doing(index, Doing.WAITING, detail)
                while not box.is_here():
                    yield
                views = box.take()
                progress.is_doing(index, Doing.WORKING)
                if self._durations is not None:
                    clock.received(box)
                do(position, views)
            if is_recorded:
                end_s = clock.now()
                record = self.spans.record_undecided if is_undecided else self.spans.record
                record(site, cycle, position, start_s, end_s)
                start_s = end_s

    def _cycle(self, schedule: Any, state: PipelineState, job: Job) -> Cycle:
        is_prefill = state.cycle < 0
        key = (job.method, len(state.in_flight), state.rejected, len(job.prompt) if is_prefill else -1, is_prefill)
        cycle = self._cycles.get(key)
        if cycle is None:
            prompt_tokens = len(job.prompt) if is_prefill else None
            ops = schedule.program(state, self._worker.index)
            steps = [self._step(op, state, job.method, prompt_tokens) for op in ops]
            if self._worker.index == self._plan.layout.verdict_source:
                is_stage = self._plan.layout.role(self._worker.index) == "stage"
                _pause_around_verdict(ops, steps, is_stage=is_stage)
            inboxes = tuple(step[3] for step in steps if step[0] == _RECV)
            cycle = self._cycles[key] = Cycle(tuple(steps), inboxes)
        return cycle

    def _step(self, op: Op, state: PipelineState, method: str, prompt_tokens: int | None) -> Step:
        index, offset = self._worker.index, op.position - state.oldest
        match op:
            case Compute(task, _):
                is_undecided = task in ("verify", "commit") and method == "spd" and self._plan.layout.num_stages > 1
                is_undecided = is_undecided and state.cycle >= 0
                site = self.spans.site_of(op, None)
                return (_COMPUTE, offset, self._worker.act(op), None, site, is_undecided, task)
            case Send(payload, _, to):
                channel = channel_of(self._plan, payload, index, to, prompt_tokens, is_plain=method == "plain")
                box = self._box(channel, self._transport.outbox)
                site = self.spans.site_of(op, channel.payload_bytes)
                return (_SEND, offset, self._worker.fill(op), box, site, False, to)
            case Recv(payload, _, source):
                channel = channel_of(self._plan, payload, source, index, prompt_tokens, is_plain=method == "plain")
                box = self._box(channel, self._transport.inbox)
                site = self.spans.site_of(op, channel.payload_bytes)
                act = self._worker.keep(op, is_prefill=state.cycle < 0)
                return (_RECV, offset, act, box, site, False, source)

    def _box(self, channel: Channel, make: Callable[[Channel, int], Any]) -> Any:
        box = self._boxes.get(channel)
        if box is None:
            # Until a verdict stops it, a worker may run ahead of another by as many cycles as tokens are in flight;
            # and a message is kept a while by who took it, a lag at the longest.
            layout = self._plan.layout
            num_slots = 2 if channel.is_prefill else layout.capacity + layout.verification_lag + 4
            box = self._boxes[channel] = make(channel, num_slots)
        return box


def _pause_around_verdict(ops: Sequence[Op], steps: list[Step], *, is_stage: bool) -> None:
    """Add a pause before a verdict is read, for which the host waits, and after each sending of it.

    So whoever was told goes on at once.
    A stage that tells others goes on itself: it is the last one, for whose next output all will wait.
    """
    sends = [index for index, op in enumerate(ops) if isinstance(op, Send) and op.payload == "verdict"]
    reads = sends or [index for index, op in enumerate(ops) if isinstance(op, Compute) and op.task == "commit"]
    pause: Step = (_PAUSE, 0, _nothing, None, 0, False, None)
    if not is_stage:
        for index in reversed(sends):
            steps.insert(index + 1, pause)
    if reads:
        steps.insert(reads[0], pause)


def _nothing() -> None:
    """What is done in a pause."""


class _Book:
    """What the driver notes of a sequence, and every worker of its verdicts."""

    def __init__(self, job: int, sink: Sink | None) -> None:
        self.job, self.sink = job, sink
        self.start_s = self.first_token_s = self.end_s = 0.0
        self._verdicts: list[Verdict] = []

    def commit(self, verdict: Verdict) -> None:
        """Let the world know of a token."""
        self.end_s = time.perf_counter()
        if self.sink is not None:
            self.sink(TokenVerified(self.job, verdict.token, verdict.accepted))

    def note(self, verdict: Verdict) -> None:
        """Note a verdict."""
        if not self._verdicts:
            self.first_token_s = self.end_s
        self._verdicts.append(verdict)

    def result(self, num_cycles: int) -> JobResult:
        """Return what became of the sequence."""
        return JobResult(
            tuple(verdict.token for verdict in self._verdicts),
            tuple(verdict.accepted for verdict in self._verdicts[1:]),
            num_cycles, self.start_s, self.first_token_s, self.end_s,
        )  # fmt: skip
