"""What a trace shows of single tasks and messages: durations as arrays, and who computed beside them.

A span holds what its worker saw, so a computation that shared its cores with others is as long as that made it.
`Computations.beside_s` says how much of it went by with 1, 2, 3 … workers of its node computing.
Where all workers take turns on one device, a computation is read from the end of the one before it: whatever a host
does in between, the device waits for it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from spdsim.analysis.messages import postings
from spdsim.errors import InputError
from spdsim.scenario import Scenario, layout_of, scenario_of_document
from spdsim.scenario.placement import layers_of_stages, place
from spdsim.schedules import plain, spd
from spdsim.schedules.ops import Payload, Verdict
from spdsim.schedules.spd import Layout
from spdsim.timing.messages import message_bytes
from spdsim.trace import Trace

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]
    Floats = NDArray[np.float64]

COMPUTING = ("prefill", "forward", "draft", "verify", "combine")
"""The tasks that take a processor or a device for long."""


@dataclass(frozen=True, slots=True)
class Computations:
    """Spans of one task of one worker: seconds each, tokens in flight (0: the prefill), and what went on beside.

    cycles: sequence and cycle of each. context_tokens: before the token that is computed.
    beside_s: shape (spans, workers of the trace); column j - 1 is the time with j workers computing.
    """

    worker: int
    task: str
    seconds: "Floats"
    cycles: tuple[tuple[int, int], ...]
    context_tokens: "Ints"
    in_flight: "Ints"
    beside_s: "Floats"


@dataclass(frozen=True, slots=True)
class Messages:
    """Messages of one payload in decode cycles, between devices of one node or between nodes.

    mean_bytes: of a sending. post_s: of each sending. crossing_s: from the beginning of the sending to the end of a
    receipt that had begun before, so that all of it was seen, less the taking. taking_s: of messages that were there
    already.
    """

    payload: Payload
    is_between_nodes: bool
    mean_bytes: float
    post_s: "Floats"
    crossing_s: "Floats"
    taking_s: "Floats"


@dataclass(frozen=True, slots=True)
class Observed:
    """One trace and all that a fit reads of it. name: of its file. layers: of each stage."""

    name: str
    trace: Trace
    scenario: Scenario
    layout: Layout
    layers: tuple[int, ...]
    computations: tuple[Computations, ...]
    messages: tuple[Messages, ...]

    @property
    def transport(self) -> str:
        """How messages travelled, by the executor's name for it; nothing where the trace does not say."""
        return (self.trace.header.machine or {}).get("backend", "")


def scenario_in(trace: Trace, name: str) -> Scenario:
    """Return the scenario that the header of a trace carries, without its times.

    Raises InputError if it carries none, or what is none.
    """
    if trace.header.scenario is None:
        raise InputError(f"{name}: has no scenario in its header: must be a trace that spdsim-exec generate wrote")
    # Its times are those of a simulation, or of an emulation: no fit may know them.
    data = {key: value for key, value in trace.header.scenario.items() if key != "timing"}
    return scenario_of_document(data, f"{name}: scenario in its header")


def observe(trace: Trace, name: str) -> Observed:
    """Return what `trace` shows. Raises InputError for a trace without a scenario, or of another pipeline than it."""
    scenario = scenario_in(trace, name)
    layout = layout_of(scenario)
    if (layout.num_stages, layout.num_workers) != (trace.header.num_stages, len(trace.header.workers)):
        raise InputError(f"{name}: its scenario has {layout.num_stages} stages: must be those of its workers")
    if layout.width > 1:
        rule = "must be 1: what a row takes is read off traces of chains"
        raise InputError(f"{name}: its scenario has draft.width {layout.width}: {rule}")
    devices = [worker.device for worker in place(scenario)]
    columns = _Columns(trace, devices)
    nodes = [scenario.devices.node_of(device) for device in devices]
    return Observed(
        name, trace, scenario, layout, layers_of_stages(scenario),
        tuple(_computations(columns, layout, nodes, scenario.workload.prompt_tokens)),
        tuple(_messages(columns, scenario, layout, devices, nodes)),
    )  # fmt: skip


class _Columns:
    """The columns of a trace as arrays, one entry a span."""

    def __init__(self, trace: Trace, devices: Sequence[int]) -> None:
        self.trace = trace
        self.site = np.frombuffer(trace.site, np.uint16).astype(np.int64)
        self.cycle = np.frombuffer(trace.cycle, np.int32).astype(np.int64)
        self.position = np.frombuffer(trace.position, np.int32).astype(np.int64)
        self.start_s, self.end_s = np.frombuffer(trace.start_s), np.frombuffer(trace.end_s)
        self.sequence = np.repeat(np.arange(trace.num_sequences), np.diff([*trace.sequence_starts, len(trace)]))
        self.ops = np.array([site.op for site in trace.sites] or [""])
        self.worker = np.array([site.worker for site in trace.sites] or [0])[self.site]
        if len(devices) > 1 and len(set(devices)) == 1:
            self._close_gaps()

    def _close_gaps(self) -> None:
        """Let every computation begin where the one before it ended, on the one device that there is."""
        spans = np.flatnonzero(np.isin(self.ops, COMPUTING)[self.site])
        spans = spans[np.lexsort((self.end_s[spans], self.sequence[spans]))]
        follows = np.diff(self.sequence[spans]) == 0
        start_s = self.start_s.copy()
        start_s[spans[1:][follows]] = self.end_s[spans[:-1][follows]]
        self.start_s = start_s

    def of_op(self, op: str) -> "Ints":
        """The spans of an op."""
        return np.flatnonzero((self.ops == op)[self.site])

    @property
    def seconds(self) -> "Floats":
        return np.asarray(self.end_s - self.start_s)


def _computations(columns: _Columns, layout: Layout, nodes: list[int], prompt_tokens: int) -> Iterator[Computations]:
    beside_s = _beside_s(columns, nodes)
    depth = _tokens_in_flight(columns.trace, layout)
    for task in (*COMPUTING, "commit", "rollback"):
        spans = columns.of_op(task)
        for worker in np.unique(columns.worker[spans]).tolist():
            mine = spans[columns.worker[spans] == worker]
            cycles = tuple(zip(columns.sequence[mine].tolist(), columns.cycle[mine].tolist(), strict=True))
            in_flight = np.array([depth.get(cycle, 0) for cycle in cycles])
            context_tokens = prompt_tokens + np.maximum(0, columns.position[mine])
            yield Computations(worker, task, columns.seconds[mine], cycles, context_tokens, in_flight, beside_s[mine])


def _beside_s(columns: _Columns, nodes: list[int]) -> "Floats":
    """For every span, its seconds by how many workers of its node computed, itself among them."""
    num_workers = len(nodes)
    found = np.zeros((len(columns.site), num_workers))
    computing = np.flatnonzero(np.isin(columns.ops, COMPUTING)[columns.site])
    node_of = np.array(nodes)[columns.worker]
    for node in set(nodes):
        spans = computing[node_of[computing] == node]
        start_s, end_s = columns.start_s[spans], columns.end_s[spans]
        times_s = np.concatenate((start_s, end_s))
        order = np.argsort(times_s, kind="stable")
        changes = np.concatenate((np.ones(len(spans), int), -np.ones(len(spans), int)))[order]
        together, times_s = np.cumsum(changes), times_s[order]
        length_s = np.diff(times_s, append=times_s[-1:])
        for j in range(1, num_workers + 1):
            passed_s = np.concatenate(([0.0], np.cumsum(np.where(together == j, length_s, 0.0))))
            first, last = np.searchsorted(times_s, start_s), np.searchsorted(times_s, end_s)
            found[spans, j - 1] = passed_s[last] - passed_s[first]
    return found


def _tokens_in_flight(trace: Trace, layout: Layout) -> dict[tuple[int, int], int]:
    """How many tokens are in flight by sequence and cycle: the schedule, with the verdicts that were committed."""
    schedule = plain if trace.header.method == "plain" else spd
    verdicts: dict[int, dict[int, bool]] = {}
    for span in trace.spans():
        if span.op == "commit" and span.worker == layout.driver:
            verdicts.setdefault(span.sequence, {})[span.cycle] = span.accepted is not False
    found = {}
    for sequence, of_cycle in verdicts.items():
        state = schedule.start(layout, len(of_cycle))
        while not state.is_done:
            found[sequence, state.cycle] = len(state.in_flight)
            awaited = schedule.verdict_position(state)
            state = schedule.advance(state, None if awaited is None else Verdict(of_cycle.get(state.cycle, True)))
    return found


def _messages(
    columns: _Columns, scenario: Scenario, layout: Layout, devices: list[int], nodes: list[int]
) -> Iterator[Messages]:
    posting, decoding = postings(columns.trace), columns.cycle >= 0
    device, node = np.array(devices), np.array(nodes)
    peer = np.array([-1 if site.peer is None else site.peer for site in columns.trace.sites] or [-1])[columns.site]
    leaves_device = (peer >= 0) & (device[columns.worker] != device[peer])
    leaves_node = leaves_device & (node[columns.worker] != node[peer])
    payloads: tuple[Payload, ...] = ("hidden", "features", "draft", "verdict", "partial")
    for payload in payloads:
        for is_between_nodes in (False, True):
            counted = decoding & leaves_device & (leaves_node == is_between_nodes)
            sends = columns.of_op(f"send {payload}")
            sends = sends[counted[sends]]
            if len(sends):
                receipts = columns.of_op(f"recv {payload}")
                receipts = receipts[counted[receipts] & (posting[receipts] >= 0)]
                handled = columns.of_op(f"handle {payload}")
                edges, counts = np.unique(np.stack((columns.worker[sends], peer[sends])), axis=1, return_counts=True)
                sizes = [message_bytes(scenario, layout, (payload, *edge))[0] for edge in edges.T.tolist()]
                kind = payload, is_between_nodes, float(np.average(sizes, weights=counts))
                yield _one_payload(columns, kind, sends, receipts, posting, handled[counted[handled]])


def _one_payload(
    columns: _Columns, kind: tuple[Payload, bool, float], sends: "Ints", receipts: "Ints", posting: "Ints",
    handled: "Ints",
) -> Messages:  # fmt: skip
    # From the beginning of its posting: a receiver may have a message before the sender's host is done with it.
    sent_s = columns.start_s[posting[receipts]]
    was_waiting = columns.start_s[receipts] <= sent_s
    crossing_s = (columns.end_s[receipts] - sent_s)[was_waiting]
    if len(handled):
        return Messages(*kind, columns.seconds[sends], np.maximum(0.0, crossing_s), columns.seconds[handled])
    # A receipt that began this much later than a slow crossing takes found its message there: it was all taking.
    slow_s = float(np.quantile(crossing_s, 0.9)) if len(crossing_s) else 0.0
    taking_s = columns.seconds[receipts[columns.start_s[receipts] > sent_s + max(0.0, slow_s)]]
    taking_s = _capped(taking_s)
    mean_s = float(taking_s.mean()) if len(taking_s) else 0.0
    return Messages(*kind, columns.seconds[sends], np.maximum(0.0, crossing_s - mean_s), taking_s)


def _capped(seconds: "Floats") -> "Floats":
    """Return durations that stand for a constant, the longest twentieth cut: what held those up is not theirs."""
    return np.minimum(seconds, np.quantile(seconds, 0.95)) if len(seconds) else seconds
