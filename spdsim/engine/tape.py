"""The cycles of one sequence: the schedule's state machine, run once for all workers."""

from collections.abc import Callable

from spdsim.acceptance import Coins
from spdsim.engine.steps import Programs
from spdsim.schedules.ops import Verdict
from spdsim.schedules.spd import PipelineState, advance

_ACCEPTED, _REJECTED = Verdict(accepted=True), Verdict(accepted=False)


class Tape:
    """The cycles of one sequence, shared by all workers: (cycle, oldest position, every worker's steps).

    Replicas of the state machine agree, so one serves all: the first worker to finish a cycle lets the tape
    `grow`, which it does only once it has the verdict. The last entry is None.
    `accepted[position]` is the verdict on the newest draft for a position.
    """

    def __init__(self, first: PipelineState, coins: Coins, steps_of: Callable[[PipelineState], Programs]) -> None:
        self._state, self._coins, self._steps_of = first, coins, steps_of
        self.accepted = coins.fixed or [True] * (first.max_tokens + first.layout.capacity + 1)
        self.cycles: list[tuple[int, int, Programs] | None] = []
        self._append()

    def grow(self) -> None:
        """Append the cycle that follows the last one."""
        state = self._state
        if self._coins.fixed is None and state.in_flight and state.layout.num_stages > 1:
            drafted = state.in_flight[0] + 1
            self.accepted[drafted] = self._coins.accepts(drafted, len(state.in_flight))
        if not state.is_full:
            self._state = advance(state, None)
        else:
            # Neither y_1 nor, with one stage, any token was drafted: they are the target's own, and stand.
            is_own = state.cycle < 0 or state.layout.num_stages == 1
            is_accepted = is_own or self.accepted[state.oldest + 1]
            self._state = advance(state, _ACCEPTED if is_accepted else _REJECTED)
        self._append()

    def _append(self) -> None:
        state = self._state
        self.cycles.append(None if state.is_done else (state.cycle, state.oldest, self._steps_of(state)))
