"""Whether a trace can be what it says: the checks before any figure is computed from it.

A recorder that forgets a span would otherwise give a report that can be believed and is wrong.
"""

from typing import TYPE_CHECKING

import numpy as np

from spdsim.analysis.causality import Causality
from spdsim.analysis.fate import USEFUL
from spdsim.errors import TraceError
from spdsim.trace import Trace, TraceHeader

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]

_TOLERANCE_S = 1e-9
"""Clocks are read to a nanosecond; spans that overlap by less do not overlap."""


def check_header(header: TraceHeader) -> None:
    """Raise TraceError unless the header's workers are those of its schedule, for one sequence at a time."""
    check_alone(header)
    stages = sum(worker.role == "stage" for worker in header.workers)
    if stages != header.num_stages:
        raise TraceError(f"workers has {stages} of role stage: num_stages says {header.num_stages}")


def check_alone(header: TraceHeader) -> None:
    """Raise TraceError where several sequences are in flight together: positions do not mean what they mean alone."""
    if header.concurrency is not None:
        raise TraceError(
            f"concurrency is {header.concurrency}: must be one sequence at a time here; "
            "spdsim.analysis.concurrent reads several"
        )


def check_spans(trace: Trace, graph: Causality, fate: "NDArray[np.uint8]", first_sequence: int) -> None:
    """Raise TraceError unless the spans of `trace` make up whole runs of the schedule.

    Each worker does one thing at a time; every message sent is received and every one received was sent; tokens
    are committed in order; and each token that was verified has passed every stage once.
    first_sequence: the number of the first sequence, for errors.
    """
    sequence = graph.sequence + first_sequence
    _one_thing_at_a_time(graph, sequence)
    _messages_arrive(trace, graph, sequence)
    _tokens_in_order(trace, graph, sequence)
    _every_stage_once(trace, graph, fate, first_sequence)


def _one_thing_at_a_time(graph: Causality, sequence: "Ints") -> None:
    before = graph.previous
    early = (before >= 0) & (graph.start_s < graph.end_s[before] - _TOLERANCE_S)
    if early.any():
        i = int(np.argmax(early))
        raise TraceError(
            f"sequence {sequence[i]}, cycle {graph.cycle[i]}: worker {graph.worker[i]} begins "
            f'"{graph.op_names[graph.op[i]]}" before its last op has ended'
        )


def _messages_arrive(trace: Trace, graph: Causality, sequence: "Ints") -> None:
    ways = np.array([name.split(" ")[0] for name in graph.op_names])[graph.op]
    is_lost = np.zeros(len(graph.op), np.bool_)
    is_lost[(ways == "recv") & (graph.posting < 0)] = True
    received = np.bincount(graph.posting[graph.posting >= 0], minlength=len(graph.op))
    is_lost[(ways == "send") & (received != 1)] = True
    if is_lost.any():
        i = int(np.argmax(is_lost))
        site = trace.sites[trace.site[i]]
        other = "was never sent" if ways[i] == "recv" else f"was received {received[i]} times, not once"
        raise TraceError(
            f"sequence {sequence[i]}, cycle {graph.cycle[i]}: "
            f'"{site.op}" of worker {site.worker} with worker {site.peer}: the message {other}'
        )


def _tokens_in_order(trace: Trace, graph: Causality, sequence: "Ints") -> None:
    commits = np.flatnonzero(graph.of_op("commit"))
    position = np.frombuffer(trace.position, np.int32)[commits]
    starts = np.searchsorted(sequence[commits], sequence[commits], side="left")
    wrong = position != np.arange(len(commits)) - starts
    if wrong.any():
        i = int(np.argmax(wrong))
        at = commits[i]
        raise TraceError(
            f"sequence {sequence[at]}, cycle {graph.cycle[at]}: position {position[i]} is committed "
            f"where position {i - starts[i]} was next"
        )


def _every_stage_once(trace: Trace, graph: Causality, fate: "NDArray[np.uint8]", first_sequence: int) -> None:
    stages = [info.index for info in trace.header.workers if info.role == "stage"]
    useful = np.flatnonzero(graph.of_op("forward") & (fate == USEFUL) & np.isin(graph.worker, stages))
    num_sequences = trace.num_sequences
    forwards = np.bincount(graph.sequence[useful], minlength=num_sequences)
    verified = _verifying_cycles(graph, num_sequences)
    wanted = verified * trace.header.num_stages
    wrong = forwards != wanted
    if wrong.any():
        i = int(np.argmax(wrong))
        raise TraceError(
            f"sequence {first_sequence + i} has {forwards[i]} forward spans that led to its {verified[i]} verdicts: "
            f"must be {wanted[i]}, one for each stage and verdict after the first"
        )


def _verifying_cycles(graph: Causality, num_sequences: int) -> "Ints":
    """How many cycles after the prefill brought tokens, by sequence."""
    commits = np.flatnonzero(graph.of_op("commit") & (graph.cycle >= 0))
    most = max(1, int(graph.cycle.max()) + 1)
    cycles = np.unique(graph.sequence[commits] * most + graph.cycle[commits])
    return np.asarray(np.bincount(cycles // most, minlength=num_sequences))
