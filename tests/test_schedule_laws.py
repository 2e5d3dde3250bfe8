"""Laws of the schedule, tried on every verdict string up to a length, for layouts of every kind."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from functools import lru_cache
from itertools import combinations, product

import pytest

from spdsim import theory
from spdsim.errors import ScheduleError
from spdsim.schedules.ops import Compute, Op, Recv, Send, Verdict, op_name
from spdsim.schedules.spd import Control, Layout, PipelineState, advance, program, start, verdict_position
from tests.machines import PLACEMENTS

CONTROLS: tuple[Control, ...] = ("early", "late", "lockstep")
EVERY_LAYOUT = [
    Layout(n, head, lag, features, control, sampled)
    for n in (1, 2, 3, 4)
    for head in PLACEMENTS
    for lag in (0, 1, 2)
    for features in (None, (0,), ())
    for control in CONTROLS
    for sampled in (False, True)
    if not (n == 1 and lag) and not (sampled and head != "sharded") and not (features and control == "late")
]
LAYOUTS = [layout for number, layout in enumerate(EVERY_LAYOUT) if number % 7 in (0, 3)]
"""Two in seven, and yet every two settings together: the first test sees to it."""


def states(layout: Layout, verdicts: tuple[bool, ...]) -> list[PipelineState]:
    """Return the states of all cycles, the prefill first."""
    state, found = start(layout, len(verdicts) + 1), []
    while not state.is_done:
        found.append(state)
        is_draft_verdict = state.is_full and state.cycle >= 0
        accepted = verdicts[state.committed - 1] if is_draft_verdict else True
        state = advance(state, Verdict(accepted) if state.is_full else None)
    return found


def all_states(layout: Layout, length: int) -> Iterator[PipelineState]:
    """Every state that some verdict string of this length leads to, once: strings have most of theirs in common."""
    strings = product((True, False), repeat=length)
    return iter(dict.fromkeys(state for verdicts in strings for state in states(layout, verdicts)))


@lru_cache(maxsize=1024)
def of_kind(state: PipelineState, kind: type) -> Counter[tuple[object, ...]]:
    found: Counter[tuple[object, ...]] = Counter()
    for worker in range(state.layout.num_workers):
        for op in program(state, worker):
            if isinstance(op, kind):
                match op:
                    case Send(payload, position, to):
                        found[payload, position, worker, to] += 1
                    case Recv(payload, position, source):
                        found[payload, position, source, worker] += 1
                    case Compute(task, position):
                        found[task, position] += 1
    return found


def test_the_layouts_that_are_tried_have_every_two_settings_together() -> None:
    """Whatever two settings the laws could fail for."""
    every, tried = (
        {pair for layout in layouts for pair in combinations(asdict(layout).items(), 2)}
        for layouts in (EVERY_LAYOUT, LAYOUTS)
    )
    assert every == tried


@pytest.mark.parametrize(("num_stages", "lag"), [(1, 0), *product((2, 3, 5, 8), (0, 1, 2))])
def test_the_number_of_cycles_is_the_closed_form_for_every_verdict_string(num_stages: int, lag: int) -> None:
    """C_k(K) = (K - 1) + (n + k - 1)(R + 1), R among y_2 … y_(K-1); C_k(1) = 0."""
    for length in range(8):
        for verdicts in product((True, False), repeat=length):
            rejections = 0 if num_stages == 1 else sum(not verdict for verdict in verdicts[:-1])
            cycles = len(states(Layout(num_stages, verification_lag=lag), verdicts)) - 1
            assert cycles == theory.cycles(length + 1, rejections, num_stages, lag)


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_every_message_sent_in_a_cycle_is_received_in_that_cycle(layout: Layout) -> None:
    """No message is left over by any verdict, and nobody waits for one that is not sent."""
    for state in all_states(layout, 4):
        assert of_kind(state, Send) == of_kind(state, Recv)


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_no_cycle_deadlocks(layout: Layout) -> None:
    """Run greedily, every worker comes to the end of its cycle."""
    for state in all_states(layout, 3):
        todo = {worker: list(program(state, worker)) for worker in range(layout.num_workers)}
        mail: set[tuple[object, ...]] = set()
        while any(todo.values()):
            ready = [w for w, ops in todo.items() if ops and _can_run(ops[0], w, mail)]
            assert ready, f"{state}: {todo}"
            for worker in ready:
                op = todo[worker].pop(0)
                if isinstance(op, Send):
                    mail.add((op.payload, op.position, worker, op.to))


def _can_run(op: Op, worker: int, mail: set[tuple[object, ...]]) -> bool:
    return not isinstance(op, Recv) or (op.payload, op.position, op.source, worker) in mail


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_each_position_is_committed_once_and_in_order(layout: Layout) -> None:
    """y_1 is position 0; whatever is rejected, the next verdict is on the next position."""
    for verdicts in product((True, False), repeat=5):
        run = states(layout, verdicts)
        assert [verdict_position(state) for state in run if state.is_full] == list(range(6))
        commits = [task for state in run for task in of_kind(state, Compute).elements() if task[0] == "commit"]
        assert commits == [("commit", position) for position in range(6)]


@lru_cache(maxsize=1024)
def forwards(state: PipelineState) -> list[tuple[int, int]]:
    """Return (stage, position) of every forward pass of a cycle."""
    return [
        (stage, op.position)
        for stage in range(state.layout.num_stages)
        for op in program(state, state.layout.worker_of_stage(stage))
        if isinstance(op, Compute) and op.task == "forward"
    ]


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_each_token_passes_the_stages_in_order_before_it_is_verified(layout: Layout) -> None:
    """Between two rejections a position is run by stage 0, 1, …, n - 1 in consecutive cycles."""
    n = layout.num_stages
    for verdicts in product((True, False), repeat=5):
        ran: dict[int, list[tuple[int, int]]] = {}
        for state in states(layout, verdicts)[1:]:
            if state.rejected:
                ran = {}
            for stage, passing in forwards(state):
                ran.setdefault(passing, []).append((state.cycle, stage))
            position = verdict_position(state)
            if position is not None:
                cycles, stages = zip(*ran[position - 1], strict=True)
                assert list(stages) == list(range(n))
                assert list(cycles) == list(range(cycles[0], cycles[0] + n))
                assert cycles[-1] == state.cycle - layout.verification_lag


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_a_program_depends_on_positions_only_by_an_offset(layout: Layout) -> None:
    """The engine compiles one program for each shape of the state, so the shape must say it all."""
    seen: dict[tuple[object, ...], object] = {}
    for state in all_states(layout, 4):
        shape = (state.cycle < 0, len(state.in_flight), state.rejected)
        ops = [
            [(op_name(op), op.position - state.oldest) for op in program(state, w)] for w in range(layout.num_workers)
        ]
        assert seen.setdefault(shape, ops) == ops


def test_decoding_ends_at_any_of_several_end_tokens() -> None:
    """An end token ends decoding as y_1, accepted, and corrected."""
    ends = frozenset({7, 9})
    assert advance(start(Layout(2), 10, ends), Verdict(True, 9)).is_done
    for accepted in (True, False):
        state = advance(start(Layout(2), 10, ends), Verdict(True, 1))
        state = advance(state, None)
        assert advance(state, Verdict(accepted, 7)).is_done
        assert not advance(state, Verdict(accepted, 8)).is_done


def test_a_state_refuses_what_its_cycle_does_not_allow() -> None:
    """A verdict in a fill cycle, none in a full one, a cycle after the end, and impossible layouts."""
    prefill = start(Layout(3), 2)
    with pytest.raises(ScheduleError, match="needs a verdict"):
        advance(prefill, None)
    fill = advance(prefill, Verdict(True))
    with pytest.raises(ScheduleError, match="fill cycle"):
        advance(fill, Verdict(True))
    with pytest.raises(ScheduleError, match="ended"):
        advance(advance(start(Layout(3), 1), Verdict(True)), None)
    with pytest.raises(ScheduleError, match="max_tokens is 0"):
        start(Layout(3), 0)
    with pytest.raises(ScheduleError, match="num_stages is 0"):
        Layout(0)
    with pytest.raises(ScheduleError, match="must be 0 with one stage"):
        Layout(1, verification_lag=1)
    with pytest.raises(ScheduleError, match="verification_lag is -1"):
        Layout(2, verification_lag=-1)
    with pytest.raises(ScheduleError, match="worker is 9"):
        program(fill, 9)


def test_the_rollback_is_the_first_op_of_the_cycle_after_a_rejection() -> None:
    """Every stage rolls back to the corrected token, and only then."""
    layout = Layout(3)
    for state in states(layout, (True, False, True, True))[1:]:
        for stage in range(3):
            ops = program(state, layout.worker_of_stage(stage))
            rollbacks = [op for op in ops if isinstance(op, Compute) and op.task == "rollback"]
            assert rollbacks == ([Compute("rollback", state.oldest)] if state.rejected else [])
            assert not rollbacks or ops[0] == rollbacks[0]
