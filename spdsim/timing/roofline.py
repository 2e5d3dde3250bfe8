"""Durations worked out from bytes, rates and launch costs: the plain analytic model.

Decoding at batch size 1 reads every weight and the whole KV cache once a token, so a task takes its bytes over
the bandwidth that is reached, plus its launches. Under CUDA graphs a layer's launch cost comes on top; in eager
mode the host launches while the device works, so the longer of the two counts.
A prefill takes the longer of its arithmetic and the reading of its weights.
"""

from dataclasses import dataclass

from spdsim.distributions import Constant
from spdsim.machine import Duration
from spdsim.scenario.memory import draft_head_bytes, projection_params
from spdsim.scenario.model import Scenario
from spdsim.scenario.placement import layers_of_stages
from spdsim.scenario.times import Roofline, resolve
from spdsim.schedules.ops import Task
from spdsim.schedules.spd import Layout


@dataclass(frozen=True, slots=True)
class Rates:
    """What the device reaches, and what a launch costs."""

    bytes_per_s: float
    flops_per_s: float
    launch_per_layer_s: float
    launch_per_graph_s: float
    commit_s: float
    rollback_s: float
    launches_overlap: bool

    def decode_s(self, num_bytes: float, num_layers: int) -> float:
        """Return seconds to read `num_bytes` of weights in a task of `num_layers` layers."""
        return self.launch_per_graph_s + self._with_launches(num_bytes / self.bytes_per_s, num_layers)

    def prefill_s(self, flops: float, num_bytes: float, num_layers: int) -> float:
        """Return seconds of a prefill of so many floating-point operations and bytes of weights."""
        work_s = max(flops / self.flops_per_s, num_bytes / self.bytes_per_s)
        return self.launch_per_graph_s + self._with_launches(work_s, num_layers)

    def _with_launches(self, work_s: float, num_layers: int) -> float:
        launches_s = num_layers * self.launch_per_layer_s
        return max(work_s, launches_s) if self.launches_overlap else work_s + launches_s


def rates_of(scenario: Scenario, roofline: Roofline) -> Rates:
    """Return the rates of a scenario whose GPU has a bandwidth and a rate."""
    gpu, full = scenario.devices.gpu, resolve(roofline, scenario.devices.gpu, scenario.runtime.launch)
    return Rates(
        bytes_per_s=(gpu.bandwidth_bytes_per_s or 0.0) * (full.bandwidth_fraction or 0.0),
        flops_per_s=(gpu.flops_per_s or 0.0) * (full.compute_fraction or 0.0),
        launch_per_layer_s=full.launch_per_layer_s or 0.0,
        launch_per_graph_s=full.launch_per_graph_s or 0.0,
        commit_s=full.commit_s or 0.0,
        rollback_s=full.rollback_s,
        launches_overlap=scenario.runtime.launch == "eager",
    )


def roofline_duration(scenario: Scenario, layout: Layout, rates: Rates, worker: int, task: Task) -> Duration:
    """Return how long `worker` takes for `task`."""
    model = scenario.model
    match task:
        case "forward":
            return _layers(scenario, rates, layers_of_stages(scenario)[layout.stage_of(worker)], 0.0)
        case "draft":
            extra = sum(projection_params(scenario)) * model.dtype_bytes + draft_head_bytes(scenario)
            return _layers(scenario, rates, scenario.draft.layers, extra)
        case "verify":
            shards = layout.num_workers if layout.lm_head == "sharded" and layout.num_stages > 1 else 1
            return Duration(Constant(rates.decode_s(model.table_bytes / shards, 0)))
        case "prefill":
            return Duration(Constant(_prefill_s(scenario, layout, rates, worker)))
        case "combine":
            return Duration(Constant(rates.launch_per_graph_s))
        case "commit":
            return Duration(Constant(rates.commit_s))
        case "rollback":
            return Duration(Constant(rates.rollback_s))


def _layers(scenario: Scenario, rates: Rates, num_layers: int, extra_bytes: float) -> Duration:
    """One token through some layers; the KV cache that it reads grows with the context."""
    weights = num_layers * scenario.model.layer_bytes + extra_bytes
    kv_per_token_s = num_layers * scenario.model.kv_bytes_per_token / rates.bytes_per_s
    return Duration(Constant(rates.decode_s(weights, num_layers)), kv_per_token_s)


def _prefill_s(scenario: Scenario, layout: Layout, rates: Rates, worker: int) -> float:
    """The prompt through a stage, or through the draft module (its last projection and its layers)."""
    model, tokens = scenario.model, scenario.workload.prompt_tokens
    if layout.role(worker) == "stage":
        num_layers, other_params = layers_of_stages(scenario)[layout.stage_of(worker)], 0
    else:
        num_layers, other_params = scenario.draft.layers, projection_params(scenario)[-1]
    params = num_layers * model.layer_params + other_params
    # Two operations a weight and token; causal attention adds 2 x 2 x tokens / 2 for each query element and token.
    attention = 2 * tokens**2 * model.num_heads * model.head_dim * num_layers
    return rates.prefill_s(2 * params * tokens + attention, params * model.dtype_bytes, num_layers)
