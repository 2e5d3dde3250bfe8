"""How long an emulated computation takes: what the simulator would say of the same task in the same cycle."""

from executor.plan import Job
from spdsim.draws import Address, Draws, constant_s
from spdsim.machine import Duration, Machine
from spdsim.schedules.ops import Task
from spdsim.schedules.spd import PipelineState


class Durations:
    """The durations of one worker's tasks. A driver's bookkeeping is done, not emulated."""

    def __init__(self, machine: Machine, worker: int, seed: int) -> None:
        self._tasks = {task: duration for (index, task), duration in machine.tasks.items() if index == worker}
        self._worker, self._seed = worker, seed
        self._drawn: dict[tuple[Task, int], tuple[float, Draws | None]] = {}
        self._sequence = self._prompt_tokens = 0

    def begin(self, job: Job) -> None:
        """Begin a sequence."""
        self._sequence, self._prompt_tokens = job.sequence, len(job.prompt)
        for _, draws in self._drawn.values():
            if draws is not None:
                draws.restart(job.sequence)

    def of(self, task: Task, state: PipelineState, position: int) -> float:
        """Return the seconds of `task` for the token at `position` of the schedule."""
        duration = self._tasks.get(task)
        if duration is None or task == "commit":
            return 0.0
        depth = len(state.in_flight)
        number = duration.number_at_depth(depth)
        found = self._drawn.get((task, number))
        if found is None:
            found = self._drawn[task, number] = self._base(duration, task, depth)
        base_s, draws = found
        if draws is not None:
            base_s += draws.at(state.cycle)
        return base_s + duration.per_context_token_s * (self._prompt_tokens + position)

    def _base(self, duration: Duration, task: Task, depth: int) -> tuple[float, Draws | None]:
        base = duration.at_depth(depth)
        draws = Draws.of(base, Address(self._seed, self._worker, task, duration.number_at_depth(depth)))
        if draws is not None:
            draws.restart(self._sequence)
        return constant_s(base), draws
