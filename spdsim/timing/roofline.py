"""Durations worked out from bytes, rates and operations: the analytic model of a task.

The device takes what its bytes and kernels take (`timing.device`); the host takes its time to issue the task's
operations. Eager or compiled, it issues them one by one while the device works on those before, so that the
longer of the two counts; a CUDA graph is launched at once and costs one launch.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from math import inf

from spdsim.distributions import Constant
from spdsim.machine import Duration, Issue
from spdsim.scenario.collectives import all_reduce_of
from spdsim.scenario.hardware import Gpu
from spdsim.scenario.memory import draft_head_bytes, projection_params
from spdsim.scenario.model import Launch, Scenario
from spdsim.scenario.placement import group_size, head_shards, layers_of_stages
from spdsim.scenario.times import Roofline, resolve
from spdsim.schedules.ops import Task
from spdsim.schedules.spd import Layout
from spdsim.shapes.layers import Layer
from spdsim.timing.device import Rates
from spdsim.timing.passes import ALONE, Group, Passes, Work, for_rows, layer_ops
from spdsim.timing.tree import draft_of_levels


class RooflineTimes:
    """Durations of a scenario's tasks, whose GPU has a bandwidth and a rate."""

    def __init__(self, scenario: Scenario, layout: Layout, roofline: Roofline) -> None:
        self._scenario, self._layout, self._model = scenario, layout, scenario.model
        self._figures = resolve(roofline, scenario.devices.gpu, scenario.runtime.launch)
        self._is_sampled = scenario.runtime.sampling == "sampled"
        self.rates = rates_of(scenario.devices.gpu, self._figures)
        self._alone = Passes(self.rates, self._figures)
        self._of_stages = Passes(self.rates, self._figures, group_of(scenario))

    def duration(self, worker: int, task: Task) -> Duration:
        """Return how long `worker` takes for `task`."""
        is_stage = self._layout.role(worker) == "stage"
        match task:
            case "forward":
                stage = self._layout.stage_of(worker)
                return self._forward(self._stage_layers[stage], self._layout.rows_of_stage(stage))
            case "draft":
                return draft_of_levels(self._layout, self._draft())
            case "verify":
                return self._verify(
                    self._of_stages if is_stage else self._alone, is_read=worker == self._layout.verdict_source
                )
            case "prefill" if is_stage:
                layers = self._stage_layers[self._layout.stage_of(worker)]
                return self._prefill(self._of_stages.group, layers, 0, self._ops("forward_ops"))
            case "prefill":
                projection = projection_params(self._scenario)[-1]
                return self._prefill(ALONE, self._draft_layers, projection, self._ops("draft_ops"))
            case "combine":
                return self._issued(Work(self.rates.small_kernel_s, 1), is_read=True)
            case "commit":
                return Duration(Constant(self._ops("commit_s")))
            case "rollback":
                return Duration(Constant(self._ops("rollback_s")))

    @cached_property
    def _stage_layers(self) -> tuple[tuple[Layer, ...], ...]:
        found, first = [], 0
        for num_layers in layers_of_stages(self._scenario):
            found.append(self._model.layers[first : first + num_layers])
            first += num_layers
        return tuple(found)

    @cached_property
    def _draft_layers(self) -> tuple[Layer, ...]:
        return (self._model.draft_layer,) * self._scenario.draft.layers

    def _forward(self, layers: tuple[Layer, ...], rows: int) -> Duration:
        num_ops = self._ops("forward_ops")
        passes = self._of_stages
        if rows > 1:
            passes = Passes(self.rates, self._figures, group_of(self._scenario, rows), rows)
        read = for_rows(self._model, layers, rows)
        return self._pass(passes, read, Work(self.rates.kernels_s(num_ops, 0), num_ops))

    def _draft(self) -> Duration:
        """Projections of all types, the draft module's layers, its head."""
        matrices = [float(params * self._model.dtype_bytes) for params in projection_params(self._scenario)]
        matrices.append(float(draft_head_bytes(self._scenario)))
        num_ops = self._ops("draft_ops") + self._is_sampled * self._ops("draft_sampling_ops")
        device_s = self.rates.matrices_s(matrices) + self.rates.kernels_s(num_ops, len(matrices))
        return self._pass(self._alone, self._draft_layers, Work(device_s, num_ops))

    def _pass(self, passes: Passes, layers: Sequence[Layer], beside: Work) -> Duration:
        """A token or a level through some layers and what is beside them; the cache it reads grows with the context."""
        window_s, token_s = passes.context_s(layers, self._scenario.workload.prompt_tokens)
        work = passes.layers(layers, cache_s=window_s, beside_s=beside.device_s, beside_ops=beside.num_ops)
        return self._issued(work, token_s)

    def _verify(self, passes: Passes, is_read: bool) -> Duration:
        """The LM head, or a shard of it, and the maximum; with sampling, two distributions and a draw."""
        is_sharded = self._layout.lm_head == "sharded" and self._layout.num_stages > 1
        # A group has as many shards as devices, each as large as any other device's.
        own, shards = (passes.group.num_devices, head_shards(self._scenario, self._layout)) if is_sharded else (1, 1)
        num_ops = self._ops("verify_ops") + self._is_sampled * self._ops("verify_sampling_ops")
        params = self._model.vocab_size * self._model.hidden_size
        work = passes.head(self._model.head_bytes * own / shards, params * own / shards, num_ops)
        return self._issued(work, is_read=is_read and not is_sharded)

    def _prefill(self, group: Group, layers: tuple[Layer, ...], projection: int, num_ops: float) -> Duration:
        """The prompt through a stage, or through the draft module: its last projection and its layers.

        Two operations a weight and token; causal attention adds 2 x 2 x tokens / 2 for each query element and token.
        """
        model, tokens = self._model, self._scenario.workload.prompt_tokens
        params = projection + sum(layer.active_params for layer in layers)
        attended = sum(layer.cached_tokens(tokens) for layer in layers if layer.kind == "attention")
        flops = 2 * params * tokens + 2 * tokens * attended * model.num_heads * model.head_dim
        # A prompt of some length has work for every expert, a short one at most for those that its tokens choose.
        read_bytes = sum(min(layer.weight_bytes, tokens * layer.read_bytes) for layer in layers)
        num_bytes = projection * model.dtype_bytes + read_bytes
        ops = [layer_ops(self._figures, layer) for layer in layers]
        kernels_s = sum(
            self.rates.kernels_s(layer_ops, len(layer.matrices_bytes))
            for layer_ops, layer in zip(ops, layers, strict=True)
        )
        shards, meetings = group.num_devices, group.num_meetings(len(layers))
        device_s = self.rates.prefill_s(flops / shards, num_bytes / shards) + kernels_s
        device_s += meetings * self._prompt_all_reduce_s(group)
        return self._issued(Work(device_s, num_ops + sum(ops) + meetings))

    def _prompt_all_reduce_s(self, group: Group) -> float:
        """An all-reduce of the whole prompt: that of one token, and a ring's way for the others.

        In a ring of k devices each sends 2 (k - 1) / k of the bytes.
        """
        link = self._scenario.links.intra_node
        if group.num_devices == 1 or link is None:
            return group.all_reduce_s
        others_bytes = (self._scenario.workload.prompt_tokens - 1) * self._model.state_vector_bytes
        sent_bytes = 2 * (group.num_devices - 1) / group.num_devices * max(0, others_bytes)
        return group.all_reduce_s + sent_bytes / link.bandwidth_bytes_per_s

    def _issued(self, work: Work, token_s: float = 0.0, *, is_read: bool = False) -> Duration:
        """A task of so many operations on the device, issued by the host."""
        issue = issue_of(self._figures, self._scenario.runtime.launch, work.num_ops)
        return Duration(Constant(work.device_s), token_s, issue=replace(issue, is_read=is_read))

    def _ops(self, key: str) -> float:
        return float(getattr(self._figures, key))


def issue_of(figures: Roofline, launch: Launch, num_ops: float) -> Issue:
    """Return the host's part of a task of so many operations, from a resolved roofline."""
    task_s, op_s = figures.host_per_task_s or 0.0, figures.host_per_op_s or 0.0
    total_s = task_s + num_ops * op_s
    # One by one, the device begins with the first operation; a graph is launched as a whole.
    lead_s = total_s if launch == "cuda_graph" else task_s + min(num_ops, 1) * op_s
    return Issue(lead_s, total_s)


def group_of(scenario: Scenario, rows: int = 1) -> Group:
    """Return the devices that a stage of a scenario runs on, which was checked: their all-reduce is known.

    rows: tokens whose hidden states are added up at once.
    """
    if (num_devices := group_size(scenario)) == 1:
        return ALONE
    known = all_reduce_of(scenario, rows)
    if known is None:
        raise ValueError("a scenario that was checked has an all-reduce for its groups")
    return Group(num_devices, known[0])


def rates_of(gpu: Gpu, figures: Roofline) -> Rates:
    """Return what a device reaches, from a resolved roofline."""
    return Rates(
        bytes_per_s=(gpu.bandwidth_bytes_per_s or 0.0) * (figures.bandwidth_fraction or 0.0),
        flops_per_s=(gpu.flops_per_s or 0.0) * (figures.compute_fraction or 0.0),
        kernel_latency_s=figures.kernel_latency_s or 0.0,
        small_kernel_s=figures.small_kernel_s or 0.0,
        peak_flops_per_s=gpu.flops_per_s or inf,
    )
