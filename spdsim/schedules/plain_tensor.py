"""Plain decoding, tensor-parallel: every layer is cut over the devices, which add up their parts after each.

Workers: all compute a shard of everything; worker 0, which commits, stands for the one stage that they are together.
The all-reduces of a token are one exchange around the ring of workers here, as long as all of them together; those of
the LM head are another. Standard library only. Knows nothing of time. Positions are those of `spdsim.schedules.spd`.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from spdsim.schedules.one_token import State, advance, judge, start
from spdsim.schedules.ops import Compute, Op, Payload, Recv, Send
from spdsim.schedules.parties import at_least, check_worker


@dataclass(frozen=True, slots=True)
class Layout:
    """`num_workers` devices, at least 2. Raises ScheduleError for fewer."""

    num_workers: int
    num_stages: int = 1
    verification_lag: int = 0
    capacity: int = 1
    tells_verdicts: bool = False

    def __post_init__(self) -> None:
        at_least(2, num_workers=self.num_workers)

    def role(self, worker: int) -> str:
        """Return what `worker` is."""
        return "shard" if worker else "stage"


def program(state: State, worker: int) -> tuple[Op, ...]:
    """Return what `worker` does for one token, in order. Raises ScheduleError if there is no such worker."""
    check_worker(state.layout.num_workers, worker)
    return tuple(_shard(state, worker))


def _shard(state: State, worker: int) -> Iterator[Op]:
    token = state.oldest
    yield Compute("prefill" if token < 0 else "forward", token)
    yield from _reduce(state, worker, "hidden", token)
    yield Compute("verify", token + 1)
    yield from _reduce(state, worker, "partial", token + 1)
    if worker == 0:
        yield Compute("commit", token + 1)


def _reduce(state: State, worker: int, payload: Payload, position: int) -> Iterator[Op]:
    """An all-reduce: nobody goes on before its neighbour has come as far, and so, in the end, nobody before all."""
    workers = state.layout.num_workers
    yield Send(payload, position, (worker + 1) % workers)
    yield Recv(payload, position, (worker - 1) % workers)


__all__ = ["Layout", "advance", "judge", "program", "start"]
