"""Where the speedup goes: the mean cycle taken apart along its critical path, step by step.

From n x (every cycle a token, a cycle = plain time / n) to what was reached; the steps multiply to it exactly.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from spdsim.analysis.causality import (
    DRAFT,
    FORWARD,
    HOST,
    ISSUED,
    LINK,
    NUM_CATEGORIES,
    SHARING,
    VERIFY,
    Causality,
    critical_path,
)
from spdsim.analysis.decoding import Decoding
from spdsim.analysis.report import STEPS, STEPS_OF_ROUNDS, WaterfallStep

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_ADDED = (DRAFT, VERIFY, LINK, HOST, SHARING)
"""What the steps after `imbalance` add to the slowest stage, in their order."""


@dataclass(frozen=True, slots=True)
class CyclePath:
    """The critical path of all sequences, added up.

    levels_s: seconds of all cycles after `imbalance` and after each of `_ADDED`; the last is the decode time.
    driving_s: seconds by category of `spdsim.analysis.causality` on the path that goes on through shared
    devices: to first order, a category that gets x % longer makes the run longer by x % of its seconds.
    """

    levels_s: "Floats"
    driving_s: "Floats"

    @classmethod
    def sum(cls, parts: "Iterable[CyclePath]") -> "CyclePath":
        """Return the paths of several traces, added up."""
        all_parts = list(parts)
        return cls(
            np.sum([part.levels_s for part in all_parts], axis=0),
            np.sum([part.driving_s for part in all_parts], axis=0),
        )


def cycle_path(graph: Causality, decodings: list[Decoding]) -> CyclePath:
    """Walk the critical path of every sequence and add up what each cycle holds of each category."""
    levels_s, driving_s = np.zeros(1 + len(_ADDED)), np.zeros(NUM_CATEGORIES)
    slowest = _slowest_stage_s(graph, decodings)
    for decoding, slowest_s in zip(decodings, slowest, strict=True):
        if not len(decoding.cycle_s):
            continue
        cycle, category, seconds = critical_path(graph, decoding.last_span, decoding.begin_s)
        held = np.zeros((len(decoding.cycle_s), NUM_CATEGORIES))
        np.add.at(held, (np.maximum(cycle, 0), category), seconds)
        if (held[:, SHARING] > 0.0).any():
            _, category, seconds = critical_path(graph, decoding.last_span, decoding.begin_s, through_devices=True)
            driving_s += np.bincount(category, weights=seconds, minlength=NUM_CATEGORIES)
        else:
            driving_s += held.sum(axis=0)
        # Plain decoding waits for its hosts, too: here a task is as long as it takes to issue.
        for issued, task in ISSUED.items():
            held[:, task] += held[:, issued]
        levels_s += _levels_s(held, slowest_s)
    driving_s[HOST] += driving_s[list(ISSUED)].sum()
    return CyclePath(levels_s, driving_s)


def waterfall(
    path: CyclePath, num_stages: int, num_steps: int, num_cycles: int, plain_s: float, stages_s: float
) -> tuple[WaterfallStep, ...]:
    """Return the steps from `num_stages` to the speedup over plain decoding.

    num_steps: tokens decoded, K - 1, over all sequences, in `num_cycles` cycles. plain_s: seconds that plain
    decoding takes for them; stages_s: of that, what the stages compute. Stages that take no time leave nothing
    to take apart: no steps then.
    """
    if stages_s == 0.0:
        return ()
    mean_stage_s = stages_s / num_stages * num_cycles / num_steps
    cycles_s = [plain_s / num_stages * num_cycles / num_steps, mean_stage_s, *path.levels_s]
    return _steps(STEPS, float(num_stages), num_steps / num_cycles, cycles_s)


def waterfall_of_rounds(path: CyclePath, num_steps: int, num_cycles: int, plain_s: float) -> tuple[WaterfallStep, ...]:
    """Return the steps from plain decoding, 1, to the speedup over it; the arguments are those of `waterfall`.

    First as if a cycle, which brings several tokens, took as long as a plain token; then with what the target computes
    in it, and what comes on top.
    """
    if path.levels_s[0] == 0.0:
        return ()
    return _steps(STEPS_OF_ROUNDS, 1.0, num_steps / num_cycles, [plain_s * num_cycles / num_steps, *path.levels_s])


def _steps(names: Sequence[str], left: float, first: float, cycles_s: Sequence[float]) -> tuple[WaterfallStep, ...]:
    """Multiply `left` by the first factor, and then by each that the cycles before and after a step have to another."""
    factors = [first, *(before / after for before, after in pairwise(cycles_s))]
    steps = []
    for name, factor in zip(names, factors, strict=True):
        left *= float(factor)
        steps.append(WaterfallStep(name, left, float(factor)))
    return tuple(steps)


def _slowest_stage_s(graph: Causality, decodings: list[Decoding]) -> list["Floats"]:
    """Seconds of the slowest stage that computes in each cycle, by sequence."""
    forward = np.flatnonzero(graph.of_op("forward"))
    width = max((len(decoding.cycle_s) for decoding in decodings), default=0)
    slowest = np.zeros((len(decodings), width))
    inside = forward[graph.cycle[forward] < width]
    np.maximum.at(slowest, (graph.sequence[inside], graph.cycle[inside]), graph.end_s[inside] - graph.start_s[inside])
    return [slowest[i, : len(decoding.cycle_s)] for i, decoding in enumerate(decodings)]


def _levels_s(held: "Floats", slowest_s: "Floats") -> "Floats":
    """Return the seconds of all cycles after `imbalance` and each further step, shape (1 + len(_ADDED),).

    held: seconds by cycle and category, shape (C, NUM_CATEGORIES). Where the path of a cycle goes through
    no stage (a draft longer than the stages, say), the slowest stage is what the cycle would have taken,
    until the steps together take longer.
    """
    total = held[:, [FORWARD, *_ADDED]].sum(axis=1)
    floor = np.where(held[:, FORWARD] > 0.0, held[:, FORWARD], np.minimum(slowest_s, total))
    added = np.cumsum(held[:, [FORWARD, *_ADDED]], axis=1)
    return np.asarray(np.maximum(added, floor[:, None]).sum(axis=0))
