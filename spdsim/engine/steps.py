"""What a worker does in a cycle, with all that can be looked up beforehand.

A schedule says which ops; a machine says what they cost; a step is both, in the form that the interpreter's loop
reads fastest: a tuple of numbers and of the objects that the op touches.
"""

from collections import Counter, deque
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from typing import Any

import simpy

from spdsim.distributions import Distribution, scaled
from spdsim.draws import Address, Draws, constant_s
from spdsim.machine import Issue, Machine, Message, Receipt
from spdsim.schedules.ops import Compute, Op, Recv, Send, op_name
from spdsim.schedules.schedule import State
from spdsim.trace import Site, Trace

RECV_POSTED, RECV_READ, RECV_TAKEN, RECV, SEND, POST, HOST, COMPUTE = range(8)
"""Kinds of step: a receipt that only the device waits for, one that only the host does, one that both do; a message
whose cost is constant and whose link is its own; any other message; the host's bookkeeping, which takes no device; a
computation."""

Step = tuple[int, int, int, float, Any, Any, "Channel"]
"""Kind, position less the oldest in flight, site, constant seconds, then by kind: the site of handling a receipt;
(link, transit seconds); or (seconds a position, site if rejected, the host's lead and total seconds, whether it
waits, the site of what it issues longer than the device works); draws; channel."""

Programs = list[list[Step]]
"""Every worker's steps in one cycle."""


@dataclass(frozen=True, slots=True)
class PostDraws:
    """The draws of posting a message and of its transit, None where they are constant."""

    post: Draws | None
    transit: Draws | None


class Channel:
    """The messages of one payload on one edge: arrival times, and the receiver if it waits."""

    __slots__ = ("arrivals", "waiting")

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget all messages."""
        self.arrivals: deque[float] = deque()
        self.waiting: simpy.Event | None = None

    def deliver(self, arrival_s: float) -> None:
        """Add a message, and wake the receiver if it waits."""
        self.arrivals.append(arrival_s)
        if self.waiting is not None:
            self.waiting.succeed()
            self.waiting = None


_RECEIPTS: dict[Receipt, int] = {"posted": RECV_POSTED, "read": RECV_READ, "taken": RECV_TAKEN, "serial": RECV}
_NO_CHANNEL = Channel()
_TOGETHER = Issue(0.0, 0.0, is_read=True)
"""Where a duration is that of host and device together, the host waits for its end."""


class Compiler:
    """Turns the schedule's programs into steps, once for each shape of the state.

    channels: by (payload, source, destination). common_links: the links that more than one worker sends on,
    so that the order of sending matters. link_free_s: the time at which each link is free, and one entry more for
    each edge within a device, which crosses no link and waits for no other.
    """

    def __init__(self, machine: Machine, trace: Trace, seed: int) -> None:
        self.channels: dict[tuple[str, int, int], Channel] = {}
        self.common_links = common_links(machine)
        self.link_free_s = [0.0] * len(machine.links)
        self._machine, self._trace, self._seed = machine, trace, seed
        self._programs: dict[Hashable, Programs] = {}
        self._likes: dict[Hashable, Step] = {}
        self._draws: dict[tuple[Distribution, Address], Draws] = {}
        self._edges_within: dict[tuple[str, int, int], int] = {}
        self._sequence = 0

    def restart(self, sequence: int) -> None:
        """Begin a sequence: idle links, empty channels and fresh draws."""
        self._sequence = sequence
        self.link_free_s[:] = [0.0] * len(self.link_free_s)
        for draws in self._draws.values():
            draws.restart(sequence)
        for channel in self.channels.values():
            channel.reset()

    def steps_of(self, state: State) -> Programs:
        """Return every worker's steps in `state`, compiled once for each shape of the state that comes again."""
        shape = state.shape
        steps = self._programs.get(shape) if shape is not None else None
        if steps is None:
            workers = range(self._machine.layout.num_workers)
            steps = [list(self._compile_all(state, worker, comes_again=shape is not None)) for worker in workers]
            if shape is not None:
                self._programs[shape] = steps
        return steps

    def between_cycles(self, worker: int) -> tuple[float, Draws | None]:
        """Return the seconds of a worker's host before a decode cycle: what is constant, and what is drawn."""
        between = self._machine.between_cycles
        return constant_s(between), self._drawn(between, Address(self._seed, worker, "between cycles"))

    def _compile_all(self, state: State, worker: int, *, comes_again: bool) -> Iterator[Step]:
        """Yield the steps of one worker; equal tasks and messages are numbered, for each has draws of its own."""
        compiled = self._compile if comes_again else self._step
        seen: Counter[tuple[str, int]] = Counter()
        for op in self._machine.schedule.program(state, worker):
            what = (op_name(op), op.to if isinstance(op, Send) else -1)
            yield compiled(state, worker, op, seen[what])
            seen[what] += 1

    def _step(self, state: State, worker: int, op: Op, occurrence: int) -> Step:
        """Return the step of an op whose program does not come again, though its like does, for other tokens."""
        batch = op.batch if isinstance(op, Compute) else ()
        like = (worker, op.__class__, *_likeness(op), state.cycle < 0, state.fill_depth, occurrence)
        known = self._likes.get(like)
        if known is None:
            # Without its context: that is added below.
            known = self._likes[like] = self._compile(state, worker, op, occurrence)
        kind, _, site, base_s, detail, draws, channel = known
        offset = op.position - state.oldest
        if not batch:
            return kind, offset, site, base_s, detail, draws, channel
        # Each reads what is cached of its own sequence; the position is a number that tells the sequences apart.
        slope_s, *others = detail
        return kind, offset, site, base_s + slope_s * sum(batch), (0.0, *others), draws, channel

    def _compile(self, state: State, worker: int, op: Op, occurrence: int) -> Step:
        is_prefill, offset = state.cycle < 0, op.position - state.oldest
        match op:
            case Compute():
                return self._compile_compute(state, worker, op, offset, occurrence)
            case Send(payload, _, to, batch):
                message = self._machine.messages[payload, worker, to]
                transit = message.prefill_transit if is_prefill else message.transit
                size, more_s = _batch(message, batch, is_prefill=is_prefill)
                draws = PostDraws(
                    self._drawn(message.post, Address(self._seed, worker, f"post {payload}", to, occurrence)),
                    self._drawn(transit, Address(self._seed, worker, f"transit {payload}", to, occurrence)),
                )
                transit_s = constant_s(transit) + more_s
                link = message.link
                if link is None:
                    link = self._edge_within(payload, worker, to)
                is_plain = draws == PostDraws(None, None) and link not in self.common_links
                is_plain = is_plain and not message.leaves_at_once
                return (
                    SEND if is_plain else POST, offset,
                    self._trace.site_id(Site(worker, op_name(op), to, size)),
                    constant_s(message.post) + (0.0 if is_prefill else message.control_s),
                    (link, transit_s, message.leaves_at_once), draws, self._channel(payload, worker, to),
                )  # fmt: skip
            case Recv(payload, _, source, batch):
                message = self._machine.messages[payload, source, worker]
                size, _ = _batch(message, batch, is_prefill=is_prefill)
                site = self._trace.site_id(Site(worker, op_name(op), source, size))
                kind = _RECEIPTS[message.receipt]
                # The receiver's host has a span of its own, so that a receipt lasts as long as it waits.
                handling = self._trace.site_id(Site(worker, f"handle {payload}", source, size))
                return (kind, offset, site, message.receive_s, handling, None, self._channel(payload, source, worker))

    def _compile_compute(self, state: State, worker: int, op: Compute, offset: int, occurrence: int) -> Step:
        duration = self._machine.tasks[worker, op.task]
        depth = state.fill_depth
        base, slope_s = duration.at_depth(depth), duration.per_context_token_s
        together = max(1, len(op.batch))
        if (factor := duration.batch_factor(together)) != 1.0:
            base = scaled(base, factor)
        # y_1 is not a draft, and several have no verdict in common.
        is_verdict = op.task in ("verify", "commit") and state.cycle >= 0 and together == 1
        tells_verdict = is_verdict and self._machine.layout.tells_verdicts
        site = Site(worker, op.task, accepted=True if tells_verdict else op.accepted)
        number = self._trace.site_id(site)
        rejected = self._trace.site_id(Site(worker, op.task, accepted=False)) if tells_verdict else 0
        base_s = constant_s(base) + slope_s * (together * self._machine.prompt_tokens)
        fraction = self._machine.shared_fraction if op.task == "forward" else 0.0
        address = Address(self._seed, worker, op.task, duration.number_at_depth(depth), occurrence)
        draws = self._drawn(base, address, fraction)
        # Bookkeeping is the host's: it does not take the device from the others.
        kind = HOST if op.task == "commit" else COMPUTE
        issue = duration.issue or _TOGETHER
        issuing = self._trace.site_id(Site(worker, f"issue {op.task}"))
        detail = (slope_s, rejected, issue.lead_s, issue.total_s, issue.is_read, issuing)
        return (kind, offset, number, base_s, detail, draws, _NO_CHANNEL)

    def _drawn(self, distribution: Distribution, address: Address, shared_fraction: float = 0.0) -> Draws | None:
        draws = self._draws.get((distribution, address)) or Draws.of(distribution, address, shared_fraction)
        if draws is not None:
            draws.restart(self._sequence)
            self._draws[distribution, address] = draws
        return draws

    def _edge_within(self, payload: str, source: int, to: int) -> int:
        """The index in `link_free_s` of an edge within a device."""
        if (edge := (payload, source, to)) not in self._edges_within:
            self._edges_within[edge] = len(self.link_free_s)
            self.link_free_s.append(0.0)
        return self._edges_within[edge]

    def _channel(self, payload: str, source: int, to: int) -> Channel:
        return self.channels.setdefault((payload, source, to), Channel())


def _likeness(op: Op) -> tuple[Hashable, ...]:
    """What the cost of an op depends on, beside its worker, the state and the context of its tokens."""
    match op:
        case Compute(task, _, accepted, batch):
            return task, accepted, len(batch)
        case Send(payload, _, to, batch):
            return payload, to, batch
        case Recv(payload, _, source, batch):
            return payload, source, batch


def _batch(message: Message, batch: int, *, is_prefill: bool) -> tuple[int, float]:
    """The bytes of a message about so many sequences, and the seconds that those beyond the first add on its way.

    What they add in the prefill is the machine's affair: all prompts are one task there.
    """
    if is_prefill:
        return batch * message.prefill_bytes, 0.0
    return message.num_bytes + (batch - 1) * message.batch_bytes, (batch - 1) * message.batch_transit_s


def common_links(machine: Machine) -> frozenset[int]:
    """Return the links that more than one worker sends on, so that the order of sending matters."""
    senders: dict[int, set[int]] = {}
    for (_, source, _), message in machine.messages.items():
        if message.link is not None:
            senders.setdefault(message.link, set()).add(source)
    several = {link for link, workers in senders.items() if len(workers) > 1}
    return frozenset(several | {index for index, link in enumerate(machine.links) if link.is_shared})
