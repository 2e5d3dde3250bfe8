"""The probe `draft`: the draft module by its layers and the rows of a draft, launched as a run would launch it."""

from collections.abc import Callable, Iterator
from math import prod

import torch
from torch import Tensor

from executor.draft.checkpoint import tensor_sizes
from executor.draft.module import DraftModule
from executor.draft.runner import Runner
from executor.draft.shape import DraftShape, draft_layer
from executor.model.head import final_norm
from executor.model.rows import RowTable
from executor.model.weights import load
from executor.probing.findings import Finding, Measured, Params, in_words
from executor.probing.share import Share
from executor.probing.subject import SameWeights, Subject, room_on
from executor.probing.timers import samples_of, timer_of

_CONTEXT = 256


def probe_draft(subject: Subject, share: Share) -> Iterator[Finding]:
    """Yield the seconds from features to the drafted token, by layers of the module and rows of the draft."""
    plan = subject.plan
    if plan.layout.num_stages == 1:
        share.skip("one stage drafts nothing: needs --stages 2 or more")
        return
    (context,) = subject.contexts((_CONTEXT,))
    most_rows = min(plan.layout.num_stages + 1, context)
    cases: list[Params] = [
        {"layers": layers, "rows": rows, "context_tokens": context, "launch": plan.launch}
        for layers in _ends_first(1, plan.draft.num_layers) for rows in _ends_first(2, most_rows)
    ]  # fmt: skip
    made: tuple[int, Runner] | None = None
    for params, seconds in share.cases(cases):
        layers = int(params["layers"])
        if made is None or made[0] != layers:
            made = None  # the only name of a module, which is let go before another is made
            shape = _shape(subject, layers)
            if _num_bytes(shape, subject.dtype) > room_on(subject.device):
                share.skip(f"{in_words(params)}: the module does not fit into half of the memory that is free")
                continue
            made = layers, _runner(subject, shape, context)
        found = samples_of(
            timer_of(subject.device), _drafting(made[1], context - 1, int(params["rows"])), seconds
        )  # fmt: skip
        yield Measured("draft", params, found)


def _ends_first(least: int, most: int) -> list[int]:
    """The numbers from `least` to `most`: what a full pipeline runs first, then the other end, for time may run out."""
    return [most, *range(least, most)]


def _drafting(runner: Runner, newest: int, rows: int) -> Callable[[], Tensor]:
    return lambda: runner.draft(newest, rows).argmax(-1, keepdim=True)


def _shape(subject: Subject, num_layers: int) -> DraftShape:
    size, layer = subject.plan.draft.vocab_size, draft_layer(subject.architecture.layers[0])
    ids = None if size is None else tuple(range(size))
    return DraftShape(subject.cut, layer, num_layers, subject.architecture.vocab_size, ids)


def _num_bytes(shape: DraftShape, dtype: torch.dtype) -> int:
    """Bytes of a module's weights."""
    return sum(prod(size) for size in tensor_sizes(shape).values()) * dtype.itemsize


def _runner(subject: Subject, shape: DraftShape, context: int) -> Runner:
    """A module as a worker has it, with random weights and the rows of a sequence of `context` tokens."""
    plan, target, weights = subject.plan, subject.architecture, SameWeights(0)
    norm = final_norm(target, weights, subject.device, subject.dtype)
    module = DraftModule(shape, norm, subject.dtype, subject.device)
    load(module, weights, "draft.")
    if plan.launch == "eager":
        # What is compiled or captured chooses its products itself.
        module.pack()
    table = RowTable(target.rotary, context, subject.dtype, subject.device)
    runner = Runner(module, table, plan.layout.verification_lag, plan.launch)
    num_anchors = len(shape.cut.anchors)
    features_TF = subject.hidden(context * num_anchors).view(context, -1)
    with torch.inference_mode():
        runner.prefill(features_TF, 0)
    for position in range(context):
        runner.ring.put(position, 0, features_TF[position])
    return runner
