"""SPD with several sequences in flight: they share the pipeline and the draft module, as `slots` has it.

Each worker does what it does with one sequence, for all tokens that are in its slot at once; with nothing in a slot,
its op is left out, on both ends of a message. A verdict's message tells of every sequence that leaves the pipeline.

A real engine needs for it: attention over caches of their own for the rows of a batch, a draft module that drafts for
some sequences in one pass, a verdict message of several tokens, and the policy of `slots` in every worker, which is
deterministic, so that no other control message is needed. Standard library only. Knows nothing of time.
"""

from dataclasses import dataclass
from functools import cache

from spdsim.errors import ScheduleError
from spdsim.schedules import spd
from spdsim.schedules.ops import Compute, Op, Recv, Send
from spdsim.schedules.slots import Slot, State, Token, advance, after, drafted, judge, ops_for, prompts, start


@dataclass(frozen=True, slots=True)
class Layout:
    """`pipeline`: the options of SPD, with two stages or more and no lag. sequences: in flight; entries: in a cycle.

    Raises ScheduleError when a value is out of its range.
    """

    pipeline: spd.Layout
    sequences: int
    entries: int = 1

    def __post_init__(self) -> None:
        if self.pipeline.num_stages < 2:
            raise ScheduleError("num_stages is 1: must be at least 2, one stage is plain decoding")
        if self.pipeline.verification_lag:
            lag = self.pipeline.verification_lag
            raise ScheduleError(f"verification_lag is {lag}: must be 0 with several sequences in flight")
        if self.sequences < 1:
            raise ScheduleError(f"sequences is {self.sequences}: must be at least 1")
        if not 1 <= self.entries <= self.sequences:
            raise ScheduleError(f"entries is {self.entries}: must be 1 to the {self.sequences} sequences")

    @property
    def num_stages(self) -> int:
        """Pipeline stages."""
        return self.pipeline.num_stages

    @property
    def num_workers(self) -> int:
        """Those of SPD."""
        return self.pipeline.num_workers

    @property
    def verification_lag(self) -> int:
        """0."""
        return 0

    @property
    def capacity(self) -> int:
        """Positions of a sequence that can be in flight."""
        return self.pipeline.capacity

    @property
    def tells_verdicts(self) -> bool:
        """Whether a trace records verdicts."""
        return True

    @property
    def drafts(self) -> bool:
        """Whether anything is drafted."""
        return True

    def role(self, worker: int) -> str:
        """Return what `worker` is."""
        return self.pipeline.role(worker)


def program(state: State, worker: int) -> tuple[Op, ...]:
    """Return what `worker` does in this cycle, in order. Raises ScheduleError if there is no such worker."""
    layout = state.layout
    assert isinstance(layout, Layout)
    kind = "prefill" if state.cycle < 0 else "full" if state.leaving else "fill"
    found: list[Op] = []
    for op in _of_one(layout.pipeline, kind, bool(state.rejected), worker):
        found += ops_for(state, op, _tokens(state, layout.pipeline, op, worker))
    return tuple(found)


@cache
def _of_one(layout: spd.Layout, kind: str, rejected: bool, worker: int) -> tuple[Op, ...]:
    """What a worker does with one sequence: in the prefill, with a token in every stage, or in all but the last."""
    if kind == "prefill":
        return spd.program(spd.start(layout, 2), worker)
    depth = layout.num_stages - (kind == "fill")
    state = spd.PipelineState(layout, 2 * depth, frozenset(), range(depth - 1, -1, -1), 1, 1, rejected)
    return spd.program(state, worker)


def _tokens(state: State, layout: spd.Layout, op: Op, worker: int) -> Slot:
    """The tokens that an op is about."""
    is_prefill = state.cycle < 0
    verified = after(prompts(state) if is_prefill else state.leaving)
    match op:
        case Compute("verify" | "combine" | "commit") | Send("partial" | "verdict") | Recv("partial" | "verdict"):
            return verified
        case _ if is_prefill:
            return prompts(state)
        case Compute("draft") | Send("draft") | Recv("draft"):
            return drafted(state)
        case Compute("rollback"):
            # The corrected token, which may have to wait for its turn, is the last one verified.
            return tuple(Token(sequence, state.committed[sequence] - 1) for sequence in state.rejected)
        case Recv("hidden" | "features", _, source):
            return state.slots[layout.stage_of(source)]
        case _:
            return state.slots[layout.stage_of(worker)]


__all__ = ["Layout", "advance", "judge", "program", "start"]
