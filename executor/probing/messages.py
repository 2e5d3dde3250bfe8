"""The probe `message`: one way of a message between two workers by the plan's backend, and what posting costs.

Half of the time there and back: from filling the slot, which copies the payload, until the other has it. Receipts are
posted before, as a schedule does.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import TypeVar

from executor.plan import Plan
from executor.probing.findings import Finding, Measured, Params
from executor.probing.games import SIZES_BYTES, Home, key_of, play
from executor.probing.ranks import measure, on_hosts
from executor.probing.share import Share
from executor.probing.subject import Subject
from executor.rank import device_of
from executor.transport.local import Streams
from spdsim.schedules.spd import Layout

T = TypeVar("T")

_PAIR_LAYOUT = Layout(2, "sharded")
"""In it two stages send each other hidden states, there and back."""
_PAIR = (1, 2)


def probe_message(subject: Subject, share: Share) -> Iterator[Finding]:
    """Yield the seconds of one way, and those after which the sender's host goes on, by size and pair of devices."""
    plan = subject.plan
    if plan.device == "cpu":
        share.skip("pairs of CUDA devices: needs CUDA devices")
    if plan.backend == "local":
        yield from _within_process(subject, share)
    else:
        yield from _between_processes(subject, share)


def _between_processes(subject: Subject, share: Share) -> Iterator[Finding]:
    plan = subject.plan
    is_nccl = plan.backend == "nccl"
    pairs = _ordered_pairs(range(plan.layout.num_workers)) if is_nccl else [_PAIR]
    share.begin({"backend": plan.backend})
    its_plan = plan if is_nccl else on_hosts(plan, _PAIR_LAYOUT)
    of_workers = measure(its_plan, partial(play, tuple(pairs), share.left_s))
    for source, to in pairs:
        for size_bytes in SIZES_BYTES:
            params = _params(plan, size_bytes, str(device_of(its_plan, source)), str(device_of(its_plan, to)))
            ways, posts = (of_workers[source].get(key_of(source, to, size_bytes, end)) for end in ("one_way", "post"))
            if ways is None or posts is None:
                share.skip_late(params)
            else:
                yield Measured("message", params, ways)
                yield Measured("message_post", params, posts)


def _within_process(subject: Subject, share: Share) -> Iterator[Finding]:
    plan = subject.plan
    devices = {str(device): device for device in (device_of(plan, worker) for worker in range(plan.layout.num_workers))}
    pairs = _ordered_pairs(list(devices)) or [(str(subject.device), str(subject.device))]
    streams = Streams.of(tuple(devices.values()))
    cases = [_params(plan, size_bytes, *pair) for pair in pairs for size_bytes in SIZES_BYTES]
    for params, seconds in share.cases(cases):
        source, to = devices[str(params["source"])], devices[str(params["to"])]
        ways, posts = Home(int(params["size_bytes"]), source, to, streams).play(seconds)
        yield Measured("message", params, ways)
        yield Measured("message_post", params, posts)


def _params(plan: Plan, size_bytes: int, source: str, to: str) -> Params:
    return {"size_bytes": size_bytes, "backend": plan.backend, "source": source, "to": to}


def _ordered_pairs(items: Sequence[T]) -> list[tuple[T, T]]:
    return [(first, second) for first in items for second in items if first != second]
