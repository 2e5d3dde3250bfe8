"""What several schedules have in common: rules of their options and steps, who their workers are, drafts and commits.

Standard library only. Knows nothing of time. Positions are those of `spdsim.schedules.spd`.
"""

from collections.abc import Iterator
from typing import Any, Protocol

from spdsim.errors import ScheduleError
from spdsim.schedules.ops import Compute, Op, Recv, Send
from spdsim.schedules.schedule import Coins


class _Staged(Protocol):
    @property
    def num_stages(self) -> int: ...


class DrafterAndStages:
    """Of a layout with `num_stages` whose worker 0 drafts, and whose worker i + 1 is stage i."""

    __slots__ = ()

    @property
    def num_workers(self: _Staged) -> int:
        """The drafter and the stages."""
        return 1 + self.num_stages

    def role(self, worker: int) -> str:
        """Return what `worker` is."""
        return "stage" if worker else "draft"


class StagesAlone:
    """Of a layout with `num_stages` whose worker i is stage i."""

    __slots__ = ()

    @property
    def num_workers(self: _Staged) -> int:
        """One for each stage."""
        return self.num_stages

    def role(self, worker: int) -> str:
        """Return what `worker` is."""
        del worker
        return "stage"


def at_least(least: int, **options: int) -> None:
    """Raise ScheduleError, which names the first of the options that is less."""
    for name, value in options.items():
        if value < least:
            raise ScheduleError(f"{name} is {value}: must be at least {least}")


def check_worker(num_workers: int, worker: int) -> None:
    """Raise ScheduleError unless there is such a worker."""
    if not 0 <= worker < num_workers:
        raise ScheduleError(f"worker is {worker}: must be 0 to {num_workers - 1}")


def check_going_on(is_done: bool, cycle: int, what: str = "step") -> None:
    """Raise ScheduleError after the end, where no further cycle or step follows."""
    if is_done:
        raise ScheduleError(f"cycle {cycle}: decoding has ended, no {what} follows")


def check_outcome(cycle: int, outcome: object, *, verifies: bool, need: str = "the number of drafts accepted") -> None:
    """Raise ScheduleError unless there is an outcome where, and only where, a step verifies something."""
    if verifies != (outcome is not None):
        raise ScheduleError(f"cycle {cycle} {f'needs {need}' if verifies else 'verifies no draft'}")


def check_accepted(num_accepted: int, num_verified: int) -> None:
    """Raise ScheduleError unless so many of the drafts that were verified can have been accepted."""
    if not 0 <= num_accepted <= num_verified:
        raise ScheduleError(f"{num_accepted} drafts accepted: must be 0 to {num_verified}")


def num_leading(coins: Coins, oldest: int, num_drafts: int) -> int:
    """Return how many of the drafts after `oldest` are accepted before the first that is not."""
    places = range(1, num_drafts + 1)
    return next((at - 1 for at in places if not coins.accepts(oldest + at, at)), num_drafts)


class JudgeAhead:
    """The outcomes of one sequence whose drafts are made before those in front of them are verified.

    The coin of a draft is tossed when it is made, at its place after the last token committed. num_drafts: that a
    cycle makes. States tell their newest token, and in which steps how many drafts are verified.
    """

    def __init__(self, coins: Coins, num_drafts: int) -> None:
        self._coins, self._num_drafts = coins, num_drafts
        self._verdicts: dict[int, bool] = {}
        self.accepted: list[bool] = []

    def outcome(self, state: Any) -> int | None:
        """Return how many drafts are accepted in the step that leaves `state`; None where none is verified."""
        if state.cycle < 0 or state.num_accepted is not None:
            return None
        for position in range(state.newest + 1, state.newest + self._num_drafts + 1):
            self._verdicts[position] = self._coins.accepts(position, position - state.oldest)
        if not state.verifies:
            return None
        verdicts = [self._verdicts[state.oldest + at] for at in range(1, state.num_verified + 1)]
        return verdicts.index(False) if False in verdicts else len(verdicts)


def stage_of_round(state: Any, worker: int) -> Iterator[Op]:
    """What a stage does in a round that is drafted first and verified then, or in the prefill.

    state: of a schedule with such rounds: its oldest token, its cycle, whether the round before ended with a rejection.
    """
    oldest, last = state.oldest, state.layout.num_stages
    if state.rejected:
        yield Compute("rollback", oldest)
    if worker > 1:
        yield Recv("hidden", oldest, worker - 1)
    elif state.cycle >= 0:
        yield Recv("draft", oldest + 1, 0)
    yield Compute("prefill" if state.cycle < 0 else "forward", oldest)
    if worker < last:
        yield Send("hidden", oldest, worker + 1)
    else:
        yield Compute("verify", oldest + 1)
        yield Send("verdict", oldest + 1, 0)


def commits(oldest: int, num_new: int, num_accepted: int, *, of_own: bool | None = False) -> Iterator[Op]:
    """The commits after `oldest`: accepted drafts, and then the target's own token, if there is one more.

    of_own: what is said of that: False in place of a rejected draft, None where it stands for no draft.
    """
    for at in range(1, num_new + 1):
        yield Compute("commit", oldest + at, accepted=True if at <= num_accepted else of_own)
