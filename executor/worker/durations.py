"""How long an emulated computation takes: what the simulator would say of the same task in the same cycle."""

from executor.plan import Job
from spdsim.distributions import Constant
from spdsim.draws import Draws
from spdsim.machine import Duration, Machine
from spdsim.schedules.ops import Task
from spdsim.schedules.spd import PipelineState


class Durations:
    """The durations of one worker's tasks. A driver's bookkeeping is done, not emulated."""

    def __init__(self, machine: Machine, worker: int, seed: int) -> None:
        self._tasks = {task: duration for (index, task), duration in machine.tasks.items() if index == worker}
        self._worker, self._seed = worker, seed
        self._draws: dict[tuple[Task, int], Draws | float] = {}
        self._sequence = self._prompt_tokens = 0

    def begin(self, job: Job) -> None:
        """Begin a sequence."""
        self._sequence, self._prompt_tokens = job.sequence, len(job.prompt)
        self._draws.clear()

    def of(self, task: Task, state: PipelineState, position: int) -> float:
        """Return the seconds of `task` for the token at `position` of the schedule."""
        duration = self._tasks.get(task)
        if duration is None or task == "commit":
            return 0.0
        depth = len(state.in_flight)
        drawn = self._draws.get((task, depth))
        if drawn is None:
            drawn = self._draws[task, depth] = self._drawn(duration, task, depth)
        base_s = drawn if isinstance(drawn, float) else drawn.at(state.cycle)
        return base_s + duration.per_context_token_s * max(0, self._prompt_tokens + position)

    def _drawn(self, duration: Duration, task: Task, depth: int) -> Draws | float:
        base = duration.at_depth(depth)
        if isinstance(base, Constant):
            return base.value_s
        draws = Draws(base, (self._seed, self._worker, task, depth))
        draws.restart(self._sequence)
        return draws
