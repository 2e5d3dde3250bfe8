"""Schedules with several sequences in flight: their policy against a slow model, their laws, and one sequence."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest

from spdsim import theory
from spdsim.acceptance import Bernoulli, Coins, toss
from spdsim.analysis.concurrent import together, token_times
from spdsim.distributions import Constant
from spdsim.engine import Engine, Request
from spdsim.errors import ScheduleError
from spdsim.machine import Duration, Link, Machine, Message, Worker
from spdsim.schedules import pipeline_shared, plain_pipeline, rounds, rounds_shared, slots, spd_shared
from spdsim.schedules.ops import Compute, Payload, Recv, Send, Task
from spdsim.schedules.spd import Control, Layout, LmHead
from spdsim.trace import Span, Trace
from tests import slow_pipeline
from tests.machines import PLACEMENTS, empty_trace
from tests.machines import machine as spd_machine

TIMES_S: dict[str, Any] = {
    "prefill": 5.0, "draft": 0.7, "verify": 0.3, "combine": 0.1, "commit": 0.05, "rollback": 0.02, "hop": 0.11,
    "post": 0.01,
}  # fmt: skip
CONTROLS: tuple[Control, ...] = ("early", "late", "lockstep")


def decoded(machine: Machine, num_tokens: int, coins: Coins | tuple[Coins, ...]) -> Trace:
    trace = empty_trace(machine)
    Engine(machine, trace).decode(Request(0, num_tokens, coins))
    return trace


def fixed(letters: str) -> Coins:
    return Coins([True, *(letter == "A" for letter in letters), *[True] * 12])


def pipeline(stages: int, **times_s: float) -> Machine:
    """A plain pipeline for one sequence: forward, verify, commit and hop as given, else free."""
    tasks: dict[tuple[int, Task], Duration] = {(0, "commit"): Duration(Constant(times_s.get("commit", 0.0)))}
    tasks[stages - 1, "verify"] = Duration(Constant(times_s.get("verify", 0.0)))
    for stage in range(stages):
        tasks[stage, "forward"] = Duration(Constant(times_s.get(f"forward_{stage}", times_s.get("forward", 1.0))))
        tasks[stage, "prefill"] = Duration(Constant(0.0))
    edges: list[tuple[Payload, int, int]] = [("hidden", stage, stage + 1) for stage in range(stages - 1)]
    edges.append(("verdict", stages - 1, 0))
    hop = Constant(times_s.get("hop", 0.0))
    return Machine(
        plain_pipeline.Layout(stages), tuple(Worker(stage, "stage", stage) for stage in range(stages)),
        tuple(map(str, range(stages))), "turns", tasks, tuple(Link(str(edge)) for edge in edges),
        {edge: Message(link, 10, 20, hop, hop) for link, edge in enumerate(edges)}, schedule=plain_pipeline,
    )  # fmt: skip


def shared(machine: Machine, sequences: int, entries: int = 1) -> Machine:
    layout = pipeline_shared.Layout(machine.layout.num_stages, sequences, entries)
    return replace(machine, layout=layout, schedule=pipeline_shared)


def played(schedule: Any, layout: Any, verdicts: list[str]) -> Iterator[slots.State]:
    """Yield the states of sequences with these verdicts, the one after the prefill first."""
    state = schedule.start(layout, len(verdicts[0]) + 1)
    judge = schedule.judge(state, tuple(map(fixed, verdicts)))
    while not state.is_done:
        state = schedule.advance(state, judge.outcome(state))
        yield state


def logged(states: list[slots.State]) -> slow_pipeline.Log:
    log = slow_pipeline.Log([[(token.sequence, token.position) for token in state.slots[0]] for state in states])
    for before in states[:-1]:
        log.told.append([(token.sequence, token.position) for token in slots.after(before.leaving)])
    return log


@pytest.mark.parametrize("placement", PLACEMENTS)
@pytest.mark.parametrize("control", CONTROLS)
def test_one_sequence_is_spd_op_for_op_and_second_for_second(placement: LmHead, control: Control) -> None:
    layout = Layout(3, placement, control=control, sampled=True)
    machine = spd_machine(layout, forward=[1.0, 1.3, 0.9], **TIMES_S)
    several = replace(machine, layout=spd_shared.Layout(layout, 1), schedule=spd_shared)
    for letters in product("AR", repeat=4):
        coins = fixed("".join(letters))
        assert list(decoded(several, 5, (coins,)).spans()) == list(decoded(machine, 5, coins).spans())


def test_one_sequence_is_the_plain_pipeline_op_for_op_and_second_for_second() -> None:
    machine = pipeline(3, forward_0=1.3, verify=0.3, commit=0.05, hop=0.11)
    one, several = (
        list(decoded(each, 6, coins).spans())
        for each, coins in ((machine, Coins([True] * 9)), (shared(machine, 1), (Coins([True] * 9),)))
    )

    def told(spans: list[Span], worker: int) -> list[tuple[object, ...]]:
        return [(s.op, s.position, s.start_s, s.end_s) for s in spans if s.worker == worker and "recv" not in s.op]

    assert all(told(one, worker) == told(several, worker) for worker in range(3))


@pytest.mark.parametrize("one_pass", [False, True])
def test_one_sequence_is_draft_then_verify_span_for_span(one_pass: bool) -> None:
    layout = rounds.Layout(2, one_pass, True, 2)
    machine = rounds_machine(layout)
    several = replace(machine, layout=rounds_shared.Layout(layout, 1), schedule=rounds_shared)
    for letters in product("AR", repeat=4):
        coins = fixed("".join(letters))
        assert list(decoded(several, 5, (coins,)).spans()) == list(decoded(machine, 5, coins).spans())


def rounds_machine(layout: rounds.Layout) -> Machine:
    times_s: dict[Task, float] = {
        "draft": 0.2,
        "forward": 1.0,
        "verify": 0.3,
        "prefill": 2.0,
        "commit": 0.1,
        "rollback": 0.05,
    }
    tasks = {
        (worker, task): Duration(Constant(seconds), 1e-3)
        for worker in range(layout.num_workers)
        for task, seconds in times_s.items()
    }
    last, hop = layout.num_stages, Constant(0.1)
    edges: list[tuple[Payload, int, int]] = [("draft", 0, 1), ("verdict", last, 0), ("features", last, 0)]
    edges += [("hidden", stage, stage + 1) for stage in range(1, last)]
    return Machine(
        layout, tuple(Worker(w, layout.role(w), w) for w in range(last + 1)), tuple(map(str, range(last + 1))), "turns",
        tasks, tuple(Link(str(edge)) for edge in edges),
        {edge: Message(link, 10, 20, hop, hop) for link, edge in enumerate(edges)}, schedule=rounds,
    )  # fmt: skip


@pytest.mark.parametrize(("num_stages", "sequences", "length"), [(2, 1, 5), (3, 1, 5), (2, 2, 4), (3, 2, 4), (2, 3, 2),
                                                                 (3, 3, 2)])  # fmt: skip
@pytest.mark.parametrize("drafts", [True, False])
def test_every_short_run_is_that_of_the_slow_model(num_stages: int, sequences: int, length: int, drafts: bool) -> None:
    """Who enters, with which position, and what is told to whom, in every cycle and for every string of verdicts."""
    texts = ["".join(letters) for letters in product("AR", repeat=length)]
    for entries in range(1, sequences + 1):
        layout: Any = (
            spd_shared.Layout(Layout(num_stages), sequences, entries)
            if drafts
            else pipeline_shared.Layout(num_stages, sequences, entries)
        )
        for chosen in product(texts if drafts else texts[:1], repeat=sequences):
            found = logged(list(played(slots, layout, list(chosen))))
            assert found == slow_pipeline.run(num_stages, entries, list(chosen), drafts=drafts)


def random_verdicts(sequences: int, p: float, length: int = 24) -> list[str]:
    coins = np.random.default_rng(5).random((sequences, length)) < p
    return ["".join("A" if accepted else "R" for accepted in row) for row in coins]


@pytest.mark.parametrize("p", [0.0, 0.3, 0.7, 1.0])
@pytest.mark.parametrize(("num_stages", "sequences", "entries"), [(4, 3, 1), (4, 5, 2), (3, 7, 3), (5, 4, 4)])
def test_slots_are_conserved_and_tokens_come_in_order(p: float, num_stages: int, sequences: int, entries: int) -> None:
    """All places are taken while there are sequences for them, and a sequence's tokens in flight are consecutive."""
    layout = spd_shared.Layout(Layout(num_stages), sequences, entries)
    told: dict[int, list[int]] = {sequence: [0] for sequence in range(sequences)}
    for state in played(slots, layout, random_verdicts(sequences, p)):
        live = [at for at, number in enumerate(state.committed) if number < state.max_tokens]
        assert len(state.slots[0]) == min(entries, len(live))
        assert all(len(slot) <= entries for slot in state.slots)
        for sequence in range(sequences):
            oldest_first = [t.position for slot in reversed(state.slots) for t in slot if t.sequence == sequence]
            first = state.committed[sequence] - 1
            assert oldest_first == list(range(first, first + len(oldest_first)))
        for sequence, position in slots.after(state.leaving):
            told[sequence].append(position)
    assert all(positions == list(range(25)) for positions in told.values())


@pytest.mark.parametrize(
    ("num_stages", "sequences", "entries"), [(4, 1, 1), (4, 3, 1), (4, 4, 1), (3, 7, 2), (3, 5, 5)]
)
def test_without_a_right_draft_spd_is_the_plain_pipeline(num_stages: int, sequences: int, entries: int) -> None:
    """Every token is told in the cycle in which it is without any drafts: they only take places that were empty."""
    verdicts = ["R" * 12] * sequences
    spd_layout = spd_shared.Layout(Layout(num_stages), sequences, entries)
    plain_layout = pipeline_shared.Layout(num_stages, sequences, entries)
    ours, plain = (logged(list(played(slots, layout, verdicts))).told for layout in (spd_layout, plain_layout))
    assert list(map(sorted, ours)) == list(map(sorted, plain))


def test_with_as_many_sequences_as_places_nothing_is_drafted() -> None:
    layout = spd_shared.Layout(Layout(4), 8, 2)
    states = list(played(slots, layout, random_verdicts(8, 0.5)))
    assert not any(slots.drafted(state) for state in states if min(state.committed) < 24)


@pytest.mark.parametrize("p", [0.3, 0.9])
def test_with_a_place_for_everyone_each_takes_the_cycles_of_spd_alone(p: float) -> None:
    sequences, num_stages = 3, 4
    verdicts = random_verdicts(sequences, p)
    cycles = dict.fromkeys(range(sequences), 0)
    for state in played(slots, spd_shared.Layout(Layout(num_stages), sequences, sequences), verdicts):
        for sequence, _ in state.leaving:
            cycles[sequence] = state.cycle + 1
    for sequence, letters in enumerate(verdicts):
        assert cycles[sequence] == theory.cycles(len(letters) + 1, letters[:-1].count("R"), num_stages)


@pytest.mark.parametrize(("sequences", "entries"), [(1, 1), (3, 1), (4, 2), (5, 5)])
def test_with_every_draft_right_a_full_slot_of_tokens_comes_in_every_cycle(sequences: int, entries: int) -> None:
    states = list(played(slots, spd_shared.Layout(Layout(4), sequences, entries), ["A" * 20] * sequences))
    while_all_live = [state for state in states if max(state.committed) < 20]
    assert all(len(state.leaving) == entries for state in while_all_live[3:])


def test_rejections_and_ends_that_cannot_be_are_refused() -> None:
    layout = spd_shared.Layout(Layout(2), 2)
    first = slots.advance(slots.start(layout, 2), frozenset())
    with pytest.raises(ScheduleError, match="no draft of sequence 1 is verified"):
        slots.advance(first, frozenset({1}))
    with pytest.raises(ScheduleError, match="verification_lag is 1: must be 0"):
        spd_shared.Layout(Layout(2, verification_lag=1), 2)
    with pytest.raises(ScheduleError, match="entries is 3: must be 1 to the 2"):
        pipeline_shared.Layout(2, 2, 3)


@pytest.mark.parametrize(("schedule", "layout"), [
    (spd_shared, spd_shared.Layout(Layout(3, "sharded", sampled=True), 5, 2)),
    (spd_shared, spd_shared.Layout(Layout(3, "own_device", control="lockstep"), 4, 3)),
    (pipeline_shared, pipeline_shared.Layout(3, 5, 2)),
])  # fmt: skip
def test_every_message_sent_in_a_cycle_is_received_in_it(schedule: Any, layout: Any) -> None:
    """And it is the same message, about as many sequences, at both ends."""
    for state in played(schedule, layout, random_verdicts(layout.sequences, 0.5, 8)):
        if state.is_done:
            break
        sent, received = [], []
        for worker in range(layout.num_workers):
            for op in schedule.program(state, worker):
                match op:
                    case Send(payload, position, to, batch):
                        sent.append((payload, position, worker, to, batch))
                    case Recv(payload, position, source, batch):
                        received.append((payload, position, source, worker, batch))
                    case Compute(_, _, _, batch):
                        assert batch
        assert sorted(sent) == sorted(received)
        assert len({message[:1] + message[2:4] for message in sent}) == len(sent)


# In seconds.


@pytest.mark.parametrize("sequences", [1, 2, 3, 4])
def test_few_sequences_take_turns_in_a_plain_pipeline_and_nobody_waits(sequences: int) -> None:
    """k tokens in the time of the stages and hops, which is what one sequence takes for its own."""
    machine = shared(pipeline(4, hop=0.125), sequences)
    trace = decoded(machine, 30, (Coins([True] * 40),) * sequences)
    for times_s in token_times(trace, 0, sequences, slots.stride(30, 4)):
        assert np.diff(times_s)[1:] == pytest.approx(4 * 1.0 + 4 * 0.125)


@pytest.mark.parametrize("sequences", [4, 6])
def test_many_sequences_are_as_fast_as_the_slowest_stage(sequences: int) -> None:
    machine = shared(pipeline(3, forward_1=2.0), sequences)
    trace = decoded(machine, 40, (Coins([True] * 50),) * sequences)
    for times_s in token_times(trace, 0, sequences, slots.stride(40, 3)):
        assert np.diff(times_s)[8:] == pytest.approx(sequences * 2.0)
    figures = together(trace, 0, sequences, slots.stride(40, 3))
    assert figures.tokens_per_s == pytest.approx(0.5, rel=0.05)
    assert figures.busy_fraction == pytest.approx([0.5, 1.0, 0.5], abs=0.05)


def test_rows_of_a_batch_take_what_the_law_of_rows_says_and_each_its_own_cache() -> None:
    """A round of two groups of three: factor 1.5 on what is common, and the context of each sequence for itself."""
    base, prompt, slope_s = pipeline(2), 100, 1e-3
    forward = Duration(Constant(1.0), slope_s, batch_factors=(1.0, 1.2, 1.5))
    tasks = dict(base.tasks) | {(0, "forward"): forward, (1, "forward"): forward}
    machine = shared(replace(base, tasks=tasks, prompt_tokens=prompt), 6, 3)
    trace = decoded(machine, 10, (Coins([True] * 20),) * 6)
    spans = [span for span in trace.spans() if span.op == "forward"]
    assert len(spans) == 2 * 2 * 9
    for span in spans:
        position = span.position % slots.stride(10, 2)
        assert span.end_s - span.start_s == pytest.approx(1.5 + slope_s * 3 * (prompt + position))


def test_a_message_about_several_sequences_holds_as_much_of_each() -> None:
    base = pipeline(2, hop=0.5)
    messages = {edge: replace(each, batch_bytes=7, batch_transit_s=0.25) for edge, each in base.messages.items()}
    trace = decoded(shared(replace(base, messages=messages), 2, 2), 3, (Coins([True] * 9),) * 2)
    sent = [span for span in trace.spans() if span.op == "send hidden" and span.cycle >= 0]
    received = [span for span in trace.spans() if span.op == "recv hidden" and span.cycle >= 0]
    assert {span.bytes for span in sent} == {17}
    assert received[0].end_s - sent[0].end_s == pytest.approx(0.75)


def test_a_round_lasts_as_long_for_all_and_brings_each_what_its_drafts_are_worth() -> None:
    layout = rounds.Layout(3)
    machine = rounds_machine(layout)
    several = replace(machine, layout=rounds_shared.Layout(layout, 3), schedule=rounds_shared)
    trace = decoded(several, 9, (fixed("AAAAAAAA"), fixed("RRRRRRRR"), fixed("ARAARAAA")))
    per_round = [[0] * 3 for _ in range(8)]
    for span in trace.spans():
        if span.op == "commit" and span.cycle >= 0:
            per_round[span.cycle][span.position // 13] += 1
    assert [row[0] for row in per_round] == [4, 4, 0, 0, 0, 0, 0, 0]
    assert [row[1] for row in per_round] == [1] * 8
    assert [row[2] for row in per_round][:4] == [2, 3, 3, 0]
    assert all(len(times) == 9 for times in token_times(trace, 0, 3, 13))


def test_random_runs_agree_with_the_law_of_one_sequence_for_each_of_several() -> None:
    """With a place for everyone and free rows, k sequences are k times as fast as one."""
    layout, p, sequences = Layout(4), 0.7, 4
    machine = replace(
        spd_machine(layout, draft=0.5), layout=spd_shared.Layout(layout, sequences, sequences), schedule=spd_shared
    )
    coins = tuple(toss(Bernoulli(p), 1, number, 320) for number in range(sequences))
    figures = together(decoded(machine, 300, coins), 0, sequences, slots.stride(300, 4))
    assert figures.tokens_per_s * 4.0 == pytest.approx(sequences * theory.speedup(4, p), rel=0.06)
