"""What a rival's messages cost: by the scenario's link within a node, or as its profile has them measured."""

from spdsim.distributions import Constant
from spdsim.machine import Message, Receipt
from spdsim.scenario import Scenario
from spdsim.scenario.durations import distribution
from spdsim.scenario.times import ProfileTimes
from spdsim.schedules.ops import Payload

_HEADER_BYTES, _TOKEN_BYTES = 16, 8


def here(num_bytes: int = 0, receive_s: float = 0.0) -> Message:
    """Return a message within a device, which crosses no link; receive_s: what its receiver's host does with it."""
    free = Constant(0.0)
    return Message(None, num_bytes, num_bytes, free, free, receive_s=receive_s, receipt="read")


def across(
    scenario: Scenario, payload: Payload, link: int, num_bytes: int, prefill_bytes: int | None = None,
    receive_s: float = 0.0,
) -> Message:  # fmt: skip
    """Return a message of one payload over the link of index `link`, between two devices of a node."""
    figures = scenario.links.intra_node
    if figures is None:
        raise ValueError("a scenario with several devices has a link between them")
    prefill_bytes = num_bytes if prefill_bytes is None else prefill_bytes
    transit, prefill = (
        Constant(figures.latency_s + size / figures.bandwidth_bytes_per_s) for size in (num_bytes, prefill_bytes)
    )
    post, handled_s = Constant(figures.post_s), figures.receive_s
    if isinstance(scenario.timing, ProfileTimes):
        written = getattr(scenario.timing.profile.messages, payload)
        if written.transit_s is not None:
            measured = distribution(written.transit_s)
            return Message(link, num_bytes, prefill_bytes, measured, measured, post, receive_s=handled_s + receive_s,
                           receipt="read" if payload == "verdict" else "posted")  # fmt: skip
    receipt: Receipt = "read" if payload == "verdict" else "posted"
    return Message(
        link, num_bytes, prefill_bytes, transit, prefill, post, receive_s=handled_s + receive_s,
        receipt="serial" if scenario.runtime.receipts == "serial" else receipt,
    )  # fmt: skip


def tokens_bytes(num_tokens: int) -> int:
    """Return the bytes of a message with so many token ids."""
    return _HEADER_BYTES + _TOKEN_BYTES * num_tokens
