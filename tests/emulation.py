"""Plans of runs whose compute is emulated: what the executor's schedule, messages and bookkeeping are tried on."""

from collections.abc import Sequence
from typing import Any

from executor.plan import Backend, DraftPlan, Job, ModelPlan, Plan
from executor.verify.sampling import Sampling
from spdsim.acceptance import Acceptance, Bernoulli
from spdsim.scenario import Scenario
from spdsim.scenario.build import build_scenario
from spdsim.scenario.placement import anchors, layers_of_stages, layout_of
from spdsim.timing import machine_of

PROMPT = (1, 2, 3)

_MODEL = {
    "num_layers": 8, "hidden_size": 16, "intermediate_size": 32, "num_heads": 2, "num_kv_heads": 1, "head_dim": 8,
    "vocab_size": 50,
}  # fmt: skip


def emulated_scenario(
    stages: int, *, p: float = 0.7, new_tokens: int = 24, forward_s: float = 1e-8, draft_s: float = 1e-8,
    num_anchors: int = 3, hidden_size: int = 16, runtime: dict[str, Any] | None = None, **partition: Any,
) -> Scenario:  # fmt: skip
    """Return a scenario with a profile of constants, every worker on a device of its own."""
    return build_scenario({
        "name": "emulated",
        "model": {**_MODEL, "hidden_size": hidden_size},
        "devices": {"gpu": {"name": "cpu"}, "count": stages + 2},
        "links": {"intra_node": {"latency_s": 1e-9, "bandwidth_bytes_per_s": 1e15}},
        "partition": {"stages": stages, **partition},
        "draft": {"layers": 1, "anchors": num_anchors},
        "runtime": runtime or {},
        "acceptance": {"kind": "bernoulli", "p": p},
        "workload": {"prompt_tokens": len(PROMPT), "new_tokens": new_tokens},
        "timing": {"kind": "profile", "profile": {"forward": forward_s, "draft": draft_s, "verify": 0.0}},
    })  # fmt: skip


def emulated_plan(scenario: Scenario, *, forced: Acceptance | None = None, backend: Backend = "local") -> Plan:
    """Return the plan of running `scenario` without arithmetic; drafts are right as often as it says."""
    layout = layout_of(scenario)
    if forced is None:
        assert scenario.acceptance.kind == "bernoulli"
        forced = Bernoulli(scenario.acceptance.p)
    return Plan(
        scenario=scenario, layout=layout, layers=layers_of_stages(scenario), model=ModelPlan({}, None),
        draft=DraftPlan(scenario.draft.layers, anchors(scenario), forced=forced),
        sampling=Sampling(temperature=float(layout.sampled)), seed=scenario.seed,
        max_context=scenario.workload.prompt_tokens + 1000, backend=backend,
        devices=(0,) * layout.num_workers, emulated=machine_of(scenario), timeout_s=20.0,
    )  # fmt: skip


def jobs(new_tokens: int, *, end_tokens: Sequence[int] = (), prompt: Sequence[int] = PROMPT) -> list[Job]:
    """Return plain decoding of a sequence and then speculation on it, both recorded."""
    ends = frozenset(end_tokens)
    return [
        Job("plain", 0, tuple(prompt), new_tokens, ends, is_recorded=True),
        Job("spd", 0, tuple(prompt), new_tokens, ends, is_recorded=True),
    ]
