"""A launch that runs nothing: tokens and verdicts by script, times and spans as the simulator has them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from executor.errors import LostRankError
from executor.events import JobDone, Outcome, RankReport, Ready, Sink, TokenVerified
from executor.plan import Job, JobResult, Plan
from spdsim.acceptance import Coins
from spdsim.engine import Request, decode_all
from spdsim.machine import Machine
from spdsim.timing import machine_of
from spdsim.trace import Site, Span, Trace, TraceHeader, WorkerInfo

TEXT = "Once there was a pipeline, and every stage of it was busy. "
PREFILL_S = 20e-3
LOST = LostRankError("rank 2 (stage 1) was killed by signal 9 in cycle 7 of sequence 0")


@dataclass(frozen=True, slots=True)
class Script:
    """What a launch pretends.

    verdicts: of each drafted token, again and again. cycle_s: of the driver. lost_after: the run ends once so many
    tokens were verified, with `failure`, or a
    lost rank. wrong_at: the position at which speculative decoding says another token.
    """

    text: str = TEXT
    verdicts: str = "AAAAR"
    cycle_s: float = 10e-3
    lost_after: int | None = None
    wrong_at: int | None = None
    failure: BaseException | None = None

    def __call__(self, plan: Plan, jobs: Sequence[Job], sink: Sink) -> Outcome:
        """Run `jobs` as the executor's own launch does."""
        machine, told = machine_of(plan.scenario), 0
        is_local = plan.backend == "local"
        sink(Ready(0.25, tuple("cpu" if is_local else f"cpu process {w.index}" for w in machine.workers)))
        results, spans, begin_s = [], empty_trace(machine), 0.0
        for number, job in enumerate(jobs):
            result = self._result(plan, machine, job, begin_s)
            for token, accepted in zip(result.tokens, (True, *result.accepted), strict=True):
                if told == self.lost_after:
                    raise self.failure or LOST
                sink(TokenVerified(number, token, accepted))
                told += 1
            sink(JobDone(number, result))
            results.append(result)
            begin_s = result.end_s
            if job.is_recorded:
                self._record(machine, job, spans)
        reports = (RankReport(w.index, of_worker(spans, w.index), 300_000_000, 4_200_000) for w in machine.workers)
        return Outcome(tuple(results), tuple(reports))

    def _result(self, plan: Plan, machine: Machine, job: Job, begin_s: float) -> JobResult:
        tokens = list(self._tokens(plan, job))
        accepted = self._accepted(job, len(tokens))
        first_s = begin_s + PREFILL_S
        if job.method == "plain":
            cycles, num_workers = len(tokens) - 1, machine.layout.num_stages
            end_s = first_s + cycles * num_workers * self.cycle_s
            return JobResult(tuple(tokens), (True,) * cycles, cycles, begin_s, first_s, end_s)
        if self.wrong_at is not None:
            tokens[self.wrong_at] += 1
        trace = empty_trace(machine)
        self._record(machine, job, trace)
        cycles = max(trace.cycle) + 1
        return JobResult(tuple(tokens), accepted, cycles, begin_s, first_s, first_s + cycles * self.cycle_s)

    def _tokens(self, plan: Plan, job: Job) -> Sequence[int]:
        said = (self.text.encode() * job.max_new_tokens)[job.sequence :]
        tokens = []
        for position in range(job.max_new_tokens):
            tokens.append(said[position] % plan.scenario.model.vocab_size)
            if tokens[-1] in job.end_tokens:
                break
        return tokens

    def _accepted(self, job: Job, num_tokens: int) -> tuple[bool, ...]:
        letters = self.verdicts[job.sequence % len(self.verdicts) :] + self.verdicts * num_tokens
        return tuple(letter == "A" for letter in letters[: num_tokens - 1])

    def _record(self, machine: Machine, job: Job, trace: Trace) -> None:
        accepted = self._accepted(job, job.max_new_tokens)
        coins = Coins([True, *accepted, *[True] * (machine.layout.capacity + 1)])
        assert list(decode_all(machine, trace, [[Request(0, job.max_new_tokens, coins)]], 0))


def empty_trace(machine: Machine) -> Trace:
    """Return a trace without spans whose header fits `machine`."""
    workers = tuple(WorkerInfo(w.index, w.role, machine.devices[w.device]) for w in machine.workers)
    layout = machine.layout
    return Trace(TraceHeader("simulator", "spd", layout.num_stages, layout.verification_lag, workers))


def of_worker(trace: Trace, worker: int) -> Trace:
    """Return the spans of one worker, as its rank would hand them over: on a clock that began long ago."""
    own = Trace(trace.header)
    for sequence in range(trace.num_sequences):
        own.begin_sequence()
        for span in trace.spans(sequence):
            if span.worker == worker:
                _record(own, replace(span, start_s=span.start_s + 1000.0, end_s=span.end_s + 1000.0))
    return own


def _record(trace: Trace, span: Span) -> None:
    site = trace.site_id(Site(span.worker, span.op, span.peer, span.bytes, span.accepted))
    trace.record(site, span.cycle, span.position, span.start_s, span.end_s)
