"""Verdicts of a subject, and what they say: one fit for each number of stages. Loads torch where it runs."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from executor.acceptance.online import Progress, Recorded, decode, recorded
from executor.acceptance.subject import Subject
from spdsim.acceptance_fit import AcceptanceFit, Verdicts, fit_acceptance

Watch = Callable[[str], AbstractContextManager[tuple[Callable[[], None], Progress]]]
"""What shows progress: given what is done, a context with what to call once all is loaded, and with what is done."""


@dataclass(frozen=True, slots=True)
class Measured:
    """Verdicts and fits, by index of the subject's runs. num_rows: positions that were looked at, offline.

    num_own: of these, where the text has what the target says in one pass over it; None online.
    """

    recorded: tuple[Recorded, ...]
    fits: tuple[AcceptanceFit, ...]
    num_rows: int = 0
    num_own: int | None = None


def measure(subject: Subject, watch: Watch) -> Measured:
    """Return the verdicts on a subject's drafts and the fits.

    Raises InputError where a model cannot be loaded, or no draft was verified.
    """
    return _online(subject, watch) if subject.text is None else _offline(subject, watch)


def _online(subject: Subject, watch: Watch) -> Measured:
    found = []
    for run in subject.runs:
        with watch(f"{run.plan.layout.num_stages} stages, tokens") as (ready, progress):
            found.append(recorded(subject.plan(run), subject.jobs(run), ready, progress))
    return Measured(tuple(found), _fits(subject, found))


def _offline(subject: Subject, watch: Watch) -> Measured:
    from executor.acceptance.offline import Offline, texts_of
    from executor.draft.checkpoint import read

    prompts = [prompt.tokens for prompt in subject.prompts]
    continuations = None
    if subject.text == "own":
        with watch("plain decoding, tokens") as (ready, progress):
            done = decode(subject.plan(subject.plain), subject.jobs(subject.plain), ready, progress)
        continuations = [each.tokens for each in done]
    texts = texts_of(prompts, continuations)
    with watch("texts") as (ready, progress):
        saved = None if subject.checkpoint is None else read(subject.checkpoint)
        offline = Offline([run.plan for run in subject.runs], saved, max(len(text.tokens) for text in texts))
        ready()
        looked_up = offline.look_up(texts, is_own=subject.text == "own", progress=progress)
    tokens = tuple(text.tokens[text.first :] for text in texts)
    found = [Recorded(accepted, tokens) for accepted in looked_up.accepted]
    return Measured(tuple(found), _fits(subject, found), looked_up.num_rows, looked_up.num_own)


def _fits(subject: Subject, found: list[Recorded]) -> tuple[AcceptanceFit, ...]:
    layouts = [run.plan.layout for run in subject.runs]
    seed = subject.plain.plan.seed
    return tuple(
        fit_acceptance(Verdicts(each.accepted, layout.num_stages, layout.verification_lag), seed)
        for layout, each in zip(layouts, found, strict=True)
    )
