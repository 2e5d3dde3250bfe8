"""Speculation changes no token: every cut, placement, lag and draft gives what plain decoding and transformers give."""

import json
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch

from executor.model.small import write_model
from executor.plan import Job, JobResult, Plan
from executor.rank import run_local
from executor.verify.sampling import Sampling
from spdsim.acceptance import Acceptance, Bernoulli, Replay
from tests.machines import PLACEMENTS
from tests.small_targets import CONFIG, one_thread, small_plan

PROMPTS: tuple[tuple[int, ...], ...] = ((7,), (72, 101, 108, 108, 111))
LONG = tuple(position * 37 % 256 for position in range(1100))
DRAFTS: dict[str, Acceptance | None] = {
    "right": Bernoulli(1.0), "wrong": Bernoulli(0.0), "mixed": Bernoulli(0.7), "the module's": None,
}  # fmt: skip
LAYOUTS: list[tuple[int, dict[str, Any]]] = [(1, {})] + [
    # A Latin square: every two of cut, placement and lag meet.
    (n, {"lm_head": head, "verification_lag": (row + column) % 3})
    for (row, n), (column, head) in product(enumerate((2, 3, 4, 8)), enumerate(PLACEMENTS))
]
RUNTIMES = [{"control": control, "messages": messages} for control, messages in product(
    ("early", "late", "lockstep"), ("per_edge", "per_tensor")
)]  # fmt: skip

CASES = [
    (stages, {**partition, "runtime": RUNTIMES[(number + (drafts == "mixed")) % len(RUNTIMES)]}, drafts)
    for number, (stages, partition) in enumerate(LAYOUTS)
    for drafts in ("mixed", ("right", "wrong", "the module's")[number % 3])
]


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Greedy decoding of the same target by transformers: (prompt, tokens, end tokens) to the tokens that follow."""
    transformers = pytest.importorskip("transformers")
    one_thread()
    directory: Path = tmp_path_factory.mktemp("target")
    write_model(directory, CONFIG, seed=0)
    model = transformers.LlamaForCausalLM.from_pretrained(directory)
    known: dict[Any, tuple[int, ...]] = {}

    def generate(prompt: Sequence[int], new_tokens: int, ends: Sequence[int] = ()) -> tuple[int, ...]:
        key = (tuple(prompt), new_tokens, tuple(ends))
        if key not in known:
            ids = torch.tensor([list(prompt)])
            out = model.generate(
                ids, attention_mask=torch.ones_like(ids), max_new_tokens=new_tokens, do_sample=False,
                eos_token_id=list(ends) or None, pad_token_id=0,
            )  # fmt: skip
            known[key] = tuple(out[0, len(prompt) :].tolist())
        return known[key]

    return generate


def decode(plan: Plan, *jobs: Job) -> tuple[JobResult, ...]:
    one_thread()
    return run_local(plan, jobs, lambda _: None).results


def both(prompt: Sequence[int], new_tokens: int, ends: Sequence[int] = (), sequence: int = 0) -> list[Job]:
    """Plain decoding, which forced drafts learn from, and speculation."""
    return [Job(method, sequence, tuple(prompt), new_tokens, frozenset(ends)) for method in ("plain", "spd")]


@pytest.mark.parametrize(("stages", "partition", "drafts"), CASES, ids=str)
def test_greedy_tokens_are_those_of_transformers(
    stages: int, partition: dict[str, Any], drafts: str, reference: Any
) -> None:
    """Prompts of one token and of several, one after another on the same workers, K = 1, 2 and more."""
    plan = small_plan(stages, forced=DRAFTS[drafts], **partition)
    cases = [(PROMPTS[0], 8), (PROMPTS[1], 1), (PROMPTS[1], 2), (PROMPTS[1], 10)]
    jobs = [job for number, (prompt, count) in enumerate(cases) for job in both(prompt, count, sequence=number)]
    results = decode(plan, *jobs)
    for job, result in zip(jobs, results, strict=True):
        assert result.tokens == reference(job.prompt, job.max_new_tokens), job
        if job.method == "spd" and stages > 1 and drafts in ("right", "wrong"):
            assert set(result.accepted) <= {drafts == "right"}


FAMILIES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "qwen2": ("Qwen2Config", "Qwen2ForCausalLM", {}),
    "qwen3": ("Qwen3Config", "Qwen3ForCausalLM", {"head_dim": 8}),
    "mistral": ("MistralConfig", "MistralForCausalLM", {"sliding_window": 8}),
    "qwen3.5": ("Qwen3_5TextConfig", "Qwen3_5ForCausalLM", {
        "head_dim": 8, "linear_num_key_heads": 2, "linear_num_value_heads": 4, "linear_key_head_dim": 8,
        "linear_value_head_dim": 8, "full_attention_interval": 4,
    }),
}  # fmt: skip


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_is_lossless_from_its_checkpoint(family: str, tmp_path: Path) -> None:
    """What transformers has saved is decoded as transformers decode it, recurrent states and windows included."""
    transformers = pytest.importorskip("transformers")
    one_thread()
    torch.manual_seed(0)
    config_name, model_name, sizes = FAMILIES[family]
    config = getattr(transformers, config_name)(
        vocab_size=300, hidden_size=32, intermediate_size=64, num_hidden_layers=8, num_attention_heads=4,
        num_key_value_heads=2, tie_word_embeddings=True, eos_token_id=None, bos_token_id=None, initializer_range=0.3,
        **sizes,
    )  # fmt: skip
    model = getattr(transformers, model_name)(config).eval().float()
    model.save_pretrained(tmp_path)
    ids = torch.tensor([PROMPTS[1]])
    out = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=16, do_sample=False, pad_token_id=0)
    written = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    plan = small_plan(
        4, forced=Bernoulli(0.6), config=written, directory=tmp_path, lm_head="sharded", verification_lag=1
    )
    alone, result = decode(plan, *both(PROMPTS[1], 16))
    assert result.tokens == alone.tokens == tuple(out[0, len(PROMPTS[1]) :].tolist())
    assert not all(result.accepted)


@pytest.mark.parametrize(("stages", "head", "lag"), [(2, "last_stage", 1), (4, "draft_rank", 0), (8, "sharded", 2)])
def test_long_prompts_and_long_texts(stages: int, head: str, lag: int, reference: Any) -> None:
    """A prompt of more than a thousand tokens, and 100 new ones."""
    plan = small_plan(stages, forced=Bernoulli(0.8), lm_head=head, verification_lag=lag, max_context=1400)
    results = decode(plan, *both(LONG, 8), *both(PROMPTS[1], 100, sequence=1))
    assert [result.tokens for result in results[:2]] == [reference(LONG, 8)] * 2
    assert [result.tokens for result in results[2:]] == [reference(PROMPTS[1], 100)] * 2


@pytest.mark.parametrize(
    ("stages", "partition"), [(1, {}), (3, {}), (3, {"lm_head": "sharded", "verification_lag": 1})]
)
@pytest.mark.parametrize("accepted", [True, False])
def test_an_end_token_ends_the_text_wherever_it_comes(
    stages: int, partition: dict[str, Any], accepted: bool, reference: Any
) -> None:
    """As y_1, accepted or corrected, and where there are several end tokens."""
    text = reference(PROMPTS[1], 16)
    for end_at in (0, 1, 5, 15):
        ends = (text[end_at], 300, 301)
        plan = small_plan(stages, forced=Replay(((accepted,) * 40,)), **partition)
        alone, result = decode(plan, *both(PROMPTS[1], 16, ends))
        assert result.tokens == alone.tokens == text[: text.index(text[end_at]) + 1]
        assert result.tokens == reference(PROMPTS[1], 16, ends)


@pytest.mark.parametrize("verdicts", list(product((True, False), repeat=5)), ids=lambda v: "".join("RA"[a] for a in v))
def test_every_short_string_of_verdicts_is_lossless(verdicts: tuple[bool, ...], reference: Any) -> None:
    """Whatever pattern of acceptances and rejections, and however deep in the pipeline they fall."""
    plan = small_plan(3, forced=Replay((verdicts,)), verification_lag=sum(verdicts) % 3)
    _, result = decode(plan, *both(PROMPTS[1], 6))
    assert result.accepted == verdicts
    assert result.tokens == reference(PROMPTS[1], 6)


@pytest.mark.parametrize("head", PLACEMENTS)
def test_free_drafts_have_the_tokens_and_verdicts_of_forced_ones(head: str, reference: Any) -> None:
    """No module runs; whoever has the LM head has its table all the same."""
    plan = small_plan(4, forced=Bernoulli(0.6), lm_head=head)
    free = replace(plan, draft=replace(plan.draft, is_free=True))
    forced, told = (decode(each, *both(PROMPTS[1], 12))[1] for each in (plan, free))
    assert told.tokens == reference(PROMPTS[1], 12)
    assert (told.tokens, told.accepted) == (forced.tokens, forced.accepted)


@pytest.mark.parametrize("sampling", [Sampling(0.8), Sampling(1.2, top_k=20), Sampling(0.9, top_p=0.8)], ids=str)
def test_one_seed_gives_one_text_in_every_layout(sampling: Sampling) -> None:
    """With forced drafts or none, the text is that of plain decoding: noise is keyed by position and token."""
    texts = set()
    cuts: list[tuple[int, Any]] = [(1, {}), (2, {}), (3, {"lm_head": "sharded"}), (4, {"lm_head": "last_stage"})]
    for stages, partition in cuts:
        plan = small_plan(stages, forced=Bernoulli(0.6), sampling=sampling, **partition)
        texts |= {result.tokens for result in decode(plan, *both(PROMPTS[1], 16))}
    assert len(texts) == 1
    assert texts != {decode(small_plan(1, sampling=sampling, seed=1), both(PROMPTS[1], 16)[0])[0].tokens}


@pytest.mark.parametrize("head", PLACEMENTS)
def test_sampled_drafts_of_the_module_give_one_text_for_one_seed(head: str) -> None:
    """The rejection rule is seeded too; where the LM head is does not matter, whole or sharded."""
    sampling = Sampling(1.5)
    jobs = both(PROMPTS[1], 24)
    plans = [small_plan(3, sampling=sampling, lm_head=place) for place in (head, "draft_rank")]
    first, second = (decode(plan, *jobs)[1] for plan in plans)
    assert first == JobResult(second.tokens, second.accepted, second.num_cycles, *_times(first))
    assert any(first.accepted) and not all(first.accepted)


def _times(result: JobResult) -> tuple[float, float, float]:
    return result.start_s, result.first_token_s, result.end_s
