"""Which rank is to blame: told from waits, ends and words, without any process."""

import ctypes
import signal
from itertools import permutations, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from executor.errors import LaunchError, LostRankError
from executor.events import TokenVerified
from executor.launch.faults import Death, Failure, Stall, culprit, error_of, failure_of, where
from executor.launch.tokens import TokenLog
from executor.plan import Job
from executor.progress import Doing, Place, Progress, num_cells, rank_name
from spdsim.errors import InputError
from spdsim.schedules.spd import Layout

LAYOUT = Layout(3)
JOBS = (Job("plain", 5, (1,), 4), Job("spd", 5, (1,), 4))


def victim(worker: int) -> Failure:
    return Failure(worker, LostRankError, "waited in vain", is_victim=True)


def waits(peer: int, cycle: int = 7) -> Place:
    return Place(1, cycle, Doing.WAITING, peer)


WORKS = Place(1, 7, Doing.WORKING, -1)


@given(st.data())
def test_whoever_waits_the_rank_that_does_not_is_to_blame(data: st.DataObject) -> None:
    """Waits that lead to one rank are followed to it from any victim, in whatever order victims speak up."""
    count = data.draw(st.integers(2, 10))
    order = data.draw(st.permutations(range(count)))
    # Each waits for one that stands before it, so that all waits end at the first.
    places = [WORKS] * count
    for index, worker in enumerate(order[1:], start=1):
        places[worker] = waits(order[data.draw(st.integers(0, index - 1))])
    speakers = data.draw(st.lists(st.sampled_from(order[1:]), min_size=1, unique=True))
    assert culprit({worker: victim(worker) for worker in speakers}, places, ()) == Stall(order[0])


@pytest.mark.parametrize("order", list(permutations(range(3))), ids=str)
def test_in_a_ring_of_waits_the_one_that_says_nothing_is_to_blame(order: tuple[int, ...]) -> None:
    """A rank that stopped while it waited looks like any other; but the others come to say that they waited in vain."""
    places = [waits(2), waits(0), waits(1)]
    *speakers, mute = order
    assert culprit({worker: victim(worker) for worker in speakers}, places, ()) == Stall(mute)


def test_in_a_ring_of_waits_in_which_all_speak_the_one_furthest_behind_is_named() -> None:
    """As in a schedule that does not fit its messages: the oldest wait comes first."""
    places = [waits(1, cycle=8), waits(2, cycle=6), waits(0, cycle=7)]
    assert culprit({worker: victim(worker) for worker in range(3)}, places, ()) == Stall(1)


def test_a_process_that_is_stopped_is_to_blame_whoever_waits() -> None:
    """The system knows better than waits."""
    assert culprit({0: victim(0)}, [waits(1), WORKS, waits(1)], (2,)) == Stall(2)


@pytest.mark.parametrize("real", [Death(1, -9), Failure(1, InputError, "no such file"), Stall(1)], ids=str)
def test_a_fate_of_its_own_explains_victims(real: Death | Failure | Stall) -> None:
    """Whether it becomes known before what it caused or after."""
    first, last = {0: victim(0), 1: real, 2: victim(2)}, {1: real, 0: victim(0)}
    for fates in (first, last):
        assert culprit(fates, [waits(2), waits(0), waits(0)], ()) == real


@pytest.mark.parametrize("worker", range(LAYOUT.num_workers))
@pytest.mark.parametrize("code", [-signal.SIGKILL, -signal.SIGSEGV, 0, 3])
def test_the_end_of_a_rank_is_told_with_its_place(worker: int, code: int) -> None:
    """Who, where, and how it ended, in one line."""
    error = error_of(Death(worker, code), LAYOUT, WORKS, JOBS, 60.0)
    how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
    assert type(error) is LostRankError and "\n" not in str(error)
    assert str(error).startswith(f"{rank_name(LAYOUT, worker)} {how} in cycle 7 of sequence 5")


def test_places_are_told_as_people_say_them() -> None:
    """Loading is no cycle, the prefill is no number, and plain decoding of a sequence is not speculation on it."""
    said = {where(Place(job, cycle, doing, -1), JOBS) for job, cycle, doing in product((0, 1), (-1, 3), Doing)}
    assert said == {
        "while starting", "while loading", "after its last cycle",
        "in the prefill of sequence 5", "in cycle 3 of sequence 5",
        "in the prefill of sequence 5 (plain decoding)", "in cycle 3 of sequence 5 (plain decoding)",
    }  # fmt: skip


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(), RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: you tried"),
        OSError("Cannot allocate memory (os error 12)"),
    ],
    ids=str,
)  # fmt: skip
def test_want_of_memory_is_told_as_such(error: Exception) -> None:
    """Whoever says it: while loading the run cannot start, later a rank is lost; either way it is no victim."""
    for doing, kind in ((Doing.STARTING, LaunchError), (Doing.LOADING, LaunchError), (Doing.WORKING, LostRankError)):
        failure = failure_of(error, LAYOUT, 2, Place(1, 7, doing, -1), JOBS)
        assert failure.error is kind and not failure.is_victim
        assert failure.text.startswith("rank 2 (stage 1) ran out of memory ") and "take more stages" in failure.text


def test_an_error_meant_for_the_user_stays_what_it_is() -> None:
    """Its type and its text, with the rank named, once."""
    failure = failure_of(InputError("config.json: no such file"), LAYOUT, 0, WORKS, JOBS)
    assert (failure.error, failure.text) == (InputError, "rank 0 (draft): config.json: no such file")
    again = failure_of(InputError(failure.text), LAYOUT, 0, WORKS, JOBS)
    assert again.text == failure.text


@given(st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 2**31 - 1), st.booleans())), st.integers(0, 3))
def test_a_log_of_tokens_gives_back_what_was_written(written: list[tuple[int, int, bool]], unused: int) -> None:
    """Each token once, in order, of any job and any number, as soon as it is written."""
    memory = (ctypes.c_longlong * (len(written) + unused))()
    writer, reader = TokenLog(memory), TokenLog(memory)
    for token in written:
        event = TokenVerified(*token)
        writer.write(event)
        assert list(reader.read(reader.end())) == [event]
    assert list(reader.read(reader.end())) == []


def test_a_log_of_tokens_can_be_read_up_to_a_job() -> None:
    """What belongs to a later job waits, and nothing is read twice."""
    memory = (ctypes.c_longlong * 6)()
    writer, reader = TokenLog(memory), TokenLog(memory)
    for job in (0, 0, 1, 2, 2):
        writer.write(TokenVerified(job, job, True))
    jobs = [[event.job for event in reader.read(reader.end(), last_job)] for last_job in (0, 0, 1, None)]
    assert jobs == [[0, 0], [], [1], [2, 2]]


@given(st.integers(1, 9), st.data())
def test_ranks_write_their_own_places_in_shared_memory(count: int, data: st.DataObject) -> None:
    """What one says of itself all can read, and it changes nothing of the others."""
    memory = (ctypes.c_longlong * num_cells(count))()
    ours, theirs = Progress(count, memory), Progress(count, memory)
    expected = [Place(0, 0, Doing.STARTING, 0)] * count
    for worker in data.draw(st.lists(st.integers(0, count - 1), max_size=20)):
        job, cycle, peer = (data.draw(st.integers(-1, 2**40)) for _ in range(3))
        ours.begin(worker, job, cycle)
        assert theirs.place(worker) == Place(job, cycle, Doing.WORKING, -1)
        ours.is_doing(worker, Doing.WAITING, peer)
        expected[worker] = Place(job, cycle, Doing.WAITING, peer)
        assert [theirs.place(other) for other in range(count)] == expected
