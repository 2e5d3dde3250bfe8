"""The steps of one sequence: the schedule's state machine, run once for all workers."""

from collections.abc import Callable
from typing import Any

from spdsim.engine.steps import Programs
from spdsim.schedules.schedule import Coins, Schedule


class Tape:
    """The steps of one sequence, shared by all workers: (cycle, oldest position, every worker's steps).

    Replicas of the state machine agree, so one serves all: the first worker to finish a step lets the tape
    `grow`, which it does only once it has the verdict. The last entry is None.
    `accepted[position]` is the verdict on the newest draft for a position.
    """

    def __init__(
        self, schedule: Schedule, first: Any, coins: Coins | tuple[Coins, ...], steps_of: Callable[[Any], Programs]
    ) -> None:
        self._state, self._steps_of, self._advance = first, steps_of, schedule.advance
        judge = schedule.judge(first, coins)
        self._outcome, self.accepted = judge.outcome, judge.accepted
        self.cycles: list[tuple[int, int, Programs] | None] = []
        self._append()

    def grow(self) -> None:
        """Append the step that follows the last one."""
        self._state = self._advance(self._state, self._outcome(self._state))
        self._append()

    def _append(self) -> None:
        state = self._state
        self.cycles.append(None if state.is_done else (state.cycle, state.oldest, self._steps_of(state)))
