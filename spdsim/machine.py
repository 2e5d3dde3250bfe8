"""What the engine needs to know of a machine: plain numbers, worked out before the clock starts.

A scenario says what people write; `spdsim.timing` turns it into a `Machine`; the engine reads nothing else.
Knows nothing of models, GPUs or files.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from importlib import import_module
from types import ModuleType
from typing import Any, Literal

from spdsim.distributions import Constant, Distribution
from spdsim.schedules import spd
from spdsim.schedules.ops import Payload, Task
from spdsim.schedules.schedule import Layout, Schedule

Sharing = Literal["turns", "bandwidth"]
Receipt = Literal["serial", "taken", "posted", "read"]
OriginKind = Literal["measured", "published", "datasheet", "assumed"]


@dataclass(frozen=True, slots=True)
class Issue:
    """What a worker's host does to issue a task, while the device may still be at work on earlier ones.

    lead_s: host seconds before the device can begin. total_s: host seconds until the last of it is issued; the
    task does not end before. is_read: the host waits for the result, so it is ahead of nothing afterwards.
    """

    lead_s: float
    total_s: float
    is_read: bool = False


@dataclass(frozen=True, slots=True)
class Duration:
    """How long a task takes: a draw of `base`, plus a term linear in the tokens of context.

    by_fill_depth: the distribution to draw instead of `base` when d tokens are in flight is entry d - 1;
        depths beyond the last entry use the last entry. None: the same at every depth.
    issue: the host's part; `base` is then the device's. None: the duration is that of host and device together,
        and the host waits for its end.
    batch_factors: entry j - 1 is what the draw is multiplied by for j sequences at once, each of which has a context
        of its own to read; beyond the last entry it is that one's, and without any 1.
    """

    base: Distribution
    per_context_token_s: float = 0.0
    by_fill_depth: tuple[Distribution, ...] | None = None
    issue: Issue | None = None
    batch_factors: tuple[float, ...] = ()

    def at_depth(self, depth: int) -> Distribution:
        """Return the distribution with `depth` tokens in flight (depth 0 is the prefill)."""
        if self.by_fill_depth is None or depth < 1:
            return self.base
        return self.by_fill_depth[min(depth, len(self.by_fill_depth)) - 1]

    def number_at_depth(self, depth: int) -> int:
        """Return a number of the distribution at `depth`: equal distributions have the same, and `base` has 0."""
        if self.by_fill_depth is None or depth < 1:
            return 0
        return 1 + self.by_fill_depth.index(self.at_depth(depth))

    def batch_factor(self, batch: int) -> float:
        """Return what a draw is multiplied by for `batch` sequences at once."""
        return self.batch_factors[min(batch, len(self.batch_factors)) - 1] if self.batch_factors else 1.0


@dataclass(frozen=True, slots=True)
class Worker:
    """A worker and the device (an index into `Machine.devices`) that it runs on."""

    index: int
    role: str
    device: int


@dataclass(frozen=True, slots=True)
class Link:
    """A way between devices, one message at a time, first come first served.

    is_shared: several pairs use it (a node's network card, a PCIe switch), so it is a SimPy resource;
        a private one (one pair of devices, one direction) is known by the time at which it is free.
    """

    name: str
    is_shared: bool = False


@dataclass(frozen=True, slots=True)
class Message:
    """What one payload costs on one edge of the schedule.

    link: index into `Machine.links`; None: no link is crossed (same device, nothing to pay).
    num_bytes, prefill_bytes: size in a decode cycle and in the prefill.
    transit, prefill_transit: seconds that the link is held, latency and bytes together.
    post: seconds of the sender's host before the message is on its way.
    control_s: seconds of the sender's host on top of it, once for each message: deciding what is to be run next.
    receive_s: seconds of the receiver's host. receipt: "serial": host and device wait for the message, then the host
        spends them; "taken": the same, and a receipt lasts until the message is taken; "posted": the host spends them
        on posting the receipt, and only the device waits; "read": the host waits, for it must know what the message
        says, while the device goes on with what it was given.
    leaves_at_once: the way begins with the posting, not with its end; the sender's host is busy with it meanwhile.
    batch_bytes, batch_transit_s: what every sequence beyond the first adds in a decode cycle.
    """

    link: int | None
    num_bytes: int
    prefill_bytes: int
    transit: Distribution
    prefill_transit: Distribution
    post: Distribution = Constant(0.0)
    control_s: float = 0.0
    receive_s: float = 0.0
    receipt: Receipt = "serial"
    leaves_at_once: bool = False
    batch_bytes: int = 0
    batch_transit_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a number comes from, for the report: what it is, its kind, its source in words."""

    what: str
    kind: OriginKind
    source: str


@dataclass(frozen=True, slots=True)
class Machine:
    """Everything that takes time, by worker and by edge.

    schedule: what is run; `layout` is its own. tasks: duration of each (worker, task) that it can ask for.
    messages: cost of each (payload, source worker, destination worker). prompt_tokens: context length at position 0.
    between_cycles: seconds of each worker's host before every decode cycle. nodes: of each device; empty: all on one.
    contention: what 1, 2, 3 … workers of a node that compute at a time get done together, over what one alone does
        (`total_speed`). Empty: none takes anything from another.
    shared_fraction: part of the cycles in which what is random of the stages' forwards is the same for all of them.
    """

    layout: Layout
    workers: tuple[Worker, ...]
    devices: tuple[str, ...]
    sharing: Sharing
    tasks: Mapping[tuple[int, Task], Duration]
    links: tuple[Link, ...]
    messages: Mapping[tuple[Payload, int, int], Message]
    prompt_tokens: int = 0
    contention: tuple[float, ...] = ()
    shared_fraction: float = 0.0
    nodes: tuple[int, ...] = ()
    between_cycles: Distribution = Constant(0.0)
    fits_one_device: bool = True
    origins: tuple[Origin, ...] = ()
    warnings: tuple[str, ...] = field(default=())
    schedule: Schedule = spd

    def __reduce__(self) -> tuple[Callable[[dict[str, Any]], "Machine"], tuple[dict[str, Any]]]:
        """Say what another process is sent: a module does not travel, but its name does."""
        state = {each.name: getattr(self, each.name) for each in fields(self)}
        schedule = self.schedule
        return _received, (state | {"schedule": schedule.__name__ if isinstance(schedule, ModuleType) else schedule},)


def _received(state: dict[str, Any]) -> Machine:
    """The machine that another process has sent."""
    schedule = state["schedule"]
    return Machine(**state | {"schedule": import_module(schedule) if isinstance(schedule, str) else schedule})


def total_speed(curve: Sequence[float], together: int) -> float:
    """Return what `together` workers get done at a time, over what one alone does.

    Beyond the end of `curve` each one more adds what the last one added.
    """
    if together <= len(curve):
        return curve[together - 1]
    step = min(1.0, max(0.0, curve[-1] - curve[-2])) if len(curve) > 1 else 1.0
    return curve[-1] + step * (together - len(curve))
