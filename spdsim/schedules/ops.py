"""The vocabulary of every schedule: what one worker can be asked to do.

Standard library only. Knows nothing of time, devices or tensors.
"""

from dataclasses import dataclass
from typing import Literal

Task = Literal["prefill", "forward", "draft", "verify", "combine", "commit", "rollback"]
Payload = Literal["hidden", "features", "draft", "partial", "verdict"]


@dataclass(frozen=True, slots=True)
class Compute:
    """Run a task for the token at `position` on this worker.

    accepted: the verdict that a trace is to record with it, where the schedule knows it when it asks for the task.
    batch: where several sequences are in flight, the position of each of those that the task is run for at once; empty:
        the one at `position`.
    """

    task: Task
    position: int
    accepted: bool | None = None
    batch: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Send:
    """Post a message about `position` to worker `to`; does not wait for the receipt.

    batch: the sequences that it is about.
    """

    payload: Payload
    position: int
    to: int
    batch: int = 1


@dataclass(frozen=True, slots=True)
class Recv:
    """Wait for the message about `position` from worker `source`. batch: the sequences that it is about."""

    payload: Payload
    position: int
    source: int
    batch: int = 1


Op = Compute | Send | Recv


@dataclass(frozen=True, slots=True)
class Verdict:
    """What verification says of one position: the only control message.

    `token` is the token now at the verified position (the draft if accepted, else the target's own);
    a simulator, which has no tokens, leaves it at -1. `node`: in a tree of drafts, which node of the position is right;
    0 in a chain, and where the token is the target's own.
    """

    accepted: bool
    token: int = -1
    node: int = 0


def op_name(op: Op) -> str:
    """Return the name under which a trace records `op`: "forward", "send hidden", "recv verdict"."""
    match op:
        case Compute(task):
            return task
        case Send(payload):
            return f"send {payload}"
        case Recv(payload):
            return f"recv {payload}"
