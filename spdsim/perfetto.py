"""A trace as Chrome trace-event JSON, which ui.perfetto.dev opens.

One process a replication, one track a worker, an arrow from every send to its receipt, a counter of the
tokens in flight and a mark at every rejection. Times are microseconds on the trace's clock.
"""

import json
import os
from collections.abc import Iterator
from typing import Any

from spdsim.analysis.fate import fates, rejections
from spdsim.analysis.messages import pairs
from spdsim.analysis.soundness import check_alone
from spdsim.files import atomic_writer
from spdsim.trace import Trace, worker_labels

Event = dict[str, Any]

_FATES = ("useful", "wasted", "abandoned")
_COLOURS = {"wasted": "bad", "abandoned": "grey"}
"""Names from the viewer's fixed palette; the rest is coloured by name."""


def write_perfetto(trace: Trace, path: str | os.PathLike[str]) -> None:
    """Write `trace` to `path` for the Perfetto viewer, whole or not at all.

    Raises InputError when the file cannot be written, and TraceError for a trace of several sequences in flight
    together.
    """
    check_alone(trace.header)
    with atomic_writer(path) as file:
        file.write('{"displayTimeUnit":"ms","traceEvents":[\n')
        for number, event in enumerate(events(trace)):
            file.write((",\n" if number else "") + json.dumps(event, separators=(",", ":")))
        file.write("\n]}\n")


def events(trace: Trace) -> Iterator[Event]:
    """Yield the trace events: names first, then everything else by time.

    At equal times the order of the trace is kept, since a viewer binds an arrow to the slice that was
    opened last on its track.
    """
    replications = _replications(trace)
    for replication in range(max(replications, default=0) + 1):
        yield from _names(trace, replication)
    timed: list[Event] = [
        *_spans(trace, replications),
        *_tokens_in_flight(trace, replications),
        *_marks(trace, replications),
    ]
    yield from sorted(timed, key=lambda event: float(event["ts"]))


def _replications(trace: Trace) -> list[int]:
    """Return the replication of each sequence: the clock starts anew where a sequence begins before the last ended."""
    numbers: list[int] = []
    number, clock_s = 0, float("-inf")
    for sequence in range(trace.num_sequences):
        first, last = trace.sequence_bounds(sequence)
        if min(trace.start_s[first:last], default=clock_s) < clock_s:
            number, clock_s = number + 1, float("-inf")
        clock_s = max(trace.end_s[first:last], default=clock_s)
        numbers.append(number)
    return numbers


def _names(trace: Trace, replication: int) -> Iterator[Event]:
    header = trace.header
    name = f"{header.method}, {header.num_stages} stages, {header.source}, replication {replication}"
    yield _metadata("process_name", replication, 0, name=name)
    yield _metadata("process_sort_index", replication, 0, sort_index=replication)
    labels = worker_labels(worker.role for worker in header.workers)
    for worker, label in zip(header.workers, labels, strict=True):
        yield _metadata("thread_name", replication, worker.index, name=f"{label} ({worker.device})")
        yield _metadata("thread_sort_index", replication, worker.index, sort_index=worker.index)


def _metadata(kind: str, replication: int, worker: int, **args: object) -> Event:
    return {"name": kind, "ph": "M", "pid": replication + 1, "tid": worker, "args": args}


def _spans(trace: Trace, replications: list[int]) -> Iterator[Event]:
    """One slice a span; a message's arrow starts in its sending and ends with its receipt."""
    arrows: dict[int, tuple[str, int]] = {}
    for number, (send, receipt) in enumerate(pairs(trace)):
        arrows[send], arrows[receipt] = ("s", number), ("f", number)
    fate = fates(trace).tolist()
    for i, span in enumerate(trace.spans()):
        place = {"pid": replications[span.sequence] + 1, "tid": span.worker}
        args: Event = {"sequence": span.sequence, "cycle": span.cycle, "position": span.position}
        args["fate"] = _FATES[fate[i]]
        optional = {"peer": span.peer, "bytes": span.bytes, "accepted": span.accepted}
        args |= {key: value for key, value in optional.items() if value is not None}
        slice_: Event = {
            "name": _name(span.op, span.position), "cat": span.op.partition(" ")[0], "ph": "X",
            "ts": _us(span.start_s), "dur": _us(span.end_s - span.start_s), **place, "args": args,
        }  # fmt: skip
        if args["fate"] in _COLOURS and span.peer is None:
            slice_["cname"] = _COLOURS[args["fate"]]
        yield slice_
        if i in arrows:
            phase, number = arrows[i]
            ends = {"ts": _us(span.end_s), "bp": "e"} if phase == "f" else {"ts": _us(span.start_s)}
            yield {"name": span.op.partition(" ")[2], "cat": "message", "ph": phase, "id": number, **ends, **place}


def _name(op: str, position: int) -> str:
    return op if position < 0 else f"{op} {position}"


def _tokens_in_flight(trace: Trace, replications: list[int]) -> Iterator[Event]:
    """The counter, as stage 0 sees it: a token enters with its pass through stage 0 and leaves with its verdict.

    Stage 0 hears of a verdict one message after it was found, which keeps entering and leaving in one order.
    """
    entrance = 1 if len(trace.header.workers) > 1 else 0
    tells = "recv verdict" if entrance else "commit"
    rejected = {(sequence, position) for sequence, _, position, _ in rejections(trace)}
    for sequence in range(trace.num_sequences):
        pid, count, end_s = replications[sequence] + 1, 0, 0.0
        for span in trace.spans(sequence):
            end_s = max(end_s, span.end_s)
            if span.worker != entrance or span.cycle < 0:
                continue
            if span.op == "forward":
                count += 1
                yield _counter(pid, span.start_s, count)
            elif span.op == tells:
                count = 0 if (sequence, span.position) in rejected else count - 1
                yield _counter(pid, span.end_s, count)
        # What is still in flight is abandoned.
        if count:
            yield _counter(pid, end_s, 0)


def _counter(pid: int, time_s: float, count: int) -> Event:
    return {"name": "tokens in flight", "ph": "C", "pid": pid, "ts": _us(time_s), "args": {"tokens": count}}


def _marks(trace: Trace, replications: list[int]) -> Iterator[Event]:
    for sequence, cycle, position, time_s in rejections(trace):
        yield {
            "name": f"rejection of {position}", "cat": "rejection", "ph": "i", "s": "p", "ts": _us(time_s),
            "pid": replications[sequence] + 1, "tid": 0,
            "args": {"sequence": sequence, "cycle": cycle, "position": position},
        }  # fmt: skip


def _us(seconds: float) -> float:
    """Microseconds to a tenth of a nanosecond, which is finer than any clock and keeps files short."""
    return round(seconds * 1e6, 4)
