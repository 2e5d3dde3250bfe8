"""Plain decoding over the stages of a pipeline, one token at a time: what speculation is compared with.

Every token runs through the stages as the prompt does in the prefill, and the next one begins when its token is known.
The same workers, the same messages, no drafts. Standard library only.
"""

from spdsim.errors import ScheduleError
from spdsim.schedules import spd
from spdsim.schedules.ops import Compute, Op, Recv, Send, Verdict
from spdsim.schedules.spd import PROMPT, PipelineState, start


def advance(state: PipelineState, verdict: Verdict | None) -> PipelineState:
    """Return the state of the next cycle: the next token. Raises ScheduleError without a verdict or after the end."""
    if state.is_done:
        raise ScheduleError(f"cycle {state.cycle}: decoding has ended, no cycle follows")
    if verdict is None:
        raise ScheduleError(f"cycle {state.cycle} needs a verdict")
    position = state.oldest + 1
    return state._replace(
        in_flight=range(position, position - 1, -1),
        committed=state.committed + 1,
        cycle=state.cycle + 1,
        ended=verdict.token in state.end_tokens,
    )


def program(state: PipelineState, worker: int) -> tuple[Op, ...]:
    """Return what `worker` does for one token, in order. Raises ScheduleError if there is no such worker."""
    prefill = start(state.layout, state.max_tokens)
    ops = (op for op in spd.program(prefill, worker) if not _is_for_drafts(op, state, worker))
    return tuple(_moved(op, state.oldest - PROMPT, is_prefill=state.cycle < 0) for op in ops)


def verdict_position(state: PipelineState) -> int:
    """Return the position on which this cycle brings a verdict; every cycle does."""
    return state.oldest + 1


def _is_for_drafts(op: Op, state: PipelineState, worker: int) -> bool:
    match op:
        case Compute("prefill", _):
            return state.layout.role(worker) == "draft"
        case Send("features", _, _) | Recv("features", _, _):
            return True
        case _:
            return False


def _moved(op: Op, by: int, *, is_prefill: bool) -> Op:
    match op:
        case Compute(task, position):
            return Compute("forward" if task == "prefill" and not is_prefill else task, position + by)
        case Send(payload, position, to):
            return Send(payload, position + by, to)
        case Recv(payload, position, source):
            return Recv(payload, position + by, source)


__all__ = ["advance", "program", "start", "verdict_position"]
