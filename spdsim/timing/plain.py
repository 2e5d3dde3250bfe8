"""A forward of a whole model and its LM head, on one device or tensor-parallel over several, for a row or a few.

What plain decoding takes, what a verification of a draft takes, and what a draft model takes: the same law for all.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from spdsim.distributions import Constant
from spdsim.machine import Duration, Issue
from spdsim.scenario.collectives import all_reduce_s as catalogue_all_reduce_s
from spdsim.scenario.hardware import AllReduce, Gpu
from spdsim.scenario.model import Launch
from spdsim.scenario.target import TargetModel
from spdsim.scenario.times import Roofline, resolve
from spdsim.shapes.layers import Layer
from spdsim.timing.passes import Group, Passes, for_rows
from spdsim.timing.roofline import issue_of, rates_of


@dataclass(frozen=True, slots=True)
class DecodeTimes:
    """Seconds of a forward through all layers, and of the LM head: of each device, and of each host.

    forward_s: of the device at the context that was asked for; of that, fixed_s does not grow with the context,
    of which each token adds context_token_s. head_s: of the LM head, whatever the context.
    """

    forward_s: float
    fixed_s: float
    context_token_s: float
    forward_issue: Issue
    head_s: float
    head_issue: Issue

    @property
    def forward(self) -> Duration:
        """The duration of a task "forward", which grows with the context."""
        return Duration(Constant(self.fixed_s), self.context_token_s, issue=self.forward_issue)

    @property
    def verify(self) -> Duration:
        """The duration of a task "verify", whose result the host waits for."""
        return Duration(Constant(self.head_s), issue=replace(self.head_issue, is_read=True))

    @property
    def token_s(self) -> float:
        """Seconds of both, one after the other, issued ahead: those of a token of plain decoding with one row."""
        return _ended_s(((self.forward_issue, self.forward_s), (self.head_issue, self.head_s)))


def decode_times(
    model: TargetModel,
    gpu: Gpu,
    launch: Launch,
    *,
    context_tokens: int = 0,
    num_devices: int = 1,
    rows: int = 1,
    sequences: int = 1,
    all_reduce_s: float | None = None,
    all_reduce: AllReduce = "nccl",
    roofline: Roofline | None = None,
    is_sampled: bool = False,
) -> DecodeTimes | None:
    """Return the times of one forward of `model` for `rows` tokens, after `context_tokens` of each sequence.

    rows: 1 in plain decoding, gamma + 1 to verify a draft of gamma tokens; as many times more with several `sequences`,
    each of which has a cache and states of its own to read. Their matrices are read once, and so is the
    cache (`timing.device`); each row uses experts of its own, as if they were chosen evenly and independently.
    all_reduce_s: seconds of one all-reduce of their hidden states over the devices; None: the catalogue's figure of
    `all_reduce`, which goes on linearly beyond its largest size.
    roofline: figures in place of the GPU's and the launch mode's. is_sampled: the head's operations when sampling.
    None if nothing is known of the all-reduce on these devices.
    """
    meeting_s = all_reduce_s
    if meeting_s is None:
        num_bytes = rows * model.state_vector_bytes
        known = catalogue_all_reduce_s(gpu.name, num_devices, num_bytes, all_reduce, is_extrapolated=rows > 1)
        if known is None:
            return None
        meeting_s = known[0]
    figures = resolve(roofline or Roofline(), gpu, launch)
    rates = rates_of(gpu, figures)
    group = Group(num_devices, meeting_s if num_devices > 1 else 0.0)
    passes, layers = Passes(rates, figures, group, rows, sequences), tuple(for_rows(model, model.layers, rows))
    beside = figures.forward_ops or 0.0
    beside_s, cached = rates.kernels_s(beside, 0), sum(_cached_bytes(layers, context_tokens))
    cache_s = sequences * cached / rates.bytes_per_s / num_devices
    window_s, token_s = passes.context_s(layers, context_tokens)
    forward = passes.layers(layers, cache_s=cache_s, beside_s=beside_s, beside_ops=beside)
    fixed = passes.layers(layers, cache_s=window_s, beside_s=beside_s)
    verify_ops = (figures.verify_ops or 0.0) + is_sampled * (figures.verify_sampling_ops or 0.0)
    head = passes.head(model.head_bytes, model.vocab_size * model.hidden_size, verify_ops)
    return DecodeTimes(
        forward_s=forward.device_s,
        fixed_s=fixed.device_s,
        context_token_s=token_s,
        forward_issue=issue_of(figures, launch, forward.num_ops),
        head_s=head.device_s,
        head_issue=issue_of(figures, launch, head.num_ops),
    )


def plain_token_s(
    model: TargetModel,
    gpu: Gpu,
    launch: Launch,
    context_tokens: int = 0,
    num_devices: int = 1,
    all_reduce: AllReduce = "nccl",
) -> float | None:
    """Return seconds of one token of plain decoding, greedily, at a context of so many tokens.

    None if nothing is known of the all-reduce on these devices.
    """
    times = decode_times(
        model, gpu, launch, context_tokens=context_tokens, num_devices=num_devices, all_reduce=all_reduce
    )
    return None if times is None else times.token_s


def _ended_s(tasks: Iterable[tuple[Issue, float]]) -> float:
    """When tasks end that are issued one after another from time 0 on, each with its time on the device."""
    now_s = host_s = 0.0
    for issue, device_s in tasks:
        now_s = max(now_s, host_s + issue.lead_s) + device_s
        host_s += issue.total_s
        now_s = max(now_s, host_s)
    return now_s


def _cached_bytes(layers: Iterable[Layer], context_tokens: int) -> Iterable[float]:
    return (layer.cached_tokens(context_tokens) * layer.kv_bytes_per_token for layer in layers)
