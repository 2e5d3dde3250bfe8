"""Verdicts of real runs: every prompt is decoded with the pipeline, all workers in this process.

Loads torch where it runs.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from executor.events import Event, JobDone, Ready, TokenVerified
from executor.launch.processes import launch
from executor.plan import Job, JobResult, Plan

Progress = Callable[[int, int], None]
"""Called with what is done and all there is to do."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """Verdicts of every sequence. num_cycles: that were counted; None: nothing ran. tokens: y_1 and those after it."""

    accepted: tuple[tuple[bool, ...], ...]
    tokens: tuple[tuple[int, ...], ...]
    num_cycles: int | None = None


def decode(plan: Plan, jobs: Sequence[Job], ready: Callable[[], None], progress: Progress) -> tuple[JobResult, ...]:
    """Return what became of `jobs`. ready: called once all is loaded. progress: in tokens.

    Raises InputError where the model or the draft module cannot be loaded.
    """
    done, tokens = 0, 0
    most, total = max(job.max_new_tokens for job in jobs), sum(job.max_new_tokens for job in jobs)

    def sink(event: Event) -> None:
        nonlocal done, tokens
        match event:
            case Ready():
                ready()
            case TokenVerified():
                tokens += 1
                progress(done * most + tokens, total)
            case JobDone():
                done, tokens = done + 1, 0
                progress(done * most, total)

    return launch(plan, jobs, sink).results


def recorded(plan: Plan, jobs: Sequence[Job], ready: Callable[[], None], progress: Progress) -> Recorded:
    """Return the verdicts of `jobs`, which have drafts. Raises as `decode` does."""
    results = decode(plan, jobs, ready, progress)
    # A sequence of one token has no cycle after the prefill.
    cycles = sum(result.num_cycles for result in results if len(result.tokens) > 1)
    return Recorded(tuple(each.accepted for each in results), tuple(each.tokens for each in results), cycles)
