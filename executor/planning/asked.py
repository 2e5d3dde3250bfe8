"""What a request asks for: model, tokenizer, prompts and drafts, and what all options say of the scenario's keys."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from executor.draft.forced import Draft, parse_draft
from executor.planning.options import acceptance_setting, settings_of
from executor.planning.prompts import IDS_OPTION, Prompts, prompts_of
from executor.planning.request import Request
from executor.planning.saved import saved_settings
from executor.planning.scenario import DRAFT_LAYERS, NEW_TOKENS, PROMPT_TOKENS, STAGES, Setting
from executor.planning.target import Target, built_in, named_by_option, named_by_scenario
from executor.text.tokenizer import ByteTokenizer, Tokenizer, load_tokenizer
from spdsim.errors import InputError
from spdsim.scenario.source import KeyPath, Source


def draft_of(request: Request) -> Draft:
    """Return who drafts: without an option the draft module, or what the scenario's acceptance decrees."""
    draft = None if request.draft is None else parse_draft(request.draft)
    if request.any_stages and (draft is None or draft.checkpoint is None):
        raise InputError("--any-stages is given without a checkpoint: needs --draft CHECKPOINT: leave it out")
    if draft is not None:
        return draft
    return Draft("module" if request.scenario is None else "forced")


def target_of(request: Request, source: Source) -> Target:
    """Return the model: the option's, else the scenario's, else a small one. Raises InputError if there is none."""
    if request.model is not None:
        is_emulated = request.emulate is not None
        return named_by_option(request.model, random_weights=request.random_weights, is_emulated=is_emulated)
    if request.scenario is None:
        return built_in()
    is_set = any(path[0] == "model" for path in source.settings)
    found = named_by_scenario(source.data.get("model"), Path() if is_set else request.scenario.parent)
    return Target(found.written, found.config, found.home) if request.random_weights else found


def tokenizer_of(request: Request, target: Target) -> Tokenizer | None:
    """Return what turns text into tokens; None where tokens are numbers, or invented."""
    if request.emulate is not None:
        return None
    if target.is_built_in:
        return ByteTokenizer()
    return None if target.home is None else load_tokenizer(target.home)


def prompts_asked(request: Request, source: Source, target: Target, tokenizer: Tokenizer | None) -> Prompts:
    """Return the prompts; without an option as many random tokens as the scenario says. Raises as `prompts_of` does."""
    is_emulated = request.emulate is not None
    texts = {"--prompt": request.prompt, "--prompt-file": request.prompt_file, IDS_OPTION: request.prompt_ids}
    given = [option for option, written in texts.items() if written is not None]
    if is_emulated and given:
        rule = "the tokens of an emulated run are invented: use --prompt-tokens"
        raise InputError(f"{given[0]} is given beside --emulate: {rule}")
    num_random = PROMPT_TOKENS if is_emulated else None
    if request.scenario is not None:
        num_random = _workload_tokens(source)
    return prompts_of(request, tokenizer, num_random, str(target.home or "the model"))


def all_settings(request: Request, source: Source, target: Target, draft: Draft, prompts: Prompts) -> Iterator[Setting]:
    """Yield what is said of the scenario's keys: by defaults, by options, and by a checkpoint that does not contradict.

    Raises InputError where an option contradicts it.
    """
    written = list(settings_of(request))
    is_cut = request.scenario is not None or any(_is_said(source, ("partition", key)) for key in ("stages", "layers"))
    if request.scenario is None:
        yield from _defaults(source, target, written)
    if request.model is not None or request.scenario is None:
        yield Setting("--model", ("model",), target.written)
    yield from written
    if draft.checkpoint is not None:
        yield from saved_settings(draft.checkpoint, written, any_stages=request.any_stages, is_cut=is_cut)
    if _written_tokens(source) != prompts.length:
        yield Setting(prompts.option, ("workload", "prompt_tokens"), prompts.length)
    if draft.acceptance is not None:
        yield acceptance_setting(draft.acceptance, str(request.draft).partition(":")[2])
    if request.temperature is not None:
        yield Setting("--temperature", ("runtime", "sampling"), "sampled" if request.temperature else "greedy")


def _defaults(source: Source, target: Target, written: list[Setting]) -> Iterator[Setting]:
    """What holds where no option, no scenario and no setting of its keys says otherwise."""
    paths: dict[KeyPath, Any] = {setting.path: setting.value for setting in written}
    stages = paths.get(("partition", "stages"), _set_stages(source))
    yield from (each for each in _default_settings(target, stages) if not _is_said(source, each.path))


def _default_settings(target: Target, stages: int) -> Iterator[Setting]:
    num_layers = target.written["num_layers"] if isinstance(target.written, dict) else None
    each = DRAFT_LAYERS if num_layers is None else max(1, num_layers // max(1, stages))
    yield Setting("--stages", ("partition", "stages"), stages)
    yield Setting("--draft-layers", ("draft", "layers"), min(DRAFT_LAYERS, each))
    # One type of features for every depth, as far as there are layers.
    yield Setting("--anchors", ("draft", "anchors"), max(1, min(stages + 1, num_layers or stages + 1)))
    yield Setting("--max-new-tokens", ("workload", "new_tokens"), NEW_TOKENS)


def _is_said(source: Source, path: KeyPath) -> bool:
    """Whether the data says a key."""
    node: Any = source.data
    for key in path:
        if not isinstance(node, dict) or key not in node:
            return False
        node = node[key]
    return True


def _set_stages(source: Source) -> int:
    """The stages that a setting says, else the default; what is no number of them is refused elsewhere."""
    partition = source.data.get("partition")
    found = partition.get("stages", STAGES) if isinstance(partition, dict) else STAGES
    return found if type(found) is int else STAGES


def _workload_tokens(source: Source) -> int:
    """The length of a scenario's prompts."""
    from spdsim.scenario.workload import Workload

    default: int = Workload.model_fields["prompt_tokens"].default
    written = _written_tokens(source)
    return default if written is None else written


def _written_tokens(source: Source) -> int | None:
    """What the scenario's data says of the prompts' length; None if nothing, or nothing that can be."""
    workload = source.data.get("workload")
    found = workload.get("prompt_tokens") if isinstance(workload, dict) else None
    return found if type(found) is int and found > 0 else None
