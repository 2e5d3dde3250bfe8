"""Distributed speculative inference: the drafter never stops, and replicas of the target verify in parallel
(arXiv:2405.14105).

Each replica is a whole target. A token that is drafted goes at once to the next replica in turn, whose pass gives the
verdict on the token after it; meanwhile the drafter and the other replicas go on. A rejection stops everything that
builds on the rejected draft, and the corrected token takes its place in the next cycle.

A cycle is one draft. A pass takes as many cycles as there are replicas, so it is cut into as many equal slices, one
forward op each: a replica that runs a flushed token stops at the end of a slice. So tokens are in flight on replicas as
SPD's are in stages, cycles are counted alike, and "stage" i is replica i.

What is exact: with t_t = k t_d, k replicas, the time is the paper's bound,
t_d p (N - 1) + t_t ((1 - p)(N - 1) + 1), in expectation and with "p (N - 1)" the number accepted in every single run.
What is simplified: a pass begins and ends with a cycle, so where t_t is no whole number of drafts it counts as the next
one, and with fewer replicas than t_t / t_d the drafter waits for them. The lookahead is 1 (no pass verifies several
drafts). Every replica hears of every draft, for its cache lacks the tokens that others ran; that its pass runs those
too is left to the forward's duration.

Workers: 0 drafts and commits, i + 1 is replica i; position q runs on replica q mod k.
Standard library only. Knows nothing of time. Positions are those of `spdsim.schedules.spd`.
"""

from collections.abc import Hashable, Iterator
from dataclasses import dataclass

from spdsim.errors import ScheduleError
from spdsim.schedules import chain
from spdsim.schedules.chain import Judge, advance, judge
from spdsim.schedules.ops import Compute, Op, Recv, Send
from spdsim.schedules.spd import PROMPT


@dataclass(frozen=True, slots=True)
class Layout:
    """`num_replicas` targets, at least 2. Raises ScheduleError for fewer: one could verify nothing ahead of time."""

    num_replicas: int
    verification_lag: int = 0
    tells_verdicts: bool = True

    def __post_init__(self) -> None:
        if self.num_replicas < 2:
            raise ScheduleError(f"num_replicas is {self.num_replicas}: must be at least 2")

    @property
    def num_stages(self) -> int:
        """Slices of a pass, and forward ops that lead to a verdict."""
        return self.num_replicas

    @property
    def num_workers(self) -> int:
        """The drafter and the replicas."""
        return 1 + self.num_replicas

    @property
    def capacity(self) -> int:
        """Tokens that are being verified, at most."""
        return self.num_replicas

    def role(self, worker: int) -> str:
        """Return what `worker` is."""
        return "stage" if worker else "draft"


class State(chain.State):
    """What every worker knows at the start of a cycle."""

    __slots__ = ()

    @property
    def shape(self) -> Hashable:
        """What the programs depend on, beside an offset of all positions: also whose turn it is."""
        return self.pipeline.shape, self.oldest % self.layout.num_stages


def start(layout: Layout, max_tokens: int) -> State:
    """Return the state before the prefill. Raises ScheduleError if max_tokens < 1."""
    return State(*chain.start(layout, max_tokens))


def program(state: chain.State, worker: int) -> tuple[Op, ...]:
    """Return what `worker` does in this cycle, in order. Raises ScheduleError if there is no such worker."""
    if not 0 <= worker < state.layout.num_workers:
        raise ScheduleError(f"worker is {worker}: must be 0 to {state.layout.num_workers - 1}")
    return tuple(_drafter(state) if worker == 0 else _replica(state, worker))


def _worker_of(state: chain.State, position: int) -> int:
    """The replica that runs `position`; the first token's turn comes after the prompt's."""
    return 1 + position % state.layout.num_stages


def _drafter(state: chain.State) -> Iterator[Op]:
    if state.cycle >= 0:
        yield Compute("draft", state.newest + 1)
        yield from (Send("draft", state.newest + 1, to) for to in _drafted_for(state))
    if state.is_full:
        yield Recv("verdict", state.oldest + 1, _worker_of(state, state.oldest))
        yield Compute("commit", state.oldest + 1)
    if state.cycle < 0:
        yield Compute("prefill", PROMPT)


def _drafted_for(state: chain.State) -> list[int]:
    """All replicas, first the one that begins with the draft in the next cycle."""
    replicas, first = state.layout.num_stages, state.newest + 1
    return [_worker_of(state, first + later) for later in range(replicas)]


def _replica(state: chain.State, worker: int) -> Iterator[Op]:
    source, position = _worker_of(state, state.oldest), state.oldest + 1
    if state.rejected:
        yield Compute("rollback", state.oldest)
    if state.cycle < 0:
        yield Compute("prefill", PROMPT)
    yield from (
        Compute("forward", running) for running in state.pipeline.in_flight if _worker_of(state, running) == worker
    )
    if state.is_full and worker == source:
        yield Compute("verify", position)
        yield from (Send("verdict", position, to) for to in range(state.layout.num_workers) if to != worker)
    elif state.is_full:
        yield Recv("verdict", position, source)
    if state.cycle >= 0:
        yield Recv("draft", state.newest + 1, 0)


__all__ = ["Judge", "Layout", "State", "advance", "judge", "program", "start"]
