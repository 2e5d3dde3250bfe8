"""What the fast path cannot do: where the order of events between sequences of a machine decides."""

from collections import Counter

from spdsim.engine.steps import common_links
from spdsim.machine import Machine
from spdsim.schedules.spd import Layout


def unsupported(machine: Machine) -> str | None:
    """Return why the engine is needed for `machine`, in words; None if the fast path serves.

    Where workers queue for something, who comes first depends on times, and a time is no longer a fixed sum and
    maximum of others.
    """
    if not isinstance(machine.layout, Layout):
        return "the schedule is another method's"
    if machine.contention:
        return "workers of a node slow each other down"
    users = Counter(worker.device for worker in machine.workers)
    shared = sorted(machine.devices[device] for device, count in users.items() if count > 1)
    if shared:
        return f"several workers share a device: {', '.join(shared)}"
    used = {message.link for message in machine.messages.values()}
    common = sorted(machine.links[link].name for link in common_links(machine) & used if link is not None)
    if common:
        return f"several workers send on a link, or may: {', '.join(common)}"
    return None
