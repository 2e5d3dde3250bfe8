"""What holds for every schedule beside SPD's, tried on every string of verdicts up to a length."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

import pytest

from spdsim.analysis.fate import ABANDONED, USEFUL, WASTED, fates
from spdsim.analysis.summary import summarize
from spdsim.errors import InputError, ScheduleError
from spdsim.schedules import asynchronous, dsi, plain_pipeline, plain_tensor, ppsd, prepared, rounds
from spdsim.schedules.grid import Script, drawn
from spdsim.schedules.ops import Compute, Recv, Send, op_name
from spdsim.schedules.schedule import Layout, Schedule
from spdsim.trace import Span
from tests.golden import check_golden
from tests.rivals import SCHEDULES, decode_s, machine, name_of, play, programs, scripts, states


def each_of(pairs: Iterable[tuple[Schedule, Layout]]) -> pytest.MarkDecorator:
    """Try a test on each of these schedules."""
    found = list(pairs)
    names = [f"{name_of(schedule)}-{layout}" for schedule, layout in found]
    return pytest.mark.parametrize(("schedule", "layout"), found, ids=names)


EVERY_SCHEDULE = each_of(SCHEDULES)
TIMES_S = {"forward": 1.0, "draft": 0.25, "verify": 0.125, "prefill": 2.0, "commit": 0.03125, "rollback": 0.0625}


def is_one_pass(layout: Layout) -> bool:
    """Whether not every draft has an op of its own."""
    return isinstance(layout, rounds.Layout) and layout.one_pass


@EVERY_SCHEDULE
def test_every_message_is_received_in_its_cycle_and_is_the_only_one_of_its_kind(
    schedule: Schedule, layout: Layout
) -> None:
    """So an edge, a payload and a cycle name a message, and a rejection leaves no stray one."""
    for script in scripts(5):
        sent: Counter[tuple[object, ...]] = Counter()
        received: Counter[tuple[object, ...]] = Counter()
        for state, _ in states(schedule, layout, script):
            for worker, ops in enumerate(programs(schedule, state)):
                for op in ops:
                    if isinstance(op, Send):
                        sent[state.cycle, op.payload, worker, op.to, op.position] += 1
                    elif isinstance(op, Recv):
                        received[state.cycle, op.payload, op.source, worker, op.position] += 1
        assert sent == received
        assert not sent or max(Counter(edge[:4] for edge in sent.elements()).values()) == 1


@EVERY_SCHEDULE
def test_one_worker_commits_every_position_once_and_in_order(schedule: Schedule, layout: Layout) -> None:
    """From the first token, which the prefill gives, to the last one asked for, and none beyond."""
    for length in range(6):
        for script in scripts(length):
            commits = [
                (worker, op.position)
                for state, _ in states(schedule, layout, script)
                for worker, ops in enumerate(programs(schedule, state))
                for op in ops
                if isinstance(op, Compute) and op.task == "commit"
            ]
            assert commits == [(0, position) for position in range(length + 1)]


@EVERY_SCHEDULE
def test_states_of_one_shape_have_one_program_but_for_an_offset(schedule: Schedule, layout: Layout) -> None:
    """The engine compiles one program for each shape, with the durations of one fill depth."""
    seen: dict[object, object] = {}
    for script in scripts(7):
        for state, _ in states(schedule, layout, script):
            ops = [
                [
                    (op_name(op), op.position - state.oldest, getattr(op, "to", None), getattr(op, "source", None),
                     getattr(op, "accepted", None))
                    for op in program
                ]
                for program in programs(schedule, state)
            ]  # fmt: skip
            told = ops, state.fill_depth
            assert seen.setdefault(state.shape, told) == told


@EVERY_SCHEDULE
def test_every_run_makes_a_sound_report(schedule: Schedule, layout: Layout) -> None:
    """Every length from one token up: the checks of a trace pass, shares add up, and steps multiply to the speedup."""
    one = machine(schedule, layout, 0.0625, **TIMES_S)
    for length in (*range(6), 17):
        report = summarize(play(one, Script(("AARAR" * 4)[:length], "YNYYN" * 4)))
        assert report.num_tokens == length + 1
        for shares in report.workers:
            assert shares.useful_fraction + shares.wasted_fraction + shares.idle_fraction == pytest.approx(1.0)
        if length:
            assert report.speedup is not None
            assert report.waterfall[-1].speedup_after == pytest.approx(report.speedup.mean)


@EVERY_SCHEDULE
def test_nobody_acts_on_a_verdict_before_it_is_known(schedule: Schedule, layout: Layout) -> None:
    """With messages that take no time, too, whoever goes on after a verification does so when it has ended."""
    one = machine(schedule, layout, **TIMES_S)
    for script in scripts(4):
        spans = list(play(one, script).spans())
        known_s = {span.cycle: span.end_s for span in spans if span.op == "verify"}
        for span in spans:
            if span.op in ("forward", "draft") and span.cycle - 1 in known_s:
                assert span.start_s >= known_s[span.cycle - 1]
            if span.op == "commit":
                assert span.start_s >= known_s[span.cycle]


@EVERY_SCHEDULE
def test_time_scales_with_its_unit_and_grows_with_every_part_of_it(schedule: Schedule, layout: Layout) -> None:
    """No duration is counted twice in one place and not in another, and nothing gets faster by getting slower."""
    script = Script("AARAAR", "YNYYN")
    base_s = decode_s(machine(schedule, layout, 0.0625, **TIMES_S), script)
    doubled = {task: 2.0 * time_s for task, time_s in TIMES_S.items()}
    assert decode_s(machine(schedule, layout, 0.125, **doubled), script) == 2.0 * base_s
    for task, time_s in doubled.items():
        assert decode_s(machine(schedule, layout, 0.0625, **{**TIMES_S, task: time_s}), script) >= base_s


@EVERY_SCHEDULE
def test_every_stage_rolls_back_after_a_rejection_and_only_then(schedule: Schedule, layout: Layout) -> None:
    """First of all, to the corrected token; who drafts, or is no stage, does not."""
    for script in scripts(5):
        was_rejected = False
        for state, _ in states(schedule, layout, script):
            ops = programs(schedule, state)
            for worker, program in enumerate(ops):
                rolled = [op for op in program if isinstance(op, Compute) and op.task == "rollback"]
                is_due = was_rejected and layout.role(worker) == "stage"
                assert rolled == ([Compute("rollback", state.oldest)] if is_due else [])
                assert not rolled or program[0] == rolled[0]
            commits = [op for op in ops[0] if isinstance(op, Compute) and op.task == "commit"]
            # Some schedules say with a commit what it was; the others leave it to the judge.
            verdicts = (script.accepts(op.position, 1) if layout.tells_verdicts else op.accepted for op in commits)
            was_rejected = state.cycle >= 0 and False in verdicts


@each_of(pair for pair in SCHEDULES if pair[0] in (rounds, ppsd, dsi, asynchronous) and not is_one_pass(pair[1]))
def test_drafts_are_useful_if_accepted_and_wasted_after_a_rejection(schedule: Schedule, layout: Layout) -> None:
    """As many useful drafts as commits of accepted ones; all that a rejection flushed wasted; the tail abandoned."""
    one = machine(schedule, layout, **TIMES_S)
    for script in scripts(5):
        trace = play(one, script)
        fate = fates(trace)
        drafts = [(span, int(fate[i])) for i, span in enumerate(trace.spans()) if span.op == "draft"]
        commits = [span for span in trace.spans() if span.op == "commit" and span.cycle >= 0]
        assert sum(became == USEFUL for _, became in drafts) == sum(span.accepted is True for span in commits)
        for span, became in drafts:
            is_flushed = any(_is_flushed(span, commit) for commit in commits)
            assert (became == WASTED) == is_flushed
            assert (became == ABANDONED) == (span.position >= script.num_tokens and not is_flushed)


def _is_flushed(draft: Span, commit: Span) -> bool:
    return commit.accepted is False and commit.position <= draft.position and draft.cycle <= commit.cycle


@EVERY_SCHEDULE
def test_a_schedule_refuses_what_it_cannot_run(schedule: Schedule, layout: Layout) -> None:
    """No token, a worker that does not exist, a step after the end."""
    with pytest.raises(ScheduleError, match="max_tokens is 0"):
        schedule.start(layout, 0)
    state, outcome = states(schedule, layout, Script("A"))[-1]
    for worker in (-1, layout.num_workers):
        with pytest.raises(ScheduleError, match=f"worker is {worker}"):
            schedule.program(state, worker)
    with pytest.raises(ScheduleError, match="ended"):
        schedule.advance(schedule.advance(state, outcome), outcome)


@each_of(pair for pair in SCHEDULES if "plain" not in name_of(pair[0]))
def test_a_step_refuses_an_outcome_that_is_not_its_own(schedule: Schedule, layout: Layout) -> None:
    """One where nothing is verified, none where something is."""
    for state, outcome in states(schedule, layout, Script("ARARA")):
        if state.cycle >= 0:
            other: Any = next(_outcomes(schedule)) if outcome is None else None
            with pytest.raises(ScheduleError, match=rf"cycle {state.cycle} (needs|verifies|is a fill)"):
                schedule.advance(state, other)


def _outcomes(schedule: Schedule) -> Any:
    layout = next(layout for one, layout in SCHEDULES if one is schedule)
    found = (outcome for state, outcome in states(schedule, layout, Script("AAAAA")) if state.cycle >= 0)
    return (outcome for outcome in found if outcome is not None)


@pytest.mark.parametrize(
    ("make", "options", "rule"),
    [
        (plain_pipeline.Layout, (1,), "num_stages is 1: must be at least 2"),
        (plain_tensor.Layout, (1,), "num_workers is 1: must be at least 2"),
        (rounds.Layout, (0,), "draft_tokens is 0: must be at least 1"),
        (rounds.Layout, (1, False, False, 0), "num_stages is 0: must be at least 1"),
        (ppsd.Layout, (1,), "num_stages is 1: must be at least 2"),
        (dsi.Layout, (1,), "num_replicas is 1: must be at least 2"),
        (dsi.Layout, (2, 0), "lookahead is 0: must be at least 1"),
        (asynchronous.Layout, (0,), "window is 0: must be at least 1"),
        (asynchronous.Layout, (1, True, 0), "num_stages is 0: must be at least 1"),
        (prepared.Layout, (0, 0.5, 1), "draft_tokens is 0: must be at least 1"),
        (prepared.Layout, (1, 0.5, -1), "backup_tokens is -1: must be at least 0"),
        (prepared.Layout, (1, 1.5, 1), "hit_rate is 1.5: must be 0 to 1"),
        (prepared.Layout, (1, 0.5, 1, False, 0), "num_stages is 0: must be at least 1"),
    ],
)
def test_an_impossible_layout_is_refused_in_one_line(make: Any, options: tuple[Any, ...], rule: str) -> None:
    """Which option, its value, and the rule."""
    with pytest.raises(ScheduleError) as error:
        make(*options)
    assert str(error.value) == rule


@pytest.mark.parametrize(
    ("name", "schedule", "layout", "script"),
    [
        ("plain-pipeline", plain_pipeline, plain_pipeline.Layout(3), Script("A" * 7)),
        ("plain-tensor", plain_tensor, plain_tensor.Layout(3), Script("A" * 7)),
        ("rounds", rounds, rounds.Layout(3), Script("AAAARAARRAAAAAAAAA")),
        ("one-pass", rounds, rounds.Layout(3, one_pass=True, num_stages=2), Script("AAAARAARRAAAAAAAAA")),
        ("ppsd", ppsd, ppsd.Layout(4), Script("AARAA")),
        ("dsi", dsi, dsi.Layout(3), Script("AARARA")),
        ("dsi-lookahead", dsi, dsi.Layout(2, lookahead=2), Script("AAAAARAAAA")),
        ("asynchronous", asynchronous, asynchronous.Layout(3), Script("AAAAARRAAAAAAAAA")),
        ("post-verify", asynchronous, asynchronous.Layout(3, False, 2), Script("AAAAARRAAAAAA")),
        ("prepared", prepared, prepared.Layout(3, 0.5, 2), Script("AAAARAARAAAAAAAAAAA", "YYNYNY")),
    ],
)
def test_every_schedule_has_its_grid(name: str, schedule: Schedule, layout: Layout, script: Script) -> None:
    """Golden files, with the prefill."""
    check_golden(f"grid-{name}.txt", drawn(schedule, layout, script, prefill=True))


def test_a_script_says_what_happens_and_then_that_all_goes_well() -> None:
    """Letters by position for drafts, in the order in which they are first asked for, for events."""
    script = Script("AR", "NY")
    assert [script.accepts(position, 1) for position in range(1, 5)] == [True, False, True, True]
    assert [script.event("hit", index) < 0.999 for index in (7, 9, 7, 11)] == [False, True, False, True]
    with pytest.raises(InputError, match=r"events is 'YX': letter 2 must be Y \(yes\) or N \(no\)"):
        Script("A", "YX")
