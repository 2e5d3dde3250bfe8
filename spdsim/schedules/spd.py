"""Speculative pipeline decoding as a pure state machine: `program` and `advance`.

Every worker, simulated or real, runs its own replica: it executes `program(state, worker)`, op by op,
and then moves on with `advance(state, verdict)`. Replicas agree because they see the same verdicts;
there is no other control message. Every message sent in a cycle is received in that cycle, a cycle
being each worker's own count.

Standard library only. Knows nothing of time, devices or tensors.

Positions count the generated tokens: 0 is y_1, the token that the prefill gives; -1 stands for the prompt.
Workers: with two stages or more, 0 is the draft rank, i + 1 is stage i, and n + 1 the LM head where it has a
device of its own; with one stage, worker 0 is stage 0 and there is nothing else (plain decoding).

Source of the algorithm: arXiv:2605.30852. The verification lag and the placements of the LM head are this
project's generalisation of it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from spdsim.errors import ScheduleError
from spdsim.schedules.ops import Compute, Op, Recv, Send, Verdict
from spdsim.schedules.options import Control, LmHead, Packing, Role
from spdsim.schedules.schedule import Coins

PROMPT = -1
"""The position that stands for the whole prompt (prefill, cycle -1)."""

_ACCEPTED, _REJECTED = Verdict(accepted=True), Verdict(accepted=False)


@dataclass(frozen=True, slots=True)
class Layout:
    """The options of the schedule: who does what, and when the verdict travels.

    num_stages: pipeline stages, at least 1.
    lm_head: who turns the last hidden state into the target's distribution.
    verification_lag: k: the verdict on cycle t - k is a message of cycle t; 0 with one stage.
    feature_stages: the stages whose output the draft module reads; None means all of them.
    control: "early" sends draft and verdict as soon as they are known; "late" sends them after the
        draft rank has received the features and done its bookkeeping; "lockstep" does so too, hears from every
        stage in every cycle and tells every worker, so that all begin a cycle together, as in the authors' executor.
    sampled: with sampling, every holder of an LM head shard needs the draft's distribution; not in a tree.
    messages: "per_edge" lets all that one worker sends another in a cycle travel as one message, so that the last
        hidden state carries the last stage's features where the draft rank gets both; "per_tensor" keeps them apart.
    width: drafts for one position, the nodes of a level of a tree, which pass the stages together; 1 is a chain. It
        changes no order of ops, only how many tokens each is about; and shards of the LM head hear of no level.

    Raises ScheduleError when a value is out of its range.
    """

    num_stages: int
    lm_head: LmHead = "draft_rank"
    verification_lag: int = 0
    feature_stages: tuple[int, ...] | None = None
    control: Control = "early"
    sampled: bool = False
    messages: Packing = "per_edge"
    width: int = 1

    def __post_init__(self) -> None:
        if self.num_stages < 1:
            raise ScheduleError(f"num_stages is {self.num_stages}: must be at least 1")
        if self.verification_lag < 0:
            raise ScheduleError(f"verification_lag is {self.verification_lag}: must be at least 0")
        if self.num_stages == 1 and self.verification_lag:
            raise ScheduleError(f"verification_lag is {self.verification_lag}: must be 0 with one stage")
        if self.width < 1:
            raise ScheduleError(f"width is {self.width}: must be at least 1")
        if self.width > 1 and self.num_stages == 1:
            raise ScheduleError(f"width is {self.width}: must be 1 with one stage, where nothing is drafted")
        if self.width > 1 and self.verification_lag:
            rule = "must be 0 with a tree, whose last stage must know the branch that is right"
            raise ScheduleError(f"verification_lag is {self.verification_lag}: {rule}")

    @property
    def num_workers(self) -> int:
        """Draft rank, stages, and the LM head's own worker; one worker with one stage."""
        if self.num_stages == 1:
            return 1
        return self.num_stages + 1 + (self.lm_head == "own_device")

    @property
    def capacity(self) -> int:
        """Tokens in flight when the pipeline is full: n in stages and k left but unverified."""
        return self.num_stages + self.verification_lag

    @property
    def tells_verdicts(self) -> bool:
        """Whether what is verified was drafted: not with one stage."""
        return self.num_stages > 1

    @property
    def driver(self) -> int:
        """The worker that commits tokens: the draft rank, or the only stage."""
        return 0

    @property
    def verdict_source(self) -> int:
        """The worker that knows a verdict first and sends it to all others."""
        if self.num_stages == 1:
            return 0
        match self.lm_head:
            case "draft_rank" | "sharded":
                return 0
            case "last_stage":
                return self.num_stages
            case "own_device":
                return self.num_stages + 1

    def role(self, worker: int) -> Role:
        """Return what `worker` is. Raises ScheduleError if there is no such worker."""
        if not 0 <= worker < self.num_workers:
            raise ScheduleError(f"worker is {worker}: must be 0 to {self.num_workers - 1}")
        if self.num_stages == 1:
            return "stage"
        if worker == 0:
            return "draft"
        return "stage" if worker <= self.num_stages else "head"

    def worker_of_stage(self, stage: int) -> int:
        """Return the worker that runs `stage` (0-based)."""
        return stage + (self.num_stages > 1)

    def stage_of(self, worker: int) -> int:
        """Return the stage (0-based) that `worker` runs; only for workers whose role is "stage"."""
        return worker - (self.num_stages > 1)

    def rows_of_stage(self, stage: int) -> int:
        """Return how many nodes `stage` runs at once: all of a level, but the last stage the right one only.

        What reaches the last stage was verified in the cycle before, except where there is no tree.
        """
        return self.width if stage < self.num_stages - 1 else 1

    def draft_rows(self, num_in_flight: int) -> int:
        """Return the rows of a draft: a completed token, the oldest in flight, and the levels that are younger."""
        return 2 + (min(num_in_flight, self.num_stages) - 1) * self.width

    def sends_features(self, stage: int) -> bool:
        """Whether `stage` sends features: where the draft module reads of it, and in lockstep, perhaps empty ones."""
        is_read = self.feature_stages is None or stage in self.feature_stages
        return self.num_stages > 1 and (is_read or self.control == "lockstep")

    @property
    def last_hidden_carries_features(self) -> bool:
        """Whether the last stage's features reach the draft rank in the message with its hidden state."""
        return self.messages == "per_edge" and self.lm_head in ("draft_rank", "sharded")


class PipelineState(NamedTuple):
    """What every worker knows at the start of a cycle (a named tuple: one is made every cycle).

    in_flight: positions, newest first; entry i is what stage i runs now, entries from n on have left
        the last stage and wait for their verdict (only with a verification lag).
    committed: tokens verified so far, y_1 included.
    cycle: -1 is the prefill.
    rejected: the last verdict was a rejection, so this cycle begins with a rollback.
    """

    layout: Layout
    max_tokens: int
    end_tokens: frozenset[int] = frozenset()
    in_flight: range = range(0)
    committed: int = 0
    cycle: int = -1
    rejected: bool = False
    ended: bool = False

    @property
    def is_done(self) -> bool:
        """All tokens asked for are verified, or an end token is."""
        return self.ended or self.committed >= self.max_tokens

    @property
    def is_full(self) -> bool:
        """This cycle brings a verdict: always in the prefill, else when the pipeline is full."""
        return self.cycle < 0 or len(self.in_flight) == self.layout.capacity

    @property
    def oldest(self) -> int:
        """The oldest position in flight; PROMPT during the prefill."""
        return self.in_flight[-1] if self.in_flight else PROMPT

    @property
    def fill_depth(self) -> int:
        """Tokens in flight."""
        return len(self.in_flight)

    @property
    def shape(self) -> tuple[bool, int, bool]:
        """What the programs depend on, beside an offset of all positions."""
        return self.cycle < 0, len(self.in_flight), self.rejected


def start(layout: Layout, max_tokens: int, end_tokens: frozenset[int] = frozenset()) -> PipelineState:
    """Return the state before the prefill. Raises ScheduleError if max_tokens < 1."""
    if max_tokens < 1:
        raise ScheduleError(f"max_tokens is {max_tokens}: must be at least 1")
    return PipelineState(layout, max_tokens, end_tokens)


def advance(state: PipelineState, verdict: Verdict | None) -> PipelineState:
    """Return the state of the next cycle.

    A full cycle (and the prefill, whose verdict carries y_1) needs a verdict, a fill cycle has none.
    Raises ScheduleError where the two do not match, or when decoding has ended.
    """
    layout, max_tokens, end_tokens, in_flight, committed, cycle, _, ended = state
    if ended or committed >= max_tokens:
        raise ScheduleError(f"cycle {cycle}: decoding has ended, no cycle follows")
    is_full = cycle < 0 or len(in_flight) == layout.capacity
    if is_full != (verdict is not None):
        need = "needs a verdict" if is_full else "is a fill cycle and has no verdict"
        raise ScheduleError(f"cycle {cycle} {need}")
    if verdict is None:
        grown = range(in_flight[0] + 1, in_flight[-1] - 1, -1)
        return PipelineState(layout, max_tokens, end_tokens, grown, committed, cycle + 1)
    oldest = in_flight[-1] + 1 if in_flight else PROMPT + 1
    newest = in_flight[0] + 1 if in_flight and verdict.accepted else oldest
    return PipelineState(
        layout, max_tokens, end_tokens, range(newest, oldest - 1, -1), committed + 1, cycle + 1,
        not verdict.accepted, verdict.token in end_tokens,
    )  # fmt: skip


def program(state: PipelineState, worker: int) -> tuple[Op, ...]:
    """Return what `worker` does in this cycle, in order. Raises ScheduleError if there is no such worker."""
    layout = state.layout
    match layout.role(worker):
        case "draft":
            return tuple(_draft_rank(state))
        case "stage":
            return tuple(_stage(state, layout.stage_of(worker)))
        case "head":
            return tuple(_head(state))


class Judge:
    """The verdicts of one sequence: coins in place of a target and a draft module."""

    def __init__(self, first: PipelineState, coins: Coins) -> None:
        self._coins = coins
        self.accepted = coins.fixed or [True] * (first.max_tokens + first.layout.capacity + 1)

    def outcome(self, state: PipelineState) -> Verdict | None:
        """Toss the coin of the token that is drafted in this cycle, and return the verdict that the cycle brings."""
        drafts = state.layout.num_stages > 1
        if self._coins.fixed is None and state.in_flight and drafts:
            drafted = state.in_flight[0] + 1
            self.accepted[drafted] = self._coins.accepts(drafted, len(state.in_flight))
        if not state.is_full:
            return None
        # Neither y_1 nor, with one stage, any token was drafted: they are the target's own, and stand.
        is_accepted = state.cycle < 0 or not drafts or self.accepted[state.oldest + 1]
        return _ACCEPTED if is_accepted else _REJECTED


def judge(state: PipelineState, coins: Coins) -> Judge:
    """Return the verdicts of the sequence that begins with `state`."""
    return Judge(state, coins)


def verdict_position(state: PipelineState) -> int | None:
    """Return the position on which this cycle brings a verdict; None in a fill cycle."""
    return state.oldest + 1 if state.is_full else None


# Where a token is, and what is verified.


def _position_in(state: PipelineState, stage: int) -> int | None:
    """The position that `stage` runs in this cycle, if it runs one."""
    if state.cycle < 0:
        return PROMPT
    return state.in_flight[stage] if stage < len(state.in_flight) else None


def _verifies_at_once(state: PipelineState) -> bool:
    """Whether verification follows the last stage in the same cycle; y_1 is never late."""
    return state.layout.verification_lag == 0 or state.cycle < 0


def _verified(state: PipelineState) -> int | None:
    """The position whose verification is computed in this cycle, if one is.

    Without a lag it follows the token that leaves the last stage now; with one, the token that left it
    in the cycle before, so that verification runs beside the stages.
    """
    n = state.layout.num_stages
    if _verifies_at_once(state):
        leaving = _position_in(state, n - 1)
        return None if leaving is None else leaving + 1
    return state.in_flight[n] + 1 if len(state.in_flight) > n else None


def _hidden_receivers(layout: Layout) -> tuple[int, ...]:
    """The workers, beside the last stage itself, that verify and so need its output."""
    n = layout.num_stages
    if n == 1:
        return ()
    match layout.lm_head:
        case "draft_rank":
            return (0,)
        case "last_stage":
            return ()
        case "sharded":
            return tuple(range(n))
        case "own_device":
            return (n + 1,)


def _draft_receivers(state: PipelineState) -> tuple[int, ...]:
    """The workers to which the draft rank sends the drafted token by a message of its own.

    Stage 0 runs it next (where the draft rank sends the verdict, that message carries the draft too);
    who verifies elsewhere compares with it later.
    """
    layout = state.layout
    is_told = state.is_full and layout.verdict_source == 0
    if layout.control == "lockstep" and not is_told:
        return tuple(range(1, layout.num_workers))
    receivers: list[int] = []
    if not is_told:
        receivers.append(1)
    if layout.lm_head in ("last_stage", "own_device"):
        receivers.append(layout.verdict_source)
    elif layout.lm_head == "sharded" and layout.sampled and layout.width == 1:
        receivers.extend(range(2, layout.num_stages + 1))
    return tuple(receivers)


# The three roles.


def _draft_rank(state: PipelineState) -> Iterator[Op]:
    layout = state.layout
    at_once, is_prefill = _verifies_at_once(state), state.cycle < 0
    verdicts = _verdict_sends(state, 0)
    bookkeeping = (Compute("commit", state.oldest + 1),) if state.is_full else ()
    drafts: tuple[Op, ...] = ()
    if not is_prefill:
        newest = state.in_flight[0]
        drafts = tuple(Send("draft", newest + 1, to) for to in _draft_receivers(state))
        yield Compute("draft", newest + 1)
    is_late = layout.control != "early" and not is_prefill
    if not is_late:
        yield from drafts
    if at_once:
        yield from _last_hidden(state, 0)
    yield from _verification(state, 0, () if is_late else verdicts)
    yield from _verdict_receipt(state, 0)
    if not is_late:
        yield from bookkeeping
    if not at_once:
        yield from _last_hidden(state, 0)
    yield from _features(state)
    if is_late:
        yield from bookkeeping
        yield from verdicts
        yield from drafts
    if is_prefill:
        yield Compute("prefill", PROMPT)


def _features(state: PipelineState) -> Iterator[Op]:
    layout = state.layout
    for stage in range(layout.num_stages):
        position = _position_in(state, stage)
        if position is not None and _sends_features_apart(layout, stage):
            yield Recv("features", position, layout.worker_of_stage(stage))


def _sends_features_apart(layout: Layout, stage: int) -> bool:
    is_carried = stage == layout.num_stages - 1 and layout.last_hidden_carries_features
    return layout.sends_features(stage) and not is_carried


def _stage(state: PipelineState, stage: int) -> Iterator[Op]:
    layout, n = state.layout, state.layout.num_stages
    worker = layout.worker_of_stage(stage)
    position = _position_in(state, stage)
    entering = None if stage == 0 else _position_in(state, stage - 1)
    if state.rejected and n > 1:
        yield Compute("rollback", state.oldest)
    if not _verifies_at_once(state):
        yield from _verification(state, worker, _verdict_sends(state, worker))
    if state.cycle < 0 and entering is not None:
        yield Recv("hidden", PROMPT, worker - 1)
    if position is not None:
        yield Compute("prefill" if state.cycle < 0 else "forward", position)
        receivers = _hidden_receivers(layout) if stage == n - 1 else (worker + 1,)
        yield from (Send("hidden", position, to) for to in receivers)
        if _sends_features_apart(layout, stage):
            yield Send("features", position, 0)
    if _verifies_at_once(state):
        yield from _last_hidden(state, worker)
        yield from _verification(state, worker, _verdict_sends(state, worker))
    if state.cycle >= 0 and entering is not None:
        yield Recv("hidden", entering, worker - 1)
    yield from _verdict_receipt(state, worker)
    if n == 1:
        yield Compute("commit", state.oldest + 1)
    elif state.cycle >= 0 and worker in _draft_receivers(state):
        yield Recv("draft", state.in_flight[0] + 1, 0)
    if not _verifies_at_once(state):
        yield from _last_hidden(state, worker)


def _head(state: PipelineState) -> Iterator[Op]:
    worker = state.layout.num_stages + 1
    if _verifies_at_once(state):
        yield from _last_hidden(state, worker)
    yield from _verification(state, worker, _verdict_sends(state, worker))
    if state.cycle >= 0:
        yield Recv("draft", state.in_flight[0] + 1, 0)
    if not _verifies_at_once(state):
        yield from _last_hidden(state, worker)


# Verification, the same few lines for every worker that has a part in it.


def _verdict_sends(state: PipelineState, worker: int) -> tuple[Op, ...]:
    """The messages with which the source of a verdict tells all others.

    With early control the last stage comes first: what it computes is verified in the same cycle, and what other
    stages compute is needed a cycle later. With other control they go by number, as the authors' executor has it.
    """
    layout = state.layout
    if not state.is_full or worker != layout.verdict_source or layout.num_stages == 1:
        return ()
    stages = range(1, layout.num_stages + 1)
    told = (*(reversed(stages) if layout.control == "early" else stages), 0)
    others = [other for other in told if other != worker]
    return tuple(Send("verdict", state.oldest + 1, to) for to in others)


def _verification(state: PipelineState, worker: int, sends: tuple[Op, ...]) -> Iterator[Op]:
    """This worker's part in verification, and the verdicts that it sends in this cycle.

    With a lag of two or more the verdict of this cycle was computed in an earlier one, so it goes first.
    """
    if state.layout.verification_lag > 1 and state.cycle >= 0:
        yield from sends
        yield from _verify(state, worker)
    else:
        yield from _verify(state, worker)
        yield from sends


def _verdict_receipt(state: PipelineState, worker: int) -> Iterator[Op]:
    source = state.layout.verdict_source
    if state.is_full and worker != source:
        yield Recv("verdict", state.oldest + 1, source)


def _last_hidden(state: PipelineState, worker: int) -> Iterator[Op]:
    """The receipt of what leaves the last stage in this cycle, where `worker` verifies it."""
    leaving = _position_in(state, state.layout.num_stages - 1)
    if leaving is not None and worker in _hidden_receivers(state.layout):
        yield Recv("hidden", leaving, state.layout.num_stages)


def _verify(state: PipelineState, worker: int) -> Iterator[Op]:
    layout, n = state.layout, state.layout.num_stages
    position = _verified(state)
    if position is None:
        return
    if layout.lm_head == "sharded" and n > 1:
        yield Compute("verify", position)
        if worker == 0:
            yield from (Recv("partial", position, source) for source in range(1, n + 1))
            yield Compute("combine", position)
        else:
            yield Send("partial", position, 0)
    elif worker == layout.verdict_source:
        yield Compute("verify", position)


__all__ = [
    "PROMPT", "Control", "Judge", "Layout", "LmHead", "Packing", "PipelineState", "Role",
    "advance", "judge", "program", "start", "verdict_position",
]  # fmt: skip
