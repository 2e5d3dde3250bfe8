"""What is decoded: a job for each sequence and method, with its prompt, its length and what ends it."""

from collections.abc import Iterator

from executor.draft.forced import Draft
from executor.plan import Job
from executor.planning.prompts import Prompts, check_tokens
from executor.planning.request import Request
from executor.planning.target import Target, end_tokens, max_positions
from spdsim.acceptance import max_tokens
from spdsim.errors import InputError
from spdsim.scenario import Scenario, acceptance_of, output_tokens
from spdsim.schedules.spd import Layout


def jobs_of(
    request: Request, scenario: Scenario, layout: Layout, target: Target, draft: Draft, prompts: Prompts
) -> Iterator[Job]:
    """Yield the jobs of a run: of each sequence plain decoding first, whose tokens forced drafts are right about.

    Raises InputError for tokens outside the vocabulary, and for more tokens than the model has positions.
    """
    is_emulated, vocab_size = request.emulate is not None, scenario.model.vocab_size
    ends = _ends(request, target, vocab_size)
    most = None if is_emulated else max_positions(target.config)
    has_drafts = layout.num_stages > 1 and draft.kind != "none"
    for sequence in range(scenario.workload.sequences):
        prompt = prompts.of(sequence, scenario.seed, vocab_size)
        check_tokens(prompts.option, prompt, vocab_size)
        wanted, length = lengths(scenario, draft, sequence)
        length = wanted if length is None else length
        if most is not None and len(prompt) + length > most:
            rule = f"with a prompt of {len(prompt)} that is {len(prompt) + length} tokens"
            raise InputError(f"--max-new-tokens is {length}: {rule}: must be at most the model's {most} positions")
        if request.has_baseline or not has_drafts:
            yield Job("plain", sequence, prompt, length, ends, request.is_recorded and not has_drafts)
        if has_drafts:
            yield Job("spd", sequence, prompt, length, ends, request.is_recorded)


def lengths(scenario: Scenario, draft: Draft, sequence: int) -> tuple[int, int | None]:
    """Return how many tokens a sequence shall have, and how many it can where recorded verdicts end before."""
    wanted = output_tokens(scenario, sequence)
    recorded = max_tokens(acceptance_of(scenario), sequence) if draft.kind == "forced" else None
    return wanted, recorded if recorded is not None and recorded < wanted else None


def _ends(request: Request, target: Target, vocab_size: int) -> frozenset[int]:
    """The tokens that end a sequence; a scenario says how many there are, so nothing else ends one."""
    if request.end_tokens and request.ignore_end_tokens:
        raise InputError("--end-token is given beside --ignore-end-tokens: must be one of the two")
    if request.end_tokens and request.emulate is not None:
        raise InputError("--end-token is given beside --emulate: the tokens of an emulated run are invented")
    check_tokens("--end-token", request.end_tokens, vocab_size)
    is_fixed = request.ignore_end_tokens or request.scenario is not None or request.emulate is not None
    return frozenset(request.end_tokens) if request.end_tokens or is_fixed else end_tokens(target)
