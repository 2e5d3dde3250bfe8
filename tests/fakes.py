"""Small stand-ins for the engine: traces walked off the schedule with constant durations.

No link is ever busy and no device shared: a message posted at t arrives at t + `hop_s`.
"""

from collections import deque
from collections.abc import Iterator, Mapping

from spdsim.schedules.ops import Compute, Op, Recv, Send, Verdict, op_name
from spdsim.schedules.spd import Layout, advance, program, start
from spdsim.trace import Site, Trace, TraceHeader, WorkerInfo

DURATIONS_S: Mapping[str, float] = {
    "prefill": 4e-3, "forward": 1e-3, "draft": 0.8e-3, "verify": 0.4e-3, "combine": 0.05e-3,
    "commit": 0.05e-3, "rollback": 0.0,
}  # fmt: skip

_Mail = dict[tuple[int, int, str, int], float]


def header(layout: Layout) -> TraceHeader:
    """Return a trace header for `layout`, every worker on a device of its own."""
    workers = tuple(WorkerInfo(w, layout.role(w), f"gpu {w}") for w in range(layout.num_workers))
    return TraceHeader("simulator", "spd", layout.num_stages, layout.verification_lag, workers, "0" * 64)


def play(
    layout: Layout,
    *verdicts: str,
    durations_s: Mapping[str, float] = DURATIONS_S,
    post_s: float = 0.02e-3,
    hop_s: float = 0.05e-3,
) -> Trace:
    """Return the trace of one sequence per string of verdicts ("AAR": accept, accept, reject), one after another."""
    trace = Trace(header(layout))
    now = 0.0
    for letters in verdicts:
        trace.begin_sequence()
        now = _play_sequence(trace, layout, letters, durations_s, post_s, hop_s, now)
    return trace


def steps(layout: Layout, verdicts: str, worker: int) -> Iterator[tuple[int, Op, Verdict | None]]:
    """Yield (cycle, op, the cycle's verdict) in the order in which `worker` performs them."""
    state = start(layout, len(verdicts) + 1)
    while not state.is_done:
        is_accepted = state.cycle < 0 or verdicts[state.committed - 1] == "A"
        verdict = Verdict(is_accepted) if state.is_full else None
        for op in program(state, worker):
            yield state.cycle, op, verdict
        state = advance(state, verdict)


def _play_sequence(
    trace: Trace,
    layout: Layout,
    verdicts: str,
    durations_s: Mapping[str, float],
    post_s: float,
    hop_s: float,
    now: float,
) -> float:
    """Record one sequence that begins at `now`; return the time at which its last span ends."""
    todo = [deque(steps(layout, verdicts, worker)) for worker in range(layout.num_workers)]
    clocks = [now] * layout.num_workers
    mail: _Mail = {}
    while any(todo):
        ready = [w for w, ops in enumerate(todo) if ops and _is_ready(mail, w, ops[0][1])]
        worker = min(ready, key=lambda w: clocks[w])
        cycle, op, _ = todo[worker].popleft()
        begin = clocks[worker]
        match op:
            case Compute(task, _):
                end = begin + durations_s[task]
            case Send(payload, position, to):
                end = begin + post_s
                mail[worker, to, payload, position] = end + hop_s
            case Recv(payload, position, source):
                end = max(begin, mail.pop((source, worker, payload, position)))
        trace.record(trace.site_id(_site(worker, op, verdicts)), cycle, op.position, begin, end)
        clocks[worker] = end
    return max(clocks)


def _is_ready(mail: _Mail, worker: int, op: Op) -> bool:
    return not isinstance(op, Recv) or (op.source, worker, op.payload, op.position) in mail


def _site(worker: int, op: Op, verdicts: str) -> Site:
    name = op_name(op)
    says_verdict = name in ("verify", "combine", "commit", "send verdict", "recv verdict")
    in_range = 0 < op.position <= len(verdicts)
    accepted = verdicts[op.position - 1] == "A" if says_verdict and in_range else None
    match op:
        case Compute():
            return Site(worker, name, accepted=accepted)
        case Send(_, _, to):
            return Site(worker, name, to, 8192, accepted)
        case Recv(_, _, source):
            return Site(worker, name, source, 8192, accepted)
