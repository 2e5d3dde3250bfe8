"""Plain decoding, on one device or tensor-parallel over several: seconds of a token by the same model of time."""

from collections.abc import Iterable

from spdsim.machine import Issue
from spdsim.scenario.collectives import all_reduce_s
from spdsim.scenario.hardware import Gpu
from spdsim.scenario.model import Launch
from spdsim.scenario.target import TargetModel
from spdsim.scenario.times import Roofline, resolve
from spdsim.timing.device import Rates
from spdsim.timing.roofline import issue_of, layer_ops, rates_of


def plain_token_s(
    model: TargetModel, gpu: Gpu, launch: Launch, context_tokens: int = 0, num_devices: int = 1
) -> float | None:
    """Return seconds of one token of plain decoding, greedily, at a context of so many tokens.

    Over several devices every matrix and the cache are cut into equal shards, and each layer ends its attention and
    its MLP with an all-reduce of one hidden state; the shards of the LM head meet in one more.
    None if nothing is known of the all-reduce on these devices.
    """
    figures = resolve(Roofline(), gpu, launch)
    rates = rates_of(gpu, figures)
    meeting = all_reduce_s(gpu.name, num_devices, model.state_vector_bytes)
    if meeting is None:
        return None
    meetings = 2 * model.num_layers * (num_devices > 1)
    ops = [layer_ops(figures, layer) for layer in model.layers]
    beside = figures.forward_ops or 0.0
    forward_s = (
        sum(rates.layer_s(layer, num, num_devices) for layer, num in zip(model.layers, ops, strict=True))
        + _cache_s(rates, model, context_tokens) / num_devices
        + rates.kernels_s(beside, 0)
        + meetings * meeting[0]
    )
    verify_ops = figures.verify_ops or 0.0
    head_s = rates.matrices_s([model.head_bytes / num_devices]) + rates.kernels_s(verify_ops, 1) + meeting[0]
    tasks = ((forward_s, sum(ops) + beside + meetings), (head_s, verify_ops + (num_devices > 1)))
    return _ended_s([(issue_of(figures, launch, num_ops), device_s) for device_s, num_ops in tasks])


def _ended_s(tasks: Iterable[tuple[Issue, float]]) -> float:
    """When tasks end that are issued one after another from time 0 on, each with its time on the device."""
    now_s = host_s = 0.0
    for issue, device_s in tasks:
        now_s = max(now_s, host_s + issue.lead_s) + device_s
        host_s += issue.total_s
        now_s = max(now_s, host_s)
    return now_s


def _cache_s(rates: Rates, model: TargetModel, context_tokens: int) -> float:
    cached = (layer.cached_tokens(context_tokens) * layer.kv_bytes_per_token for layer in model.layers)
    return sum(cached) / rates.bytes_per_s
