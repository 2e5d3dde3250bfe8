"""What messages cost: their bytes, the link they take, their time on it."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from spdsim.distributions import Constant, Distribution, scaled
from spdsim.machine import Link, Message, Receipt, Worker
from spdsim.scenario.durations import ControlTime, MessageTime, distribution
from spdsim.scenario.hardware import LinkFigures
from spdsim.scenario.model import Runtime, Scenario
from spdsim.scenario.placement import anchors_in_stages, group_size, head_shards, num_nodes_used, unit_indices
from spdsim.scenario.profile import MeasuredLink, ProfileRuntime
from spdsim.scenario.times import ProfileTimes
from spdsim.schedules.ops import Payload
from spdsim.schedules.spd import Layout
from spdsim.timing.needs import Edge

_RECEIPT_ORDER: tuple[Payload, ...] = ("features", "hidden", "draft", "partial", "verdict")
"""What comes in every cycle, first."""

_HEADER_BYTES = 16
"""Position and token id, 8 bytes each: the whole of a draft or a verdict, and the head of a hidden state."""
_PARTIAL_BYTES = 12
"""A shard's maximum (4) and its token id (8)."""
_INDEX_BYTES = 8
"""A token id or a node of a tree."""
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
            carried = _num_anchors(scenario, layout, source) if _carries_features(layout, edge) else 0
            head_bytes = _HEADER_BYTES + state_bytes * carried
            prefill_head_bytes = _HEADER_BYTES + state_bytes * carried * prompt
            level_bytes = layout.rows_of_stage(layout.stage_of(source)) * state_bytes + _parents_bytes(layout, edge)
            return level_bytes + head_bytes, tokens * state_bytes + prefill_head_bytes
        case "features":
            num_bytes = _num_anchors(scenario, layout, source) * state_bytes
            return layout.rows_of_stage(layout.stage_of(source)) * num_bytes, num_bytes * prompt
        case "partial":
            return _PARTIAL_BYTES, _PARTIAL_BYTES
        case "draft" | "verdict":
            num_bytes = _HEADER_BYTES + _draft_law_bytes(scenario, layout, edge) + _tree_bytes(layout, edge)
            return num_bytes, num_bytes


def _parents_bytes(layout: Layout, edge: Edge) -> int:
    """Beside a level's hidden states, whose descendants they are; the last stage needs no more than the right one."""
    is_tree = layout.width > 1 and edge[2] <= layout.num_stages - 1 and edge[1] < layout.num_stages
    return layout.width * _INDEX_BYTES if is_tree else 0


def _tree_bytes(layout: Layout, edge: Edge) -> int:
    """What a tree adds to a draft (tokens beyond the first, and parents) and to a verdict (the node that is right)."""
    if layout.width == 1:
        return 0
    payload, source, to = edge
    level_bytes = 2 * layout.width * _INDEX_BYTES
    if payload == "draft":
        return level_bytes - _INDEX_BYTES
    carries_level = source == 0 and to == layout.worker_of_stage(0)
    return _INDEX_BYTES + (level_bytes if carries_level else 0)


def _num_anchors(scenario: Scenario, layout: Layout, source: int) -> int:
    return anchors_in_stages(scenario)[layout.stage_of(source)]


def _carries_features(layout: Layout, edge: Edge) -> bool:
    payload, source, to = edge
    is_last_hidden = payload == "hidden" and source == layout.num_stages and to == 0
    return is_last_hidden and layout.last_hidden_carries_features


def _draft_law_bytes(scenario: Scenario, layout: Layout, edge: Edge) -> int:
    """The draft's distribution, for whoever verifies elsewhere when sampling: its shard of it.

    In a full cycle the draft reaches stage 0 with the verdict, and so does the distribution.
    """
    payload, source, to = edge
    if not layout.sampled or source != 0 or layout.width > 1:
        # The target draws its own token, which is a node of a tree or none.
        return 0
    vocab = scenario.draft.draft_vocab_size or scenario.model.vocab_size
    match layout.lm_head:
        case "sharded" if payload == "draft" or to == layout.worker_of_stage(0):
            # A stage has as many shards as devices.
            own = group_size(scenario) if layout.role(to) == "stage" else 1
            return own * vocab * _LOGIT_BYTES // head_shards(scenario, layout)
        case "last_stage" | "own_device" if payload == "draft" and to == layout.verdict_source:
            return vocab * _LOGIT_BYTES
        case _:
            return 0


class Network:
    """The links of a scenario: one for each ordered pair of devices, or one for all that leaves a node.

    A group of devices sends and receives as its first one does: each of them has the whole of what is sent, so that
    they all send it at once, each to one device of the other group.
    num_nodes: the nodes with at least one worker.
    """

    def __init__(self, scenario: Scenario, workers: tuple[Worker, ...]) -> None:
        self.num_nodes = num_nodes_used(scenario.devices, workers)
        self._devices = scenario.devices
        self._figures = scenario.links
        self._device_of = [worker.device for worker in workers]
        self._unit_of = unit_indices(scenario)
        self._index: dict[Link, int] = {}

    @property
    def links(self) -> tuple[Link, ...]:
        """The links that were asked for, by index."""
        return tuple(self._index)

    def is_between_nodes(self, source: int, to: int) -> bool:
        """Whether two workers are on different nodes."""
        start, end = self._device_of[source], self._device_of[to]
        return self._devices.node_of(start) != self._devices.node_of(end)

    def between(self, source: int, to: int) -> tuple[int, LinkFigures] | None:
        """Return the link from one worker to another and its figures; None on the same device or group."""
        if self._unit_of[source] == self._unit_of[to]:
            return None
        start, end = self._device_of[source], self._device_of[to]
        node, other = self._devices.node_of(start), self._devices.node_of(end)
        figures = self._figures.intra_node if node == other else self._figures.inter_node
        if figures is None:
            raise ValueError("a scenario that was checked has the links between its devices")
        if figures.shared:
            link = Link(f"{figures.name} of node {node}", is_shared=True)
        else:
            link = Link(f"{figures.name} {start} to {end}")
        return self._index.setdefault(link, len(self._index)), figures


@dataclass(frozen=True, slots=True)
class Operations:
    """The messages whose posting, and whose receipt, is one operation of a host for all of their group."""

    posts: frozenset[Edge]
    receipts: frozenset[Edge]


def operations_of(scenario: Scenario, layout: Layout, network: Network, edges: Sequence[Edge]) -> Operations | None:
    """Return the operations of a scenario whose hosts group messages; None where every message is its own."""
    if _runtime(scenario).posting == "separate":
        return None
    crossing = [edge for edge in edges if network.between(edge[1], edge[2]) is not None]
    return Operations(_first_posts(layout, crossing), _first_receipts(crossing))


def message_of(
    scenario: Scenario, layout: Layout, network: Network, edge: Edge, operations: Operations | None
) -> Message:
    """Return the cost of one edge; between workers on one device only the host's control costs anything."""
    payload, source, to = edge
    num_bytes, prefill_bytes = message_bytes(scenario, layout, edge)
    profile = scenario.timing.profile if isinstance(scenario.timing, ProfileTimes) else None
    is_control = profile is not None and payload in ("draft", "verdict") and to == layout.worker_of_stage(0)
    control_s = _control_s(profile.control, layout, network) if profile is not None and is_control else 0.0
    receipt = _receipt(scenario, payload)
    way = network.between(source, to)
    if way is None:
        free = Constant(0.0)
        return Message(None, num_bytes, prefill_bytes, free, free, control_s=control_s, receipt=receipt)
    link, figures = way
    written = MessageTime() if profile is None else getattr(profile.messages, payload)
    tensors = _num_tensors(scenario, layout, edge)
    is_between_nodes = network.is_between_nodes(source, to)
    transit = _written_transit(written, is_between_nodes, layout.num_workers)
    by_size = partial(_by_size, None if profile is None or is_between_nodes else profile.link, written)
    num_posts = num_receives = tensors
    if operations is not None:
        num_posts = min(tensors, edge in operations.posts)
        # A host that waits for every message handles each by itself.
        num_receives = tensors if receipt in ("serial", "taken") else min(tensors, edge in operations.receipts)
    return Message(
        link,
        num_bytes,
        prefill_bytes,
        _transit(figures, num_bytes, tensors) if transit is None else by_size(transit, num_bytes),
        _transit(figures, prefill_bytes, tensors) if transit is None else by_size(transit, prefill_bytes),
        scaled(_post(written, figures, is_between_nodes), num_posts),
        control_s,
        num_receives * (figures.receive_s if written.receive_s is None else written.receive_s),
        receipt,
        profile is not None and profile.runtime is not None and profile.runtime.departure == "posting",
    )


def _runtime(scenario: Scenario) -> ProfileRuntime | Runtime:
    """How messages are sent and received: as the profile was measured, else as the scenario says."""
    profile = scenario.timing.profile if isinstance(scenario.timing, ProfileTimes) else None
    return scenario.runtime if profile is None or profile.runtime is None else profile.runtime


def _receipt(scenario: Scenario, payload: Payload) -> Receipt:
    receipts = _runtime(scenario).receipts
    if receipts != "posted":
        return receipts
    # A program depends on the verdict, so the host must know it.
    return "read" if payload == "verdict" else "posted"


def _control_s(control: ControlTime, layout: Layout, network: Network) -> float:
    other_nodes = network.num_nodes - 1
    return control.per_cycle_s + control.per_worker_s * layout.num_workers + control.per_node_s * other_nodes


def _num_tensors(scenario: Scenario, layout: Layout, edge: Edge) -> int:
    """How many messages an edge of the schedule really is: one, or one for each tensor of features.

    None where nothing is read of a stage: in lockstep it is waited for all the same, which `control` has the price of.
    """
    payload, source, _ = edge
    if payload != "features":
        return 1
    num_anchors = _num_anchors(scenario, layout, source)
    return num_anchors if layout.messages == "per_tensor" else min(1, num_anchors)


def _first_posts(layout: Layout, edges: Sequence[Edge]) -> frozenset[Edge]:
    """Of what each worker posts at once, the message that is posted first: the operation that carries the others.

    A stage posts hidden state and features together. Where a verdict brings stage 0 its draft in full cycles, the
    drafts for others are an operation of their own.
    """
    first: dict[tuple[str, int, bool], Edge] = {}
    for edge in sorted(edges, key=lambda edge: (edge[0] == "features", edge[2] == 0 and edge[0] == "verdict", edge[2])):
        payload, source, to = edge
        is_apart = payload == "draft" and layout.verdict_source == 0 and to != layout.worker_of_stage(0)
        what = "output" if payload in ("hidden", "features") else payload
        first.setdefault((what, source, is_apart), edge)
    return frozenset(first.values())


def _first_receipts(edges: Sequence[Edge]) -> frozenset[Edge]:
    """Of what each worker receives in a cycle, the message whose receipt is the operation for all of them."""
    first: dict[int, Edge] = {}
    for edge in sorted(edges, key=lambda edge: (_RECEIPT_ORDER.index(edge[0]), edge[1])):
        first.setdefault(edge[2], edge)
    return frozenset(first.values())


def _post(written: MessageTime, figures: LinkFigures, is_between_nodes: bool) -> Distribution:
    if is_between_nodes and written.inter_node_post_s is not None:
        return distribution(written.inter_node_post_s)
    return Constant(figures.post_s) if written.post_s is None else distribution(written.post_s)


def _written_transit(written: MessageTime, is_between_nodes: bool, num_workers: int) -> Distribution | None:
    """The time on the way as the profile has it; None where the link's figures say it."""
    if is_between_nodes and written.inter_node_transit_s is not None:
        return distribution(written.inter_node_transit_s)
    if written.transit_s is None:
        return None
    return scaled(distribution(written.transit_s), 1.0 + written.transit_per_worker_fraction * max(num_workers - 2, 0))


def _by_size(link: MeasuredLink | None, written: MessageTime, transit: Distribution, num_bytes: int) -> Distribution:
    """The time on the way of a message of another size than was measured, as the link of the measurements has it."""
    if link is None or written.measured_bytes is None:
        return transit
    measured_s = link.latency_s + written.measured_bytes / link.bandwidth_bytes_per_s
    return scaled(transit, (link.latency_s + num_bytes / link.bandwidth_bytes_per_s) / measured_s)


def _transit(figures: LinkFigures, num_bytes: int, num_tensors: int) -> Distribution:
    return Constant(num_tensors * figures.latency_s + num_bytes / figures.bandwidth_bytes_per_s)
