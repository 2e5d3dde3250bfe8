"""What a schedule is to whoever runs it: a module with four functions, and a state.

    state = start(layout, max_tokens)        # before the prefill
    ops = program(state, worker)             # what this worker does now, in order
    state = advance(state, outcome)          # what the outcome of it makes of the state
    judge(state, coins).outcome(state)       # the outcome, where coins stand for drafts and target (a simulator)

Every schedule of this package is such a module, and so is one that a user writes. Standard library only.
Knows nothing of time.
"""

from collections.abc import Hashable
from typing import Any, Protocol

from spdsim.schedules.ops import Op


class Layout(Protocol):
    """Who the workers are. `num_stages` is 1 where the target is not cut into stages."""

    @property
    def num_stages(self) -> int: ...
    @property
    def num_workers(self) -> int: ...
    @property
    def verification_lag(self) -> int: ...
    @property
    def capacity(self) -> int:
        """Positions beyond the last one asked for that can be in flight, at most."""
        ...

    @property
    def tells_verdicts(self) -> bool:
        """Whether a trace is to record `Judge.accepted` of their position with verifications and commits."""
        ...

    def role(self, worker: int) -> str:
        """Return what `worker` is: "stage" for who runs a stage of the target, "draft" for who drafts, or else."""
        ...


class State(Protocol):
    """What every worker knows at the start of a step; all workers see the same outcomes, so their states agree.

    cycle: -1 is the prefill; a cycle may take several steps, but sends at most one message of a payload on an edge.
    oldest: the position that ops are counted from. shape: states of equal shape have equal programs, positions less
    `oldest` apart; None: no other state has its programs. fill_depth: what durations by fill depth are looked up with;
    0 in the prefill.
    """

    @property
    def layout(self) -> Any: ...
    @property
    def cycle(self) -> int: ...
    @property
    def oldest(self) -> int: ...
    @property
    def is_done(self) -> bool: ...
    @property
    def shape(self) -> Hashable: ...
    @property
    def fill_depth(self) -> int: ...


class Coins(Protocol):
    """Which drafts of one sequence the target accepts."""

    @property
    def fixed(self) -> list[bool] | None:
        """The verdicts by position, where they depend on nothing else."""
        ...

    def accepts(self, position: int, fill_depth: int) -> bool:
        """Return the verdict on the draft for `position`, the `fill_depth`-th (from 1) of those made in a row."""
        ...

    def event(self, name: str, index: int) -> float:
        """Return a number of [0, 1) for whatever else a schedule leaves to chance; the same for the same arguments."""
        ...


class Judge(Protocol):
    """The outcomes of one sequence. `accepted[position]` is the verdict on the newest draft for a position."""

    accepted: list[bool]

    def outcome(self, state: Any) -> Any:
        """Return what `advance` needs to leave `state`; None where it needs nothing."""
        ...


class Schedule(Protocol):
    """A module that is a schedule. States and outcomes are its own affair."""

    def start(self, layout: Any, max_tokens: int) -> Any: ...
    def program(self, state: Any, worker: int) -> tuple[Op, ...]: ...
    def advance(self, state: Any, outcome: Any) -> Any: ...
    def judge(self, state: Any, coins: Any) -> Judge:
        """Return the outcomes; `coins`: of the sequence, or of each of those that are in flight together."""
        ...
