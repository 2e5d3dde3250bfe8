"""What a rival's messages cost: by the scenario's links, or as its profile has them measured."""

from collections.abc import Iterable

from spdsim.distributions import Constant, Distribution
from spdsim.machine import Link, Message, Receipt
from spdsim.methods.method import CannotBeHadError
from spdsim.scenario import Scenario
from spdsim.scenario.durations import distribution
from spdsim.scenario.times import ProfileTimes
from spdsim.schedules.ops import Payload

_HEADER_BYTES, _TOKEN_BYTES = 16, 8


def here(num_bytes: int = 0, receive_s: float = 0.0) -> Message:
    """Return a message within a device, which crosses no link; receive_s: what its receiver's host does with it."""
    free = Constant(0.0)
    return Message(None, num_bytes, num_bytes, free, free, receive_s=receive_s, receipt="read")


class Wires:
    """The links of a machine that is put together: one for each ordered pair of devices, or one that a node shares."""

    def __init__(self, scenario: Scenario, links: Iterable[Link] = ()) -> None:
        self._scenario, self._links = scenario, list(links)

    @property
    def links(self) -> tuple[Link, ...]:
        """All links so far, by index."""
        return tuple(self._links)

    def message(self, payload: Payload, start: int, end: int, num_bytes: int, receive_s: float = 0.0) -> Message:
        """Return a message from device `start` to device `end`; receive_s: what its receiver's host does with it.

        Raises CannotBeHadError if the scenario has no link between their nodes, or within their node.
        """
        scenario, devices = self._scenario, self._scenario.devices
        node, is_within = devices.node_of(start), devices.node_of(start) == devices.node_of(end)
        figures = scenario.links.intra_node if is_within else scenario.links.inter_node
        if figures is None:
            name = "intra_node" if is_within else "inter_node"
            raise CannotBeHadError(f"links.{name} is missing: must be given for devices {start} and {end}")
        name = f"{figures.name} of node {node}" if figures.shared else f"{figures.name} {start} to {end}"
        transit = Constant(figures.latency_s + num_bytes / figures.bandwidth_bytes_per_s)
        measured = _measured(scenario, payload, is_within=is_within)
        receipt: Receipt = "read" if payload == "verdict" else "posted"
        return Message(
            self._index(Link(name, figures.shared)), num_bytes, num_bytes, transit if measured is None else measured,
            transit if measured is None else measured, Constant(figures.post_s),
            receive_s=figures.receive_s + receive_s,
            receipt="serial" if scenario.runtime.receipts == "serial" else receipt,
        )  # fmt: skip

    def _index(self, link: Link) -> int:
        if link not in self._links:
            self._links.append(link)
        return self._links.index(link)


def _measured(scenario: Scenario, payload: Payload, *, is_within: bool) -> Distribution | None:
    """The time on the way as a profile has it; None where the link's figures say it."""
    if not isinstance(scenario.timing, ProfileTimes):
        return None
    written = getattr(scenario.timing.profile.messages, payload)
    transit = written.transit_s
    if not is_within and written.inter_node_transit_s is not None:
        transit = written.inter_node_transit_s
    return None if transit is None else distribution(transit)


def tokens_bytes(num_tokens: int) -> int:
    """Return the bytes of a message with so many token ids."""
    return _HEADER_BYTES + _TOKEN_BYTES * num_tokens
