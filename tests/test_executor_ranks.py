"""Ranks that are processes of their own give what one process gives: the same tokens and ops; and sampling's law."""

from typing import Any

import pytest

from executor.launch.processes import launch
from executor.plan import Job, JobResult
from executor.rank import run_local
from executor.verify.sampling import Sampling
from spdsim.acceptance import Acceptance, Bernoulli
from spdsim.simulation import simulate
from tests.chance import p_value
from tests.emulation import emulated_plan, emulated_scenario, jobs
from tests.small_targets import one_thread, small_plan

PROMPTS = ((72, 101, 108, 108, 111), (7,))
SAMPLED = Sampling(0.9, top_k=30)

METHODS: tuple[Any, Any] = ("plain", "spd")

RUNS: list[tuple[int, dict[str, Any], Acceptance | None, Sampling]] = [
    (1, {}, None, Sampling()),
    (2, {"lm_head": "last_stage", "verification_lag": 1}, Bernoulli(1.0), Sampling()),
    (2, {"lm_head": "sharded"}, Bernoulli(0.0), Sampling()),
    (3, {"lm_head": "own_device", "verification_lag": 2}, Bernoulli(0.6), Sampling()),
    (4, {"lm_head": "sharded", "verification_lag": 1}, None, Sampling(1.2)),
    (4, {"lm_head": "last_stage"}, Bernoulli(0.6), SAMPLED),
    (8, {}, Bernoulli(0.7), Sampling()),
]


@pytest.mark.parametrize(
    ("backend", "stages", "partition", "forced", "sampling"),
    [(("gloo", "socket")[number % 2], *run) for number, run in enumerate(RUNS)] + [("socket", *RUNS[-1])],
    ids=str,
)
def test_ranks_decode_what_one_process_decodes(
    backend: Any, stages: int, partition: dict[str, Any], forced: Acceptance | None, sampling: Sampling
) -> None:
    """Several prompts one after another; verdicts and cycles are the same too, for they depend on no timing."""
    one_thread()
    todo = [
        Job(method, number, prompt, count)
        for number, (prompt, count) in enumerate([(PROMPTS[0], 12), (PROMPTS[1], 6), (PROMPTS[0], 1), (PROMPTS[1], 2)])
        for method in METHODS
    ]
    apart, together = (
        small_plan(stages, forced=forced, sampling=sampling, backend=where, **partition) for where in (backend, "local")
    )
    there = launch(apart, todo, lambda _: None).results
    here = run_local(together, todo, lambda _: None).results
    assert [_without_times(result) for result in there] == [_without_times(result) for result in here]


def test_ranks_run_the_simulators_ops_in_its_order() -> None:
    """As within one process; and spans end no earlier than they begin, in the order in which they were run."""
    scenario = emulated_scenario(3, p=0.6, lm_head="last_stage", verification_lag=1)
    outcome = launch(emulated_plan(scenario, backend="gloo"), jobs(24), lambda _: None)
    theirs = simulate(scenario)
    for report in outcome.reports:
        spans = list(report.spans.spans(1))
        mine = [(span.cycle, span.op, span.position, span.peer) for span in spans]
        assert mine == [(s.cycle, s.op, s.position, s.peer) for s in theirs.spans(0) if s.worker == report.worker]
        times = [time for span in spans for time in (span.start_s, span.end_s)]
        assert times == sorted(times)


NUM_DRAWS = 500


def drawn(method: Any, first: int, stages: int, **options: Any) -> tuple[JobResult, ...]:
    """Return so many texts of three tokens, from a vocabulary of eight, of the sequences from `first` on."""
    from executor.model.small import small_config

    one_thread()
    config = {**small_config(16, 2, num_heads=2, num_kv_heads=1), "vocab_size": 8, "eos_token_id": None}
    plan = small_plan(stages, config=config, sampling=Sampling(1.3), **options)
    todo = [Job(method, number, (1, 2), 3) for number in range(first, first + NUM_DRAWS)]
    return run_local(plan, todo, lambda _: None).results


@pytest.fixture(scope="module")
def drawn_from_the_target() -> tuple[JobResult, ...]:
    """Plain decoding on one stage: its text is that of plain decoding in every layout."""
    return drawn("plain", NUM_DRAWS, 1)


@pytest.mark.parametrize(("head", "draft_vocab"), [("draft_rank", None), ("sharded", 5)])
def test_the_text_of_sampled_drafts_has_the_targets_law(
    head: str, draft_vocab: int | None, drawn_from_the_target: tuple[JobResult, ...]
) -> None:
    """Two tokens after a prompt, from a vocabulary of eight: speculation and plain decoding draw from one law.

    Plain decoding of other sequences gives independent draws of the target's law; homogeneity by chi-square.
    """
    results = drawn("spd", 0, 2, lm_head=head, draft_vocab=draft_vocab)
    drafted = [result.accepted for result in results]
    # Rejections and acceptances both happen, or nothing is tried here.
    assert 0.1 < sum(map(sum, drafted)) / sum(map(len, drafted)) < 0.95
    table: dict[tuple[int, ...], list[int]] = {}
    for column, texts in enumerate((results, drawn_from_the_target)):
        for result in texts:
            table.setdefault(result.tokens[1:], [0, 0])[column] += 1
    assert _homogeneity(list(table.values())) > 0.001


def _homogeneity(cells: list[list[int]]) -> float:
    """The p-value of two samples of equal size having one law; rare cells are taken together."""
    common = [cell for cell in cells if sum(cell) >= 10]
    rest = [sum(column) for column in zip(*(cell for cell in cells if sum(cell) < 10), strict=True)] or [0, 0]
    statistic = sum((left - right) ** 2 / (left + right) for left, right in [*common, rest] if left + right)
    return p_value(statistic, len(common) - (not any(rest)))


def _without_times(result: JobResult) -> tuple[Any, ...]:
    return result.tokens, result.accepted, result.num_cycles
