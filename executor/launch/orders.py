"""What a rank is told by the process that starts it, and what travels between the two. Loads no torch."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.reduction import DupFd
from typing import TYPE_CHECKING, Any

from executor.events import RankReport, Sink
from executor.launch.tokens import Cells
from executor.plan import Job, Plan
from executor.progress import Progress

if TYPE_CHECKING:
    from executor.transport.distributed import DistributedTransport

    RankFunction = Callable[[Plan, Sequence[Job], int, DistributedTransport, Progress, Sink | None], RankReport]
    """What a rank does: `executor.rank.run_rank`, or what stands in for it; a function of a module."""


@dataclass(frozen=True, slots=True)
class Inherited:
    """A file descriptor; the process that is started with it gets a copy."""

    number: int

    def __reduce__(self) -> tuple[Any, ...]:
        return _received, (DupFd(self.number),)


def _received(duplicate: Any) -> Inherited:
    return Inherited(duplicate.detach())


@dataclass(frozen=True, slots=True)
class Orders:
    """What a rank is told.

    port: of the store, for which worker 0 gets the listening socket. output: where to write what libraries say.
    places, tokens: memory shared with the parent. pipe: to the parent; it gets events, then a report or a failure.
    rank: what to run; None: `executor.rank.run_rank`.
    """

    plan: Plan
    jobs: tuple[Job, ...]
    worker: int
    port: int
    listener: Inherited | None
    output: Inherited
    places: Cells
    tokens: Cells
    pipe: Connection
    rank: "RankFunction | None"


def obey(orders: Orders) -> None:
    """Be the rank that `orders` tell of."""
    from executor.launch.child import run

    run(orders)
