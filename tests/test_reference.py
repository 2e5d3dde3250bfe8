"""The engine against a second simulator that was written for nothing but to be right: every span, to rounding."""

from dataclasses import dataclass, replace
from random import Random

import pytest

from spdsim.distributions import Constant
from spdsim.machine import Duration, Issue, Link, Machine, Message, Receipt, Sharing, Worker
from spdsim.schedules.spd import Control, Layout, LmHead
from spdsim.trace import Span
from tests import reference
from tests.machines import PLACEMENTS, TASKS, Place, edges, machine, play

_TOLERANCE_S = 1e-9
_NUM_MACHINES = 24


@dataclass(frozen=True)
class Kind:
    """What a random machine may have.

    link_each: a link of its own for every payload and pair. common_links: links that several workers send on.
    hosts: tasks have a part of the host's own, and receipts may be posted ahead.
    shared_links: of these, some are SimPy resources. ties: durations from a few values, zero among them; only where
    nothing is shared, for who comes first among simultaneous requests is nobody's promise. free_local: messages
    between workers on one device cost nothing; else they cross a link like others, so that sender and receiver do
    not ask for their device together.
    """

    ties: bool = False
    free_local: bool = False
    devices: Sharing | None = None
    link_each: bool = False
    common_links: bool = False
    shared_links: bool = False
    hosts: bool = False


def random_layout(random: Random) -> Layout:
    """Return a layout with 1 to 6 stages and any options."""
    n = random.choice([1, 2, 2, 3, 3, 4, 5, 6])
    head: LmHead = random.choice(PLACEMENTS)
    features = random.choice([None, (), tuple(stage for stage in range(n) if random.random() < 0.5)])
    lag = random.choice([0, 0, 1, 2]) if n > 1 else 0
    control: Control = random.choice(["early", "late", "lockstep"])
    return Layout(n, head, lag, features, control, random.random() < 0.5, random.choice(["per_edge", "per_tensor"]))


def random_machine(random: Random, layout: Layout, kind: Kind) -> Machine:
    """Return a machine with constant durations for `layout`."""

    def issue() -> Issue | None:
        if not kind.hosts or random.random() < 0.3:
            return None
        total_s = seconds(random.choice([0.1, 2.0]))
        return Issue(random.choice([0.0, 0.5, 1.0]) * total_s, total_s, random.random() < 0.3)

    def seconds(largest: float) -> float:
        return random.choice([0.0, 0.0, 0.25, 0.5, 1.0]) if kind.ties else largest * (0.02 + random.random())

    count = layout.num_workers
    devices = list(range(count))
    if kind.devices is not None:
        devices = [random.randrange(max(1, count - 2)) for _ in range(count)]
    workers = tuple(Worker(w, layout.role(w), devices[w]) for w in range(count))
    tasks = {
        (worker, task): Duration(
            Constant(seconds(1.0)),
            random.choice([0.0, 0.01 * seconds(1.0)]),
            random.choice([None, tuple(Constant(seconds(1.5)) for _ in range(random.randrange(1, 9)))]),
            None if task == "commit" else issue(),
        )
        for worker in range(count)
        for task in (*TASKS, "forward")
    }
    if random.random() < 0.3:
        tasks = {key: Duration(Constant(0.0)) if key[1] == "rollback" else found for key, found in tasks.items()}
    links: dict[object, int] = {}
    messages = {}
    for payload, source, to in edges(layout):
        pair: object = (devices[source], devices[to])
        if kind.link_each:
            pair = (payload, source, to)
        if kind.common_links:
            pair = random.choice([pair, "switch", devices[to]])
        if kind.free_local and devices[source] == devices[to]:
            messages[payload, source, to] = Message(None, 10, 20, Constant(0.0), Constant(0.0))
            continue
        link = links.setdefault(pair, len(links))
        transit = [Constant(seconds(0.3)) for _ in range(2)]
        receive_s = seconds(0.1) if kind.hosts else 0.0
        control_s = seconds(0.2) if kind.hosts else 0.0
        receipt: Receipt = random.choice(["serial", "posted", "read"]) if kind.hosts else "serial"
        messages[payload, source, to] = Message(
            link, 10, 20, transit[0], transit[1], Constant(seconds(0.1)), control_s, receive_s, receipt
        )
    return Machine(
        layout, workers, tuple(f"device {d}" for d in range(max(devices) + 1)), kind.devices or "turns", tasks,
        tuple(Link(str(pair), kind.shared_links and random.random() < 0.7) for pair in links), messages,
        prompt_tokens=random.choice([1, 50]),
    )  # fmt: skip


KINDS = {
    "ties": Kind(ties=True),
    "private": Kind(),
    "turns": Kind(devices="turns"),
    "bandwidth": Kind(devices="bandwidth"),
    "bandwidth, free on a device": Kind(devices="bandwidth", free_local=True),
    "several senders": Kind(common_links=True),
    "hosts": Kind(hosts=True),
    "hosts and turns": Kind(hosts=True, devices="turns"),
    "hosts and bandwidth": Kind(hosts=True, devices="bandwidth"),
    "hosts and links": Kind(hosts=True, common_links=True, shared_links=True),
    "shared links": Kind(common_links=True, shared_links=True),
    "turns and links": Kind(devices="turns", common_links=True, shared_links=True),
    "bandwidth and links": Kind(devices="bandwidth", common_links=True, shared_links=True),
}


def random_verdicts(random: Random) -> str:
    """Return verdicts for 1 to 14 tokens, with runs of rejections now and then."""
    p = random.choice([0.0, 0.5, 0.8, 1.0])
    return "".join("A" if random.random() < p else "R" for _ in range(random.randrange(14)))


def by_worker(machine: Machine, spans: list[Span]) -> list[list[Span]]:
    """Return the spans of each worker, in its order, without what the reference leaves out."""
    return [
        [replace(span, bytes=None, accepted=None) for span in spans if span.worker == worker]
        for worker in range(machine.layout.num_workers)
    ]


def difference(machine: Machine, verdicts: str) -> str | None:
    """Return the first difference between engine and reference in words; None if there is none."""
    simulated = by_worker(machine, list(play(machine, verdicts).spans()))
    expected = by_worker(machine, reference.simulate(machine, verdicts))
    found = []
    for got, want in zip(simulated, expected, strict=True):
        if [(s.cycle, s.op, s.position, s.peer) for s in got] != [(s.cycle, s.op, s.position, s.peer) for s in want]:
            return f"worker {got[0].worker} performs other ops"
        for a, b in zip(got, want, strict=True):
            if abs(a.start_s - b.start_s) > _TOLERANCE_S or abs(a.end_s - b.end_s) > _TOLERANCE_S:
                found.append((min(b.end_s, a.end_s), f"engine {a}, reference {b}"))
                break
    return min(found)[1] if found else None


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_the_engine_gives_every_span_of_the_reference(kind: Kind) -> None:
    """Start, end and order of every worker's spans, on random machines, whatever is shared."""
    for seed in range(_NUM_MACHINES):
        random = Random(seed)
        layout = random_layout(random)
        tried, verdicts = random_machine(random, layout, kind), random_verdicts(random)
        found = difference(tried, verdicts)
        assert found is None, f"seed {seed}, verdicts {verdicts!r}, {layout}: {found}"


def test_a_message_on_one_device_does_not_wait_for_a_message_on_another() -> None:
    """Two devices, two workers each: what crosses no link has nothing to queue for."""
    paid = machine(Layout(3, feature_stages=()), Place((0, 0, 1, 1), "bandwidth"), post=0.7, hop=0.1)
    messages = {
        edge: replace(message, post=Constant(0.0)) if message.link is None else message
        for edge, message in paid.messages.items()
    }
    assert difference(replace(paid, messages=messages), "A") is None
