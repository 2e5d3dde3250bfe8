"""What plain decoding would do, for sequences without traces: read off one sequence, its durations at their means.

Useful durations are drawn whatever the verdicts, so their expected sum is that of their means; what is constant is
told exactly. Only where a host issues ahead of a random device is the mean of what it issues longer not quite this.
"""

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from spdsim.analysis.causality import causality
from spdsim.analysis.fate import USEFUL, fates
from spdsim.analysis.hops import hops
from spdsim.analysis.plain import PlainWork
from spdsim.distributions import Constant, Distribution, mean_s
from spdsim.engine import Request, decode_all
from spdsim.machine import Duration, Machine, Message
from spdsim.scenario import Scenario
from spdsim.simulation import header_of, request_of
from spdsim.trace import Trace

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]
    Floats = NDArray[np.float64]


_SHORT = 32
"""Tokens of the sequence that is read first: what grows with the position, or not at all, shows there."""


def reference_work(scenario: Scenario, machine: Machine, num_tokens: "Ints") -> PlainWork:
    """Return what plain decoding does for sequences 0 and following, of so many tokens each.

    Read off the beginning of the longest of them where every op there takes a time linear in its position, and off
    all of it elsewhere.
    """
    request = request_of(scenario, machine, int(num_tokens.argmax()))
    machine = _at_means(machine)
    work = None
    if request.num_tokens > 2 * _SHORT:
        work = _read_off(scenario, machine, replace(request, num_tokens=_SHORT), num_tokens)
    work = work or _read_off(scenario, machine, request, num_tokens)
    assert work is not None
    return work


def _read_off(scenario: Scenario, machine: Machine, request: Request, num_tokens: "Ints") -> PlainWork | None:
    """Decode `request` and return the work of sequences of so many tokens; None if it is too short to tell."""
    trace = Trace(header_of(scenario, machine))
    assert list(decode_all(machine, trace, [[request]], scenario.seed))
    graph, fate = causality(trace), fates(trace)
    position = np.frombuffer(trace.position, np.int32)
    longest = int(num_tokens.max())

    def until(op: str, first: int, count: "Ints") -> "Floats | None":
        """Seconds of an op for the first `count` tokens of each sequence, from position `first` on."""
        which = graph.of_op(op) & (fate == USEFUL) & (graph.cycle >= 0)
        seconds = (graph.end_s - graph.start_s)[which]
        sums = np.bincount(position[which] - first, weights=seconds, minlength=request.num_tokens - 1)
        by_token_s = _continued(np.asarray(sums, np.float64), longest - 1)
        if by_token_s is None:
            return None
        return np.asarray(np.concatenate(([0.0], np.cumsum(by_token_s)))[count], np.float64)

    # The last token is verified and never runs through the stages; the first one is the prefill's.
    steps = num_tokens - 1
    stages_s, stages_issued_s = until("forward", 0, steps), until("issue forward", 0, steps)
    head_s, head_issued_s = until("verify", 1, steps), until("issue verify", 1, steps)
    if stages_s is None or stages_issued_s is None or head_s is None or head_issued_s is None:
        return None
    return PlainWork(stages_s, stages_issued_s, head_s + head_issued_s, hops(graph, len(machine.workers)))


def _continued(known_s: "Floats", count: int) -> "Floats | None":
    """Return `count` values that begin with those known and go on in their line; None if they are in none."""
    if len(known_s) >= count:
        return known_s
    places = np.arange(count)
    line = known_s[0] + (known_s[-1] - known_s[0]) / (len(known_s) - 1) * places
    if np.abs(line[: len(known_s)] - known_s).max() > 1e-9 * np.abs(known_s).max():
        return None
    return np.asarray(line, np.float64)


def _at_means(machine: Machine) -> Machine:
    """Return the machine with every duration at its mean."""
    return replace(
        machine,
        tasks={key: _task_at_mean(duration) for key, duration in machine.tasks.items()},
        messages={key: _message_at_mean(message) for key, message in machine.messages.items()},
    )


def _task_at_mean(duration: Duration) -> Duration:
    by_depth = duration.by_fill_depth
    return replace(
        duration, base=_mean(duration.base), by_fill_depth=None if by_depth is None else tuple(map(_mean, by_depth))
    )


def _message_at_mean(message: Message) -> Message:
    return replace(
        message,
        post=_mean(message.post),
        transit=_mean(message.transit),
        prefill_transit=_mean(message.prefill_transit),
    )


def _mean(distribution: Distribution) -> Constant:
    return Constant(mean_s(distribution))
