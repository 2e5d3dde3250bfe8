"""Messages between ranks that are threads here: whole, in order, on the edges that the schedule uses; and clocks."""

import random
import socket
from array import array
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from typing import Any, TypeVar

import pytest
import torch.distributed
from hypothesis import given
from hypothesis import strategies as st

from executor.errors import LostRankError
from executor.transport.clocks import Exchange, Offset, offset_of, shift
from executor.transport.edges import Edge, edges_of
from executor.transport.lines import Key
from executor.transport.meeting import Meeting
from executor.transport.sockets import Sockets
from spdsim.schedules import plain, spd
from spdsim.schedules.ops import Payload, Send, Verdict
from spdsim.schedules.options import Control, Packing
from spdsim.schedules.spd import Layout
from tests.executor_ranks import channel
from tests.machines import PLACEMENTS

T = TypeVar("T")

LAYOUT = Layout(2)
KEYS: list[Key] = [("verdict", 0, 1), ("draft", 0, 1), ("hidden", 1, 2), ("hidden", 2, 0)]
HOSTS = {"one host": ("a", "a", "a"), "several hosts": ("a", "b", "c")}
NUM_SLOTS = 3


def meet(store: Any, worker: int, hosts: tuple[str, ...]) -> Sockets:
    sockets = Sockets(Meeting(store, LAYOUT, worker, hosts[worker]), hosts, KEYS)
    sockets.set_timeout(20.0)
    return sockets


def in_threads(work: Callable[[int, Sockets], T], hosts: tuple[str, ...] = HOSTS["one host"]) -> list[T]:
    """Return what `work` returns for each worker, all at once, connected to each other."""
    store = torch.distributed.HashStore()  # type: ignore[attr-defined]
    with ThreadPoolExecutor(len(hosts)) as pool:
        connected = list(pool.map(lambda worker: meet(store, worker, hosts), range(len(hosts))))
        said = list(pool.map(work, range(len(hosts)), connected))
    for sockets in connected:
        for line in sockets.lines.values():
            line.socket.close()
    return said


@pytest.mark.parametrize("hosts", HOSTS.values(), ids=HOSTS.keys())
def test_messages_of_any_size_arrive_whole_and_in_order(hosts: tuple[str, ...]) -> None:
    """From one value to more than the system's buffers hold; channels of one edge and of others by turns."""
    payloads: tuple[Payload, ...] = ("verdict", "draft")
    kinds = list(product(payloads, (1, 7, 1 << 10, 1 << 16, 1 << 19))) * 3
    random.Random(1).shuffle(kinds)

    def work(worker: int, sockets: Sockets) -> list[int]:
        if worker == 0:
            out = {kind: sockets.outbox(channel(kind[0], 0, 1, kind[1]), NUM_SLOTS) for kind in kinds}
            for value, kind in enumerate(kinds):
                out[kind].slot()[0].fill_(value)
                out[kind].send()
        if worker != 1:
            return []
        inboxes = {kind: sockets.inbox(channel(kind[0], 0, 1, kind[1]), NUM_SLOTS) for kind in kinds}
        taken = [inboxes[kind].take()[0] for kind in kinds]
        return [int(values[-1]) for values in taken if bool((values == values[0]).all())]

    assert in_threads(work, hosts)[1] == list(range(len(kinds)))


def test_a_taken_message_holds_until_its_slot_comes_again() -> None:
    """Its tensors are not touched by as many further messages as there are other slots."""

    def work(worker: int, sockets: Sockets) -> list[list[int]]:
        seen = []
        if worker == 0:
            box = sockets.outbox(channel("verdict", 0, 1), NUM_SLOTS)
            for value in range(12):
                box.slot()[0].fill_(value)
                box.send()
        if worker == 1:
            inbox, held = sockets.inbox(channel("verdict", 0, 1), NUM_SLOTS), list[Any]()
            for _ in range(12):
                inbox.post()
                held.append(inbox.take()[0])
                seen.append([int(values[0]) for values in held[-NUM_SLOTS:]])
        return seen

    assert in_threads(work)[1] == [list(range(max(0, last - NUM_SLOTS + 1), last + 1)) for last in range(12)]


@pytest.mark.parametrize("hosts", HOSTS.values(), ids=HOSTS.keys())
def test_a_message_that_does_not_come_in_time_is_an_error(hosts: tuple[str, ...]) -> None:
    """Its text names what was waited for, whose it is, and for how long; half a message is none."""

    def work(worker: int, sockets: Sockets) -> str:
        inbox = sockets.inbox(channel("verdict", 0, 1), NUM_SLOTS) if worker == 1 else None
        if inbox is None:
            return ""
        sockets.set_timeout(0.1)
        with pytest.raises(LostRankError) as nothing:
            inbox.take()
        return str(nothing.value)

    said = in_threads(work, hosts)[1]
    assert said.startswith("waited 0.1 s for the verdict of rank 0 (draft): ")


def test_half_a_message_is_not_taken_for_one() -> None:
    """A sender that goes in the middle of one is gone."""

    def work(worker: int, sockets: Sockets) -> str:
        line = sockets.lines.get(("verdict", 0, 1))
        if worker == 0 and line is not None:
            line.socket.sendall(b"1" * 9)
            line.socket.close()
        if worker != 1:
            return ""
        with pytest.raises(LostRankError) as caught:
            sockets.inbox(channel("verdict", 0, 1), NUM_SLOTS).take()
        return str(caught.value)

    assert in_threads(work)[1] == "rank 0 (draft) is gone, and with it its verdict"


@pytest.mark.parametrize("hosts", HOSTS.values(), ids=HOSTS.keys())
def test_what_was_sent_can_be_taken_after_the_sender_has_gone(hosts: tuple[str, ...]) -> None:
    """And then the next receipt says that it is gone."""

    def work(worker: int, sockets: Sockets) -> list[Any]:
        if worker == 0:
            box = sockets.outbox(channel("verdict", 0, 1), NUM_SLOTS)
            for value in range(3):
                box.slot()[0].fill_(value)
                box.send()
            sockets.close()
        if worker != 1:
            return []
        inbox = sockets.inbox(channel("verdict", 0, 1), NUM_SLOTS)
        taken: list[Any] = [int(inbox.take()[0][0]) for _ in range(3)]
        with pytest.raises(LostRankError, match=r"^rank 0 \(draft\) is gone"):
            inbox.take()
        return taken

    assert in_threads(work, hosts)[1] == [0, 1, 2]


@pytest.mark.parametrize("is_gone", [True, False], ids=["gone", "stalled"])
def test_a_receiver_that_takes_nothing_is_an_error_sooner_or_later(is_gone: bool) -> None:
    """A sender does not wait for the receipt; but what no buffer holds must be taken in time."""

    def work(worker: int, sockets: Sockets) -> str:
        if worker == 1 and is_gone:
            sockets.close()
        if worker != 0:
            return ""
        sockets.set_timeout(0.1)
        box = sockets.outbox(channel("verdict", 0, 1, 1 << 18), NUM_SLOTS)

        def send_for_ever() -> None:
            while True:
                box.slot()
                box.send()

        with pytest.raises(LostRankError) as caught:
            send_for_ever()
        return str(caught.value)

    said = in_threads(work)[0]
    if is_gone:
        assert said == "rank 1 (stage 0) is gone, and with it its receipt of the verdict"
    else:
        assert said.startswith("waited 0.1 s for the receipt of the verdict of rank 1 (stage 0): ")


def test_strangers_are_turned_away() -> None:
    """A caller without the run's token, or without a word, takes nobody's place."""
    store, hosts = torch.distributed.HashStore(), HOSTS["several hosts"]  # type: ignore[attr-defined]
    with ThreadPoolExecutor(3) as pool:
        # Worker 0 listens for worker 2, which comes after the strangers.
        waiting = [pool.submit(meet, store, worker, hosts) for worker in (0, 1)]
        host, port = store.get("address/0").decode().split()
        with socket.create_connection((host, int(port))) as rude, socket.create_connection((host, int(port))):
            rude.sendall(b"x" * 100)
        connected = [future.result() for future in (*waiting, pool.submit(meet, store, 2, hosts))]
    box = connected[2].outbox(channel("hidden", 2, 0), NUM_SLOTS)
    box.slot()[0].fill_(42)
    box.send()
    assert int(connected[0].inbox(channel("hidden", 2, 0), NUM_SLOTS).take()[0][0]) == 42
    for sockets in connected:
        sockets.close()


WAYS: list[tuple[Control, bool, Packing]] = [
    ("early", False, "per_edge"), ("late", True, "per_tensor"), ("lockstep", True, "per_edge"),
]  # fmt: skip
LAYOUTS = [
    Layout(n, head, lag, features, control, sampled, messages)
    for n, head, lag, features, (control, sampled, messages) in product(
        (1, 2, 3), PLACEMENTS, (0, 1, 2), (None, (0,)), WAYS
    )
    if n > 1 or (lag == 0 and head == "last_stage")
]  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_the_edges_are_those_that_any_run_uses(layout: Layout) -> None:
    """Whatever the verdicts, no message goes where no connection is, and no connection is made for nothing."""
    used = set[Edge]()
    for verdicts in product((True, False), repeat=4):
        for schedule in (spd, plain):
            state, left = spd.start(layout, len(verdicts)), list(verdicts)
            while not state.is_done:
                for worker in range(layout.num_workers):
                    ops = schedule.program(state, worker)
                    used |= {Edge(op.payload, worker, op.to) for op in ops if isinstance(op, Send)}
                is_awaited = schedule.verdict_position(state) is not None
                state = schedule.advance(state, Verdict(left.pop()) if is_awaited else None)
    assert set(edges_of(layout)) == used and list(edges_of(layout)) == sorted(used)


@given(
    offset_s=st.floats(-1e6, 1e6), start_s=st.floats(0, 1e6),
    delays_s=st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1),
)  # fmt: skip
def test_an_offset_is_known_as_well_as_it_claims(
    offset_s: float, start_s: float, delays_s: list[tuple[float, float]]
) -> None:
    """However long the ways there and back take, and however unlike they are; the quickest exchange decides."""
    exchanges, now_s = [], start_s
    for there_s, back_s in delays_s:
        exchanges.append(Exchange(now_s, now_s + there_s + offset_s, now_s + there_s + back_s))
        now_s += there_s + back_s
    found = offset_of(exchanges)
    rounding_s = 1e-8
    assert abs(found.offset_s - offset_s) <= found.error_s + rounding_s
    assert abs(found.error_s - min(there_s + back_s for there_s, back_s in delays_s) / 2) <= rounding_s


@given(
    at_s=st.floats(0, 1e4), length_s=st.floats(1.0, 1e4), offset_s=st.floats(-1e4, 1e4), drift=st.floats(-1e-3, 1e-3),
    parts=st.lists(st.floats(0, 1)),
)  # fmt: skip
def test_a_clock_that_drifts_evenly_is_put_right(
    at_s: float, length_s: float, offset_s: float, drift: float, parts: list[float]
) -> None:
    """Between two offsets that are known exactly, every time becomes what the other clock said then."""

    def other_s(time_s: float) -> float:
        return time_s + offset_s + drift * (time_s - at_s)

    ends = [Offset(time_s, other_s(time_s) - time_s, 0.0) for time_s in (at_s, at_s + length_s)]
    mine = array("d", [at_s + part * length_s for part in parts])
    expected = [other_s(time_s) for time_s in mine]
    shift(mine, *ends)
    assert list(mine) == pytest.approx(expected, abs=1e-6)


@given(times=st.lists(st.floats(0, 1e4)), offset_s=st.floats(-1e3, 1e3), noise_s=st.floats(-1e-3, 1e-3))
def test_noise_of_two_offsets_does_not_grow_outside_of_them(
    times: list[float], offset_s: float, noise_s: float
) -> None:
    """Two that were measured at nearly one time tell nothing of a drift."""
    mine = array("d", times)
    shift(mine, Offset(10.0, offset_s, 1.0), Offset(10.0 + 1e-6, offset_s + noise_s, 1.0))
    assert all(abs(moved - time_s - offset_s) <= abs(noise_s) + 1e-9 for moved, time_s in zip(mine, times, strict=True))
