"""What ended a run, told from what its ranks said, how they ended and where they were: one error, with one culprit.

A rank that is lost takes others with it: they wait in vain, or find a connection closed. Those are victims; the rank
that does not wait, or waits for nobody who could help it, is the culprit. Standard library only.
"""

import signal
import traceback
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from executor.errors import LaunchError, LostRankError
from executor.plan import Job
from executor.progress import Doing, Place, rank_name
from spdsim.errors import SpdError
from spdsim.schedules.spd import Layout


@dataclass(frozen=True, slots=True)
class Failure:
    """An error that a rank raised. is_victim: because of another rank. trace: where in the program, if unforeseen."""

    worker: int
    error: type[SpdError]
    text: str
    is_victim: bool = False
    trace: str = ""


@dataclass(frozen=True, slots=True)
class Death:
    """The end of a rank that said nothing. exit_code: negative for a signal."""

    worker: int
    exit_code: int


@dataclass(frozen=True, slots=True)
class Stall:
    """A rank that has done nothing for as long as the others may wait."""

    worker: int


Fate = Failure | Death | Stall


def is_victim(fate: Fate) -> bool:
    """Whether another rank is to blame."""
    return isinstance(fate, Failure) and fate.is_victim


def failure_of(error: BaseException, layout: Layout, worker: int, place: Place, jobs: Sequence[Job]) -> Failure:
    """Return what a rank has to say of an error that it raised."""
    name, at = rank_name(layout, worker), where(place, jobs)
    match error:
        case LostRankError():
            return Failure(worker, LostRankError, f"{name}, {at}: {error}", is_victim=True)
        case SpdError():
            return Failure(worker, type(error), str(error) if str(error).startswith(name) else f"{name}: {error}")
        case _ if _is_out_of_memory(error):
            kind = LaunchError if place.doing in (Doing.STARTING, Doing.LOADING) else LostRankError
            mend = "take more stages, a smaller dtype or a shorter context"
            return Failure(worker, kind, f"{name} ran out of memory {at}: {mend} ({_in_short(error)})")
        case _:
            said = f"{type(error).__name__}: {_in_short(error)}"
            return Failure(worker, LostRankError, f"{name} failed {at}: {said}", trace="".join(
                traceback.format_exception(error)
            ))  # fmt: skip


def culprit(fates: Mapping[int, Fate], places: Sequence[Place], stopped: Collection[int]) -> Fate:
    """Return the fate that explains the others. fates: by worker, in the order in which they became known."""
    for fate in fates.values():
        if not is_victim(fate):
            return fate
    for worker in stopped:
        return Stall(worker)
    return Stall(_not_waiting(fates, places))


def _not_waiting(fates: Mapping[int, Fate], places: Sequence[Place]) -> int:
    """The rank at the end of the waits of the first victim; of a ring, the one furthest behind that is mute."""
    worker, chain = next(iter(fates)), list[int]()
    while places[worker].doing == Doing.WAITING and worker not in chain:
        chain.append(worker)
        worker = places[worker].peer
    if worker not in chain:
        return worker
    ring = chain[chain.index(worker) :]
    mute = [member for member in ring if member not in fates]
    return min(mute or ring, key=lambda member: (places[member].job, places[member].cycle))


def error_of(fate: Fate, layout: Layout, place: Place, jobs: Sequence[Job], timeout_s: float) -> SpdError:
    """Return the error that tells a fate: which rank, where in the run, what happened, what to do."""
    name, at = rank_name(layout, fate.worker), where(place, jobs)
    match fate:
        case Failure(_, error, text):
            return error(text)
        case Death(_, exit_code) if exit_code == -signal.SIGKILL:
            why = "by hand, or for want of memory: the kernel's log tells"
            return LostRankError(f"{name} was killed by signal 9 {at}: {why}")
        case Death(_, exit_code) if exit_code < 0:
            called = signal.Signals(-exit_code).name
            return LostRankError(f"{name} was killed by signal {-exit_code} {at}: {called}, a crash in native code?")
        case Death(_, exit_code):
            return LostRankError(f"{name} ended with exit code {exit_code} {at}, before its work was done")
        case Stall():
            why = "is its process stopped, its machine overloaded, or the timeout too short?"
            return LostRankError(f"{name} stalled {at}: nothing came of it for {timeout_s:g} s: {why}")


def where(place: Place, jobs: Sequence[Job]) -> str:
    """Return where in a run a place is, as an error says it: "in cycle 57 of sequence 0"."""
    match place.doing:
        case Doing.STARTING:
            return "while starting"
        case Doing.LOADING:
            return "while loading"
        case Doing.DONE:
            return "after its last cycle"
        case Doing.WORKING | Doing.WAITING:
            job = jobs[place.job]
            cycle = "the prefill" if place.cycle < 0 else f"cycle {place.cycle}"
            return f"in {cycle} of sequence {job.sequence}{' (plain decoding)' if job.method == 'plain' else ''}"


def _is_out_of_memory(error: BaseException) -> bool:
    text = str(error).lower()
    is_said = "out of memory" in text or "can't allocate memory" in text or "cannot allocate memory" in text
    # torch.cuda.OutOfMemoryError is a RuntimeError too.
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError | OSError) and is_said)


def _in_short(error: BaseException) -> str:
    """The first line of an error's text, or its name."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
