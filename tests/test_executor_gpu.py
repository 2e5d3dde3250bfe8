"""What holds on a GPU: CUDA graphs, eager kernels and every cut give one text. Skipped where there is no GPU."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from executor.model.small import small_config
from executor.plan import Job
from executor.rank import run_local
from spdsim.acceptance import Bernoulli
from tests.small_targets import small_plan

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")

CONFIG = small_config(hidden_size=256, num_layers=8)
PROMPT = (72, 101, 108, 108, 111)


def decode(stages: int, launch: Any, new_tokens: int = 300, **options: Any) -> list[tuple[int, ...]]:
    """The tokens of plain decoding and of speculation; 300 of them pass from one bucket of context to the next."""
    plan = small_plan(stages, config=CONFIG, max_context=400, **options)
    plan = replace(plan, device="cuda", launch=launch, dtype="bfloat16", devices=(0,) * plan.layout.num_workers)
    jobs = [Job(method, 0, PROMPT, new_tokens, is_recorded=True) for method in ("plain", "spd")]
    outcome = run_local(plan, jobs, lambda _: None)
    for report in outcome.reports:
        assert all(span.end_s >= span.start_s for span in report.spans.spans())
    return [result.tokens for result in outcome.results]


@pytest.mark.parametrize("launch", ["eager", "cuda_graph"])
@pytest.mark.parametrize(("stages", "partition"), [
    (1, {}), (2, {}), (4, {"verification_lag": 1}), (4, {"lm_head": "sharded"}), (3, {"lm_head": "own_device"}),
    (4, {"lm_head": "last_stage"}),
])  # fmt: skip
@pytest.mark.parametrize("p", [1.0, 0.6, None])
def test_speculation_changes_no_token(launch: str, stages: int, partition: dict[str, Any], p: float | None) -> None:
    """With forced drafts and the module's own."""
    plain, speculative = decode(stages, launch, forced=None if p is None else Bernoulli(p), **partition)
    assert speculative == plain


def test_graphs_replay_what_eager_kernels_compute() -> None:
    """Up to rounding in 16 bits: the beginning of the text is the same."""
    graphs, eager = decode(2, "cuda_graph", 16)[0], decode(2, "eager", 16)[0]
    assert graphs[:4] == eager[:4]
