"""Held-out text decoded: plainly, and with pipelines whose spans are kept.

All workers take turns in this process, so that a pipeline needs one device, and is slower than plain decoding.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from executor.demo.corpus import TextFile
from executor.demo.sizes import DecodingSize
from executor.events import Event, JobDone, Outcome, Ready
from executor.launch.processes import launch
from executor.plan import DeviceKind, Job, JobResult
from executor.planning import Place, Request, Run, plan_run
from executor.traces import header_of, merged, part_of
from spdsim.errors import InputError
from spdsim.trace import Trace

Tell = Callable[[int, int], None]
"""Hears of sequences done, and all there are."""


@dataclass(frozen=True, slots=True)
class Prompts:
    """Prompts of held-out text as token ids, and what follows each in its file.

    measured: that are decoded and predicted. fitted: that predictions are fitted to; none is among the others.
    """

    measured: tuple[tuple[int, ...], ...]
    fitted: tuple[tuple[int, ...], ...]
    from_text: tuple[bytes, ...]

    @property
    def all(self) -> tuple[tuple[int, ...], ...]:
        """The measured ones, then the others."""
        return self.measured + self.fitted


@dataclass(frozen=True, slots=True)
class Decoded:
    """Sequences of a pipeline. run: with the plan. measured: results and trace of the measured prompts.

    timed: the trace of some of the others.
    """

    run: Run
    results: tuple[JobResult, ...]
    measured: Trace
    timed: Trace


def prompts_of(held_out: Sequence[TextFile], size: DecodingSize) -> Prompts:
    """Return prompts that end with a line, at even distances over all held-out text.

    Raises InputError where there are too few lines.
    """
    places = [
        (text, at)
        for text in (file.text.encode() for file in held_out)
        for at in range(size.prompt_tokens, len(text) - size.new_tokens)
        if text[at - 1] == ord("\n") and text[at] != ord("\n")
    ]
    count = size.measured + size.fitted
    if len(places) < count:
        raise InputError(f"the held-out text has {len(places)} lines to go on from: must have {count}")
    chosen = [places[index * len(places) // count] for index in range(count)]
    prompts = [tuple(text[at - size.prompt_tokens : at]) for text, at in chosen]
    # The measured ones lie between the others, so that both are of the same kinds of text.
    is_measured = [index * size.measured // count != (index + 1) * size.measured // count for index in range(count)]
    pairs = list(zip(prompts, is_measured, strict=True))
    following = [text[at : at + size.new_tokens] for (text, at), mark in zip(chosen, is_measured, strict=True) if mark]
    return Prompts(
        tuple(prompt for prompt, mark in pairs if mark),
        tuple(prompt for prompt, mark in pairs if not mark),
        tuple(following),
    )


def decode_plainly(
    model: Path, prompts: Sequence[tuple[int, ...]], size: DecodingSize, seed: int, device: DeviceKind, place: Place,
    tell: Tell,
) -> tuple[JobResult, ...]:  # fmt: skip
    """Return what the target alone says after each prompt, in one stage."""
    request = _request(model, prompts, size, seed, device)
    run = plan_run(replace(request, stages=1, is_recorded=False), place)
    return _launched(
        run, [replace(run.jobs[0], sequence=i, prompt=prompt) for i, prompt in enumerate(prompts)], tell
    ).results


def decode_with_drafts(
    model: Path,
    draft: Path,
    prompts: Prompts,
    size: DecodingSize,
    seed: int,
    device: DeviceKind,
    place: Place,
    tell: Tell,
) -> Decoded:
    """Return what came of the measured prompts, and of some that are not measured, in a pipeline with its drafts."""
    request = _request(model, prompts.all, size, seed, device)
    run = plan_run(replace(request, draft=str(draft), has_baseline=False, is_recorded=True), place)
    timed = prompts.fitted[: size.timed]
    # By turns, so that a machine that grows busy meanwhile moves both alike.
    measured_at = [(index + 0.5) / len(prompts.measured) for index in range(len(prompts.measured))]
    timed_at = [(index + 0.5) / len(timed) for index in range(len(timed))]
    order = sorted(range(len(prompts.measured) + len(timed)), key=[*measured_at, *timed_at].__getitem__)
    given = [*prompts.measured, *timed]
    jobs = [replace(run.jobs[0], sequence=number, prompt=given[number]) for number in order]
    outcome = _launched(run, jobs, tell)
    place_of = {number: at for at, number in enumerate(order)}
    devices = [run.plan.device] * run.plan.layout.num_workers
    header = header_of(run.plan, devices, is_one_device=True, plain_token_s=None)
    trace = merged(header, outcome.reports)
    measured = [place_of[number] for number in range(len(prompts.measured))]
    others = [place_of[number] for number in range(len(prompts.measured), len(given))]
    return Decoded(run, tuple(outcome.results[at] for at in measured), part_of(trace, measured), part_of(trace, others))


def _request(
    model: Path, prompts: Sequence[tuple[int, ...]], size: DecodingSize, seed: int, device: DeviceKind
) -> Request:
    return Request(
        model=str(model), prompt_ids=",".join(map(str, prompts[0])), max_new_tokens=size.new_tokens, sequences=1,
        ignore_end_tokens=True, seed=seed, device=device, backend="local",
        # Rows of a small model are too little work to share.
        threads=1 if device == "cpu" else None,
    )  # fmt: skip


def _launched(run: Run, jobs: Sequence[Job], tell: Tell) -> Outcome:
    done = 0

    def sink(event: Event) -> None:
        nonlocal done
        match event:
            case Ready():
                tell(0, len(jobs))
            case JobDone():
                done += 1
                tell(done, len(jobs))

    return launch(run.plan, jobs, sink)
