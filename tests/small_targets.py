"""Plans of runs with real arithmetic on a very small target: random weights, seeded, so that every run agrees."""

from pathlib import Path
from typing import Any

import torch

from executor.model.small import small_config
from executor.plan import Backend, DraftPlan, ModelPlan, Plan
from executor.verify.sampling import Sampling
from spdsim.acceptance import Acceptance
from spdsim.scenario.build import build_scenario
from spdsim.scenario.placement import anchors, layers_of_stages, layout_of
from spdsim.shapes.huggingface import shape_of

GREEDY = Sampling()
CONFIG = small_config(hidden_size=32, num_layers=8, num_heads=4, num_kv_heads=2)


def small_plan(
    stages: int, *, forced: Acceptance | None = None, sampling: Sampling = GREEDY, backend: Backend = "local",
    config: dict[str, Any] = CONFIG, seed: int = 0, draft_vocab: int | None = None, max_context: int = 256,
    runtime: dict[str, Any] | None = None, timeout_s: float = 60.0, directory: Path | None = None, **partition: Any,
) -> Plan:  # fmt: skip
    """Return the plan of decoding with the weights in `directory`, or random ones; the draft module has one layer."""
    runtime = {"sampling": "greedy" if sampling.is_greedy else "sampled", **(runtime or {})}
    scenario = build_scenario({
        "name": "small",
        "model": {**shape_of(config), "name": "small"},
        "devices": {"gpu": {"name": "cpu"}, "count": stages + 2},
        "links": {"intra_node": {"latency_s": 1e-6, "bandwidth_bytes_per_s": 1e9}},
        "partition": {"stages": stages, **partition},
        "draft": {"layers": 1, "anchors": 3, "draft_vocab_size": draft_vocab},
        "runtime": runtime,
        "acceptance": {"kind": "bernoulli", "p": 0.5},
        "timing": {"kind": "profile", "profile": {"forward": 1e-3, "draft": 1e-3, "verify": 1e-3}},
    })  # fmt: skip
    layout = layout_of(scenario)
    return Plan(
        scenario=scenario, layout=layout, layers=layers_of_stages(scenario), model=ModelPlan(config, directory, seed),
        draft=DraftPlan(1, anchors(scenario), draft_vocab, forced=forced), sampling=sampling, seed=seed,
        max_context=max_context, backend=backend, devices=(0,) * layout.num_workers, timeout_s=timeout_s,
    )  # fmt: skip


def one_thread() -> None:
    """Let torch use one thread: tests share a machine, and small matrices gain nothing from more."""
    torch.set_num_threads(1)
