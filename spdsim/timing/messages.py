"""What messages cost: their bytes, the link they take, their time on it."""

from spdsim.distributions import Constant, Distribution
from spdsim.machine import Link, Message, Worker
from spdsim.scenario.durations import MessageTime, distribution
from spdsim.scenario.hardware import LinkFigures
from spdsim.scenario.model import Scenario
from spdsim.scenario.placement import anchors_in_stages
from spdsim.scenario.times import ProfileTimes
from spdsim.schedules.spd import Layout
from spdsim.timing.needs import Edge

_HEADER_BYTES = 16
"""Position and token id, 8 bytes each: the whole of a draft or a verdict, and the head of a hidden state."""
_PARTIAL_BYTES = 12
"""A shard's maximum (4) and its token id (8)."""
_LOGIT_BYTES = 4
"""One probability of the draft's distribution."""


def message_bytes(scenario: Scenario, layout: Layout, edge: Edge) -> tuple[int, int]:
    """Return the bytes of a message in a decode cycle and in the prefill."""
    payload, source, _ = edge
    state_bytes = scenario.model.hidden_size * scenario.model.dtype_bytes
    prompt = scenario.workload.prompt_tokens
    match payload:
        case "hidden":
            # What leaves the last stage is only verified: of a prompt, its last token is enough.
            tokens = 1 if source == layout.num_stages else prompt
            return state_bytes + _HEADER_BYTES, tokens * state_bytes + _HEADER_BYTES
        case "features":
            num_bytes = anchors_in_stages(scenario)[layout.stage_of(source)] * state_bytes
            return num_bytes, num_bytes * prompt
        case "partial":
            return _PARTIAL_BYTES, _PARTIAL_BYTES
        case "draft" | "verdict":
            num_bytes = _HEADER_BYTES + _draft_law_bytes(scenario, layout, edge)
            return num_bytes, num_bytes


def _draft_law_bytes(scenario: Scenario, layout: Layout, edge: Edge) -> int:
    """The draft's distribution, for whoever verifies elsewhere when sampling: its shard of it.

    In a full cycle the draft reaches stage 0 with the verdict, and so does the distribution.
    """
    payload, source, to = edge
    if not layout.sampled or source != 0:
        return 0
    vocab = scenario.draft.draft_vocab_size or scenario.model.vocab_size
    match layout.lm_head:
        case "sharded" if payload == "draft" or to == layout.worker_of_stage(0):
            return vocab * _LOGIT_BYTES // layout.num_workers
        case "last_stage" | "own_device" if payload == "draft" and to == layout.verdict_source:
            return vocab * _LOGIT_BYTES
        case _:
            return 0


class Network:
    """The links of a scenario: one for each ordered pair of devices, or one for all that leaves a node."""

    def __init__(self, scenario: Scenario, workers: tuple[Worker, ...]) -> None:
        self._devices = scenario.devices
        self._figures = scenario.links
        self._device_of = [worker.device for worker in workers]
        self._index: dict[Link, int] = {}

    @property
    def links(self) -> tuple[Link, ...]:
        """The links that were asked for, by index."""
        return tuple(self._index)

    def between(self, source: int, to: int) -> tuple[int, LinkFigures] | None:
        """Return the link from one worker to another and its figures; None on the same device."""
        start, end = self._device_of[source], self._device_of[to]
        if start == end:
            return None
        node, other = self._devices.node_of(start), self._devices.node_of(end)
        figures = self._figures.intra_node if node == other else self._figures.inter_node
        if figures is None:
            raise ValueError("a scenario that was checked has the links between its devices")
        if figures.shared:
            link = Link(f"{figures.name} of node {node}", is_shared=True)
        else:
            link = Link(f"{figures.name} {start} to {end}")
        return self._index.setdefault(link, len(self._index)), figures


def message_of(scenario: Scenario, layout: Layout, network: Network, edge: Edge) -> Message:
    """Return the cost of one edge; between workers on one device a message costs nothing."""
    payload, source, to = edge
    num_bytes, prefill_bytes = message_bytes(scenario, layout, edge)
    way = network.between(source, to)
    if way is None:
        return Message(None, num_bytes, prefill_bytes, Constant(0.0), Constant(0.0))
    link, figures = way
    written = MessageTime()
    if isinstance(scenario.timing, ProfileTimes):
        written = getattr(scenario.timing.profile.messages, payload)
    return Message(
        link,
        num_bytes,
        prefill_bytes,
        _transit(written, figures, num_bytes),
        _transit(written, figures, prefill_bytes),
        Constant(figures.post_s) if written.post_s is None else distribution(written.post_s),
    )


def _transit(written: MessageTime, figures: LinkFigures, num_bytes: int) -> Distribution:
    if written.transit_s is not None:
        return distribution(written.transit_s)
    return Constant(figures.latency_s + num_bytes / figures.bandwidth_bytes_per_s)
