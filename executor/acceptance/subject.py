"""What is measured: a run for each number of stages, and the prompts that all of them have.

Planned by what `generate` plans with, so that the same options make the same run. Reads no weights.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from executor.acceptance.prompts import Prompt, encoded, read_prompts
from executor.draft.forced import parse_draft
from executor.plan import Job, Plan
from executor.planning import Place, Request, Run, plan_run
from executor.planning.target import max_positions
from spdsim.errors import InputError

Text = Literal["own", "given"]
"""The target's own continuation of each prompt, or the text of the prompts as it stands."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What was asked for. request: all that `generate` knows too; its `stages` and prompts are not read.

    stages: every number of stages; empty: the checkpoint's, or the default. most_sequences: of the file's prompts.
    text: None: verdicts are those of real runs.
    """

    request: Request
    stages: tuple[int, ...]
    prompt_file: Path
    most_sequences: int | None = None
    text: Text | None = None


@dataclass(frozen=True, slots=True)
class Subject:
    """What is measured. runs: one for each number of stages. checkpoint: of the draft module; None: random weights.

    plain: the target alone. new_tokens: of each sequence, at most; None: as many as the text has.
    """

    runs: tuple[Run, ...]
    plain: Run
    prompts: tuple[Prompt, ...]
    checkpoint: Path | None
    trained_stages: int | None
    new_tokens: int | None
    text: Text | None

    def jobs(self, run: Run) -> tuple[Job, ...]:
        """Return the jobs of a run, a sequence for each prompt."""
        like = run.jobs[-1]
        return tuple(replace(like, sequence=number, prompt=prompt.tokens) for number, prompt in enumerate(self.prompts))

    def plan(self, run: Run) -> Plan:
        """Return the plan of a run, with room for the longest prompt."""
        longest = max(len(prompt.tokens) for prompt in self.prompts)
        return replace(run.plan, max_context=longest + run.jobs[-1].max_new_tokens + run.plan.layout.capacity)


def subject_of(asked: Asked, place: Place) -> Subject:
    """Return what is to be measured.

    Raises InputError (or ScenarioError), one line, if it cannot be, or has no drafts of a module's own.
    """
    checkpoint = _checkpoint(asked)
    if any(stages < 2 for stages in asked.stages):
        raise InputError(f"--stages is {min(asked.stages)}: must be at least 2: with one stage nothing is drafted")
    if asked.most_sequences is not None and asked.most_sequences < 1:
        raise InputError(f"--sequences is {asked.most_sequences}: must be at least 1")
    written = read_prompts(asked.prompt_file, asked.most_sequences)
    request = replace(asked.request, prompt_ids="0", sequences=1, has_baseline=False, backend="local")
    if checkpoint is None:
        trained_stages, requests = None, _of_random(request, asked, place)
    else:
        trained_stages, requests = _of_saved(request, asked, checkpoint)
    runs = tuple(plan_run(each, place) for each in requests)
    alone = replace(
        request, stages=1, layers=None, draft=None, draft_layers=None, anchors=None, draft_vocab=None,
        verification_lag=None, lm_head=None, has_baseline=True,
    )  # fmt: skip
    plain = plan_run(alone, place)
    new_tokens = asked.request.max_new_tokens if asked.text == "given" else plain.jobs[0].max_new_tokens
    home = asked.request.model or "the model"
    vocab_size = plain.plan.scenario.model.vocab_size
    prompts = encoded(written, plain.tokenizer, home, vocab_size, is_whole=asked.text == "given")
    fitting = tuple(_fitting(prompts, plain, new_tokens, asked.text))
    return Subject(runs, plain, fitting, checkpoint, trained_stages, new_tokens, asked.text)


def _of_random(request: Request, asked: Asked, place: Place) -> list[Request]:
    """A request for each number of stages, of a module with random weights."""
    stages = asked.stages or (None,)
    if asked.text is not None and request.anchors is None:
        # One module serves all cuts, so that it reads the same anchors in each.
        draft = plan_run(replace(request, stages=max(asked.stages, default=None)), place).plan.draft
        request = replace(request, anchors=_list(draft.anchors), draft_layers=draft.num_layers)
    return [replace(request, stages=each) for each in stages]


def _of_saved(request: Request, asked: Asked, file: Path) -> tuple[int, list[Request]]:
    """The stages that a checkpoint was trained for, and a request for each number of stages."""
    from executor.draft.checkpoint import read

    config = read(file).config
    trained, layers = config.num_stages, config.stage_layers
    stages = asked.stages or (trained,)
    if asked.text is None:
        # Whoever asks for another number of stages wants to know how the module does there.
        request = replace(request, any_stages=True)
    else:
        request = _like_saved(request, config.num_layers, config.anchors, config.draft_token_ids)
    # Cut as it was trained where it was trained for as many.
    own = ",".join(map(str, layers)) if layers is not None and request.layers is None else request.layers
    return trained, [
        replace(request, stages=each, layers=own if each == trained else request.layers) for each in stages
    ]


def _checkpoint(asked: Asked) -> Path | None:
    """The draft module's checkpoint. Raises InputError where nothing says of itself which drafts are right."""
    if asked.request.draft is None:
        return None
    draft = parse_draft(asked.request.draft)
    if draft.kind == "module":
        return draft.checkpoint
    rule = "decrees which drafts are right" if draft.kind == "forced" else "drafts nothing"
    raise InputError(f"--draft is {asked.request.draft}: {rule}: must be module or CHECKPOINT to be measured")


def _like_saved(
    request: Request, num_layers: int, anchors: Sequence[int], draft_token_ids: Sequence[int] | None
) -> Request:
    """The request of a module with random weights of the checkpoint's sizes, which fits every number of stages."""
    for option, value in (
        ("--draft-layers", request.draft_layers), ("--anchors", request.anchors), ("--draft-vocab", request.draft_vocab)
    ):  # fmt: skip
        if value is not None:
            raise InputError(f"{option} is {value}: is given beside a checkpoint, which says so itself: leave it out")
    return replace(
        request, draft="module", draft_layers=num_layers,
        anchors=_list(anchors),
        draft_vocab=None if draft_token_ids is None else len(draft_token_ids),
    )  # fmt: skip


def _list(anchors: Sequence[int]) -> str:
    """Anchors as `--anchors` takes them: a single number there is how many."""
    return ",".join(map(str, anchors)) if len(anchors) > 1 else "1"


def _fitting(prompts: Iterator[Prompt], plain: Run, new_tokens: int | None, text: Text | None) -> Iterator[Prompt]:
    """Yield the prompts. Raises InputError for one that does not fit the model's context, or has nothing to walk."""
    most = max_positions(plain.plan.model.config)
    for prompt in prompts:
        length = len(prompt.tokens)
        if text == "given":
            if length < 3:
                rule = "must be at least 3, so that a draft can be verified"
                raise InputError(f"{prompt.where}: the text has {length} tokens: {rule}")
            if new_tokens is not None:
                prompt = Prompt(prompt.where, prompt.tokens[: new_tokens + 1])
            total, what = len(prompt.tokens), ""
        else:
            assert new_tokens is not None
            total, what = length + new_tokens, f" and --max-new-tokens is {new_tokens}"
        if most is not None and total > most:
            rule = f"must be at most the model's {most} positions together"
            raise InputError(f"{prompt.where}: the prompt has {length} tokens{what}: {rule}")
        yield prompt
