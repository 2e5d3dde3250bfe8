"""The probes `layer` and `prefill`: one decoder layer of each kind, for one token and for prompts.

Several layers are run and their time is divided, so that every layer's weights come from where they come from in a
run: from memory, where a stage does not fit a cache.
"""

from collections.abc import Iterator
from functools import partial
from math import ceil

from executor.model.architecture import LayerShape
from executor.probing.findings import Finding, Measured, Params, Skipped
from executor.probing.share import Share
from executor.probing.subject import ProbedStage, Subject, layer_bytes, layers_that_fit
from executor.probing.timers import samples_of, timer_of
from spdsim.scenario.model import Launch

CONTEXTS = (16, 256, 1024, 4096)
PROMPTS = (16, 128, 512)
_BEYOND_CACHES_BYTES = 256 << 20
"""Weights of as many bytes come from memory: a prompt takes long, so that fewer layers must do than a stage has."""


def probe_layer(subject: Subject, share: Share) -> Iterator[Finding]:
    """Yield the seconds of a layer for one token, by launch, kind and rows that the token sees, itself included."""
    launches = _launches(subject)
    yield from _not_launched(launches)
    contexts = subject.contexts(CONTEXTS)
    cases: list[Params] = [
        {"context_tokens": tokens, "launch": launch, "kind": kind}
        for launch in launches for kind in subject.kinds for tokens in contexts
    ]  # fmt: skip
    made: tuple[tuple[Launch, str], ProbedStage, int] | None = None
    for params, seconds in share.cases(cases):
        launch, kind, tokens = launches[str(params["launch"])], str(params["kind"]), int(params["context_tokens"])
        if made is None or made[0] != (launch, kind):
            made = None  # the only name of a stage, which is let go before another is made
            shapes = _fitting(subject, kind, subject.num_layers, max(contexts), share)
            if not shapes:
                continue
            made = (launch, kind), ProbedStage(subject, shapes, max(contexts), launch), len(shapes)
        made[1].pretend(tokens - 1)
        found = samples_of(
            timer_of(subject.device), partial(made[1].forward, subject.hidden(1), tokens - 1), seconds
        )  # fmt: skip
        yield _of_each("layer", params, made[2], found)


def probe_prefill(subject: Subject, share: Share) -> Iterator[Finding]:
    """Yield the seconds of a layer for a prompt, by kind and length; operations are issued one by one."""
    lengths = subject.contexts(PROMPTS)
    cases: list[Params] = [{"prompt_tokens": tokens, "kind": kind} for kind in subject.kinds for tokens in lengths]
    made: tuple[str, ProbedStage, int] | None = None
    for params, seconds in share.cases(cases):
        kind, tokens = str(params["kind"]), int(params["prompt_tokens"])
        if made is None or made[0] != kind:
            made = None
            enough = ceil(_BEYOND_CACHES_BYTES / layer_bytes(subject.kinds[kind], subject.dtype, max(lengths)))
            shapes = _fitting(subject, kind, min(enough, subject.num_layers), max(lengths), share)
            if not shapes:
                continue
            made = kind, ProbedStage(subject, shapes, max(lengths), "eager"), len(shapes)
        found = samples_of(timer_of(subject.device), partial(made[1].prefill, subject.hidden(tokens)), seconds)
        yield _of_each("prefill", params, made[2], found)


def _of_each(what: str, params: Params, num_layers: int, seconds: tuple[float, ...]) -> Measured:
    """Of samples of several layers, what each of them takes."""
    return Measured(what, {**params, "layers": num_layers}, tuple(each_s / num_layers for each_s in seconds))


def _launches(subject: Subject) -> dict[str, Launch]:
    """How work can be issued here; compiling takes long, so that a CPU does it only where a run would."""
    # Compiling may use up all the time, so that it comes last.
    launches: list[Launch] = ["eager"]
    if subject.device.type == "cuda":
        launches.append("cuda_graph")
    if subject.device.type == "cuda" or subject.plan.launch == "compiled":
        launches.append("compiled")
    return {launch: launch for launch in launches}


def _not_launched(launches: dict[str, Launch]) -> Iterator[Skipped]:
    if "compiled" not in launches:
        yield Skipped("layer", "launch compiled: needs --launch compiled, or a CUDA device")
    if "cuda_graph" not in launches:
        yield Skipped("layer", "launch cuda_graph: needs a CUDA device")


def _fitting(subject: Subject, kind: str, num_layers: int, max_rows: int, share: Share) -> tuple[LayerShape, ...]:
    """As many layers of a kind as memory has room for; says so if it has none."""
    shapes = layers_that_fit(subject, (subject.kinds[kind],) * num_layers, max_rows)
    if not shapes:
        share.skip(f"kind {kind}: not one layer fits into half of the memory that is free")
    return shapes
