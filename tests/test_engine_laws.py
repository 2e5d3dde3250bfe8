"""Laws of the simulated run: what time, causes and counts must obey on any machine."""

import pickle
from collections import defaultdict
from dataclasses import replace
from functools import cache
from itertools import pairwise, product
from statistics import fmean

import pytest

from spdsim import theory
from spdsim.acceptance import Bernoulli, Coins, toss
from spdsim.analysis.causality import causality
from spdsim.analysis.decoding import decodings
from spdsim.analysis.summary import summarize
from spdsim.distributions import Constant, Empirical, Gamma, LogNormal, Normal
from spdsim.engine import Engine, Request, decode_all
from spdsim.errors import DeadlockError
from spdsim.machine import Duration, Machine, Receipt
from spdsim.schedules import rounds, spd
from spdsim.schedules.ops import Op, Send
from spdsim.schedules.spd import Control, Layout, LmHead, PipelineState, program
from spdsim.trace import Span, Trace
from tests.machines import PLACEMENTS, Place, empty_trace, machine, play, run

CONTROLS: tuple[Control, ...] = ("early", "late")
ALL = [
    Layout(n, head, lag, None, control)
    for n in (1, 2, 4, 8)
    for head in PLACEMENTS
    for lag in (0, 1, 2)
    for control in CONTROLS
    if not (n == 1 and lag)
]
ALTERNATELY = [
    layout
    for layout in ALL
    if (layout.num_stages.bit_length() + PLACEMENTS.index(layout.lm_head) + layout.verification_lag) % 2
    == CONTROLS.index(layout.control)
]
"""Half of them: every cut, placement and lag, with one control or the other in turn."""

BUSY = {
    "forward": 1.0, "draft": 0.7, "verify": 0.3, "commit": 0.05, "rollback": 0.1, "hop": 0.02, "post": 0.01,
    "prefill": 2.0,
}  # fmt: skip


def decode_time_s(trace: Trace) -> float:
    return sum(window.time_s for window in decodings(trace, causality(trace)))


def cycle_times_s(trace: Trace) -> list[float]:
    return [float(s) for window in decodings(trace, causality(trace)) for s in window.cycle_s]


@pytest.mark.parametrize("layout", ALL, ids=str)
@pytest.mark.parametrize("num_tokens", [2, 3, 50])
def test_with_equal_stages_and_all_else_free_the_speedup_is_the_closed_form(layout: Layout, num_tokens: int) -> None:
    """n (K - 1) / C_k(K) with the run's own R, to rounding, for every placement, lag and control."""
    trace = run(machine(layout), num_tokens)
    (window,) = decodings(trace, causality(trace))
    expected = theory.run_speedup(num_tokens, window.num_rejections, layout.num_stages, layout.verification_lag)
    report = summarize(trace)
    assert report.speedup is not None
    assert report.speedup.mean == pytest.approx(expected, rel=1e-12)
    assert [step.factor for step in report.waterfall[1:]] == pytest.approx([1.0] * 7, rel=1e-12)


@pytest.mark.parametrize("layout", [Layout(4), Layout(8, verification_lag=1)], ids=str)
def test_long_runs_meet_the_law_within_their_interval(layout: Layout) -> None:
    """n / (1 + (1 - p)(n + k - 1)), at p = 0.8."""
    report = summarize(run(machine(layout), 400, 25, Bernoulli(0.8)))
    law = theory.speedup(layout.num_stages, 0.8, layout.verification_lag)
    assert report.speedup is not None and report.speedup.low is not None and report.speedup.high is not None
    assert report.speedup.low < law < report.speedup.high
    assert report.speedup.high - report.speedup.low < 0.2 * law


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_with_unequal_cycles_the_time_is_the_sum_of_full_fill_and_rollback_cycles(placement: LmHead) -> None:
    """time = (K - 1) c_full + (R + 1) sum of c_fill(d) + R c_rollback, exactly, for every verdict string.

    Without a lag every cycle begins together; with one, workers run skewed and cycles have no length of their own.
    """
    layout = Layout(3, placement)
    costs = {"draft": 0.5, "verify": 0.25, "commit": 0.125, "hop": 0.0625}
    plain, rolled = machine(layout, **costs), machine(layout, rollback=0.375, **costs)
    full_s, refill_s, rollback_s = _cycle_costs_s(plain, rolled)
    assert rollback_s == pytest.approx(0.375)
    for verdicts in product("AR", repeat=6):
        rejections = verdicts[:-1].count("R")
        expected_s = 6 * full_s + (rejections + 1) * refill_s + rejections * rollback_s
        assert decode_time_s(play(rolled, "".join(verdicts))) == pytest.approx(expected_s, rel=1e-12)


def _cycle_costs_s(plain: Machine, rolled: Machine) -> tuple[float, float, float]:
    """Measure the cost of a full cycle, a refill and a rollback on three short runs."""
    one = decode_time_s(play(plain, "A"))
    two = decode_time_s(play(plain, "AA"))
    full_s = two - one
    with_rollback = decode_time_s(play(rolled, "RA"))
    without = decode_time_s(play(plain, "RA"))
    return full_s, one - full_s, with_rollback - without


def test_stage_slots_are_used_wasted_and_idle_as_the_closed_form_says() -> None:
    """At n = 8, p = 0.8: 42 % useful, 29 % idle, 29 % wasted; with a lag k n more are wasted a rejection."""
    for lag in (0, 1, 2):
        report = summarize(run(machine(Layout(8, verification_lag=lag)), 600, 8, Bernoulli(0.8)))
        useful, wasted, idle = theory.stage_slots(8, 0.8, lag)
        stages = [worker for worker in report.workers if worker.role == "stage"]
        total = useful + wasted + idle
        for got, want in zip(
            (
                sum(w.useful_fraction for w in stages) / 8,
                sum(w.wasted_fraction for w in stages) / 8,
                sum(w.idle_by_cause["pipeline_fill"] for w in stages) / 8,
            ),
            (useful / total, wasted / total, idle / total),
            strict=True,
        ):
            assert got == pytest.approx(want, abs=0.025)


def messages(trace: Trace) -> list[tuple[Span, Span]]:
    """Return (posting, receipt) of every message."""
    sent: dict[tuple[object, ...], Span] = {}
    received = []
    for span in trace.spans():
        if span.op.startswith("send"):
            sent[span.sequence, span.cycle, span.op[5:], span.worker, span.peer] = span
    for span in trace.spans():
        if span.op.startswith("recv"):
            received.append((sent[span.sequence, span.cycle, span.op[5:], span.peer, span.worker], span))
    return received


@pytest.mark.parametrize("layout", ALL, ids=str)
def test_no_receipt_ends_before_its_message_has_crossed_the_link(layout: Layout) -> None:
    """A receipt never ends before the posting plus the time of the link."""
    for posting, receipt in messages(run(machine(layout, **BUSY), 20)):
        assert receipt.end_s >= posting.end_s + 0.02 - 1e-12


@pytest.mark.parametrize("layout", ALL, ids=str)
def test_a_worker_does_one_thing_at_a_time_and_every_second_is_accounted_for(layout: Layout) -> None:
    """Spans of a worker do not overlap; its shares add up to one."""
    trace = run(machine(layout, **BUSY), 30, 2)
    last: dict[tuple[int, int], float] = defaultdict(float)
    for span in trace.spans():
        assert span.end_s >= span.start_s >= last[span.sequence, span.worker] - 1e-12
        last[span.sequence, span.worker] = span.end_s
    for worker in summarize(trace).workers:
        assert worker.useful_fraction + worker.wasted_fraction + worker.idle_fraction == pytest.approx(1.0, abs=1e-9)
        assert sum(worker.idle_by_cause.values()) == pytest.approx(worker.idle_fraction, abs=1e-12)
        assert all(share >= -1e-12 for share in worker.idle_by_cause.values())


@pytest.mark.parametrize("layout", ALL, ids=str)
def test_the_waterfall_multiplies_to_the_speedup(layout: Layout) -> None:
    """From n, the factors lead to the simulated speedup exactly, whatever costs what."""
    report = summarize(run(machine(layout, **BUSY), 60, 3))
    assert report.speedup is not None
    assert report.waterfall[-1].speedup_after == pytest.approx(report.speedup.mean, rel=1e-12)
    left = float(layout.num_stages)
    for step in report.waterfall:
        left *= step.factor
        assert step.speedup_after == pytest.approx(left, rel=1e-12)


def columns(trace: Trace) -> list[object]:
    return [trace.sites, trace.site, trace.cycle, trace.position, trace.start_s, trace.end_s, trace.sequence_starts]


def test_the_same_seed_gives_the_same_trace_and_another_seed_another() -> None:
    """Determinism, with random durations everywhere."""
    m = machine(Layout(4), forward=Gamma(1.0, 0.2), draft=LogNormal(0.8, 0.3), hop=Normal(0.1, 0.05))
    assert columns(run(m, 30, 3, seed=5)) == columns(run(m, 30, 3, seed=5))
    assert columns(run(m, 30, 3, seed=5)) != columns(run(m, 30, 3, seed=6))


def test_a_sequence_is_the_same_whatever_ran_before_it() -> None:
    """Draws are addressed by sequence and cycle, not by the order of use."""
    m = machine(Layout(3), forward=Gamma(1.0, 0.2), draft=LogNormal(0.8, 0.3))
    coins = toss(Bernoulli(0.7), 0, 1, 40)
    alone, after = empty_trace(m), empty_trace(m)
    assert list(decode_all(m, alone, [[Request(1, 30, coins)]]))
    assert list(decode_all(m, after, [[Request(0, 30, toss(Bernoulli(0.7), 0, 0, 40))], [Request(1, 30, coins)]]))
    assert list(alone.end_s) == list(after.end_s[after.sequence_starts[1] :])


@cache
def busy_s(layout: Layout) -> float:
    return decode_time_s(run(machine(layout, **BUSY), 30))


@pytest.mark.parametrize("layout", ALTERNATELY, ids=str)
@pytest.mark.parametrize("faster", ["forward", "draft", "verify", "commit", "rollback", "hop", "post"])
def test_nothing_that_gets_faster_slows_the_run_down(layout: Layout, faster: str) -> None:
    """Monotonicity: constant durations, private links, the same coins."""
    after = decode_time_s(run(machine(layout, **{**BUSY, faster: BUSY[faster] / 2}), 30))
    assert after <= busy_s(layout) + 1e-9


@pytest.mark.parametrize("layout", [layout for layout in ALTERNATELY if layout.num_stages in (2, 4)], ids=str)
def test_a_coin_turned_to_accept_never_slows_the_run_down(layout: Layout) -> None:
    """Monotonicity in the verdicts, for every string and every coin of it."""
    m = machine(layout, **BUSY)
    times = {verdicts: decode_time_s(play(m, "".join(verdicts))) for verdicts in product("AR", repeat=5)}
    for verdicts, time_s in times.items():
        for i, letter in enumerate(verdicts):
            if letter == "R":
                assert times[(*verdicts[:i], "A", *verdicts[i + 1 :])] <= time_s + 1e-9


# Hand-computed cycles: forward 10, draft 6, verify 3, hop 1, n = 4, all else free; steady state, all accepted.
# Forward, the way to the LM head, verify, the way to the stages:
#   draft rank and own device: 10 + 1 + 3 + 1; sharded: 10 + 1 + 3 + 1 (partials) + 1;
#   last stage: 10 + 3, for it needs no message: the others run one hop later than it does.
STEADY_S = {"draft_rank": 15.0, "last_stage": 13.0, "sharded": 16.0, "own_device": 15.0}


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_steady_cycles_without_lag_are_those_computed_by_hand(placement: LmHead) -> None:
    """Each placement of the LM head exposes its own chain of compute and hops."""
    layout = Layout(4, placement)
    cycles = cycle_times_s(play(machine(layout, forward=10, draft=6, verify=3, hop=1), "A" * 30))
    assert cycles[20] == pytest.approx(STEADY_S[placement])


@pytest.mark.parametrize("placement", PLACEMENTS)
@pytest.mark.parametrize("lag", [0, 1, 2])
@pytest.mark.parametrize(("draft", "verify"), [(6.0, 3.0), (9.0, 8.0), (1.0, 12.0), (14.0, 1.0)])
def test_no_lag_makes_a_cycle_shorter_than_the_work_of_one_device(
    placement: LmHead, lag: int, draft: float, verify: float
) -> None:
    """Lag hides latency, never occupancy; and with it the exposed verify and hops go, in the long run."""
    layout = Layout(4, placement, lag)
    work = {
        "draft_rank": max(10.0, draft + verify),
        "last_stage": max(10.0 + verify, draft),
        "sharded": max(10.0 + verify, draft + verify),
        "own_device": max(10.0, draft, verify),
    }[placement]
    cycles = cycle_times_s(play(machine(layout, forward=10, draft=draft, verify=verify, hop=1), "A" * 60))
    steady = sum(cycles[30:60]) / 30
    assert steady >= work - 1e-9
    if lag:
        # A loop of hops remains: draft, stage 0 and its features, over two cycles.
        loop = (10.0 + draft + 2.0 + (verify if placement == "draft_rank" and lag == 1 else 0.0)) / 2
        assert steady <= max(work, loop, 11.0) + 2.0


def test_workers_on_one_device_take_turns() -> None:
    """Two stages on one device: a cycle takes both, and no two spans of a device overlap."""
    layout = Layout(2)
    trace = play(machine(layout, Place([0, 1, 1]), forward=3, draft=1), "A" * 20)
    assert cycle_times_s(trace)[10] == pytest.approx(6.0)
    busy = sorted(
        (s.start_s, s.end_s) for s in trace.spans() if s.worker in (1, 2) and s.op == "forward" and s.end_s > s.start_s
    )
    assert all(later[0] >= earlier[1] - 1e-9 for earlier, later in pairwise(busy))
    sharing = next(step for step in summarize(trace).waterfall if step.step == "sharing")
    assert sharing.factor < 0.6


def test_workers_that_share_bandwidth_finish_together_and_lose_the_same() -> None:
    """Processor sharing: two equal forwards side by side take twice as long, whatever the order of their start."""
    layout = Layout(2)
    trace = play(machine(layout, Place([0, 1, 1], "bandwidth"), forward=3), "A" * 20)
    assert cycle_times_s(trace)[10] == pytest.approx(6.0)
    uneven = play(machine(layout, Place([0, 1, 1], "bandwidth"), forward=[2, 4]), "A" * 20)
    assert cycle_times_s(uneven)[10] == pytest.approx(6.0)


def test_workers_that_contend_slow_each_other_down_as_their_curve_says() -> None:
    """Two equal forwards at a time take 2 / 1.6 as long each; a third worker adds what the second one did."""
    pair = replace(machine(Layout(2), forward=4), contention=(1.0, 1.6))
    assert cycle_times_s(play(pair, "A" * 20))[10] == pytest.approx(4.0 * 2 / 1.6)
    three = replace(machine(Layout(3), forward=4), contention=(1.0, 1.6))
    assert cycle_times_s(play(three, "A" * 20))[10] == pytest.approx(4.0 * 3 / 2.2)
    spans = [span for span in play(pair, "A" * 20).spans() if span.op == "forward" and span.cycle == 10]
    assert [span.end_s - span.start_s for span in spans] == pytest.approx([5.0, 5.0])
    # On nodes of their own they do not meet.
    apart = replace(pair, nodes=(0, 1, 2))
    assert cycle_times_s(play(apart, "A" * 20))[10] == pytest.approx(4.0)


def test_uneven_work_is_slowed_only_while_others_work() -> None:
    """2 s beside 4 s at half speed each: the short one ends at 4, and the long one has 2 left, alone."""
    uneven = replace(machine(Layout(2), forward=[2, 4]), contention=(1.0, 1.0))
    assert cycle_times_s(play(uneven, "A" * 20))[10] == pytest.approx(6.0)


@pytest.mark.parametrize("receipt", ["serial", "taken"])
def test_a_receiver_that_takes_a_message_is_busy_with_it(receipt: Receipt) -> None:
    """The same cycles; a receipt that ends with the taking has no span of handling beside it."""
    plain = machine(Layout(2), forward=4, hop=1)
    costs = {edge: replace(each, receive_s=0.25, receipt=receipt) for edge, each in plain.messages.items()}
    trace = play(replace(plain, messages=costs), "A" * 20)
    assert cycle_times_s(trace)[10] == pytest.approx(cycle_times_s(taking(plain))[10])
    handled = {span.op for span in trace.spans() if span.op.startswith("handle")}
    assert bool(handled) == (receipt == "serial")


def taking(plain: Machine) -> Trace:
    """Return a run in which every receipt takes a quarter of a second."""
    costs = {edge: replace(each, receive_s=0.25) for edge, each in plain.messages.items()}
    return play(replace(plain, messages=costs), "A" * 20)


def test_a_message_that_leaves_at_once_does_not_wait_for_its_sender() -> None:
    """The way begins with the posting: a hop of 1 s beside a posting of 0.5 s."""
    plain = machine(Layout(2), forward=4, hop=1, post=0.5)
    at_once = replace(plain, messages={edge: replace(m, leaves_at_once=True) for edge, m in plain.messages.items()})
    waits = [
        post.end_s - receipt.end_s
        for post, receipt in messages(play(at_once, "A" * 20))
        if receipt.end_s > receipt.start_s and receipt.start_s <= post.start_s
    ]
    assert waits and waits == pytest.approx([-0.5] * len(waits))
    assert cycle_times_s(play(at_once, "A" * 20))[10] < cycle_times_s(play(plain, "A" * 20))[10]


@pytest.mark.parametrize("fraction", [0.0, 0.5, 1.0])
def test_what_holds_up_a_machine_holds_up_all_of_its_stages(fraction: float) -> None:
    """In the given part of the cycles all stages draw the same; each stage's own law is untouched."""
    drawn = replace(machine(Layout(3), forward=LogNormal(4.0, 0.3)), shared_fraction=fraction)
    trace = run(drawn, num_tokens=1200, acceptance=Bernoulli(1.0))
    by_cycle: dict[int, list[float]] = {}
    for span in trace.spans():
        if span.op == "forward" and span.cycle > 3:
            by_cycle.setdefault(span.cycle, []).append(span.end_s - span.start_s)
    full = [times for times in by_cycle.values() if len(times) == 3]
    alike = sum(max(times) - min(times) < 1e-9 for times in full) / len(full)
    assert alike == pytest.approx(fraction, abs=0.05)
    assert fmean(time for times in full for time in times) == pytest.approx(4.0, rel=0.03)


def test_a_host_takes_its_time_between_cycles() -> None:
    """Once a cycle, of every worker, and without a span."""
    timed = replace(machine(Layout(2), forward=4), between_cycles=Constant(0.5))
    trace = play(timed, "A" * 20)
    assert cycle_times_s(trace)[10] == pytest.approx(4.5)
    assert {span.op for span in trace.spans()} == {span.op for span in play(machine(Layout(2)), "A" * 20).spans()}


def test_every_host_draws_what_it_does_between_cycles() -> None:
    """So a cycle waits for the slowest of them: it is longer than with the mean of what they do."""
    times = Empirical((0.0, 1.0))
    alike = play(replace(machine(Layout(4), forward=4), between_cycles=Constant(0.5)), "A" * 400)
    drawn = play(replace(machine(Layout(4), forward=4), between_cycles=times), "A" * 400)
    slowest_of_four = 1.0 - 0.5**4
    assert fmean(cycle_times_s(alike)[10:]) == pytest.approx(4.5)
    assert fmean(cycle_times_s(drawn)[10:]) == pytest.approx(4.0 + slowest_of_four, abs=0.06)


def test_a_link_carries_one_message_at_a_time() -> None:
    """On a shared link two messages posted together arrive one after the other."""
    layout = Layout(3, feature_stages=())
    alone = play(machine(layout, forward=10, hop=1), "A" * 20)
    shared = play(machine(layout, Place(common_link=True), forward=10, hop=1), "A" * 20)
    # Alone: forward, hidden, verdicts, each a hop. Shared: three hidden states, then three verdicts.
    assert cycle_times_s(alone)[10] == pytest.approx(12.0)
    assert 12.0 < cycle_times_s(shared)[10] <= 16.0
    crossings = sorted(receipt.end_s for _, receipt in messages(shared) if receipt.end_s > receipt.start_s)
    assert all(later - earlier >= 1.0 - 1e-9 or later == earlier for earlier, later in pairwise(crossings))


def test_a_link_of_several_senders_serves_them_in_the_order_of_posting() -> None:
    """Two workers on one device send over the same pair of devices: the second message waits for the first."""
    layout = Layout(2)
    trace = play(machine(layout, Place([0, 1, 1]), forward=2, hop=5), "A" * 6)
    arrivals = sorted(r.end_s for p, r in messages(trace) if p.worker in (1, 2) and r.worker == 0 and r.cycle >= 0)
    assert all(later - earlier >= 5.0 - 1e-9 for earlier, later in pairwise(arrivals) if later != earlier)


def test_a_message_that_is_never_sent_is_reported_as_a_deadlock(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the workers and the messages they wait for."""

    def forgetful(state: PipelineState, worker: int) -> tuple[Op, ...]:
        return tuple(op for op in program(state, worker) if worker or not isinstance(op, Send))

    monkeypatch.setattr("spdsim.schedules.spd.program", forgetful)
    m = machine(Layout(2))
    with pytest.raises(DeadlockError, match="worker 1 waits for verdict from worker 0; worker 2 waits for verdict"):
        Engine(m, empty_trace(m)).decode(Request(0, 5, Coins([True] * 10)))


def test_a_machine_is_sent_to_another_process_with_its_schedule() -> None:
    """Rounds and SPD alike: the module is found again by its name."""
    sent = machine(Layout(2))
    for schedule in (spd, rounds):
        other = replace(sent, schedule=schedule)
        assert pickle.loads(pickle.dumps(other)) == other


@pytest.mark.parametrize("num_stages", [1, 4])
def test_what_was_not_drafted_is_never_rejected(num_stages: int) -> None:
    """y_1 comes from the prefill, and one stage drafts nothing: no rollback follows, whatever the coins say."""
    trace = run(machine(Layout(num_stages), rollback=1.0), 6, 20, Bernoulli(0.0))
    rollbacks = {span.cycle for span in trace.spans() if span.op == "rollback"}
    assert rollbacks == (set() if num_stages == 1 else {4, 8, 12, 16})


def test_sequences_of_a_replication_follow_each_other() -> None:
    """The second sequence begins when the last worker is done with the first."""
    m = machine(Layout(2), **BUSY)
    trace = empty_trace(m)
    coins = Coins([True] * 20)
    assert list(decode_all(m, trace, [[Request(0, 5, coins), Request(1, 5, coins)], [Request(2, 5, coins)]]))
    first, second, third = (list(trace.spans(s)) for s in range(3))
    assert min(s.start_s for s in second) == max(s.end_s for s in first)
    assert min(s.start_s for s in third) == 0.0


@pytest.mark.parametrize("num_stages", [1, 2, 17, 128])
@pytest.mark.parametrize("num_tokens", [1, 2])
def test_the_shortest_runs_and_the_longest_pipelines_work(num_stages: int, num_tokens: int) -> None:
    """K = 1 has no figures of decoding; K = 2 takes n cycles."""
    report = summarize(run(machine(Layout(num_stages), **BUSY), num_tokens))
    assert report.num_cycles == (0 if num_tokens == 1 else num_stages)
    assert (report.speedup is None) == (num_tokens == 1)
    assert report.time_to_first_token_s.mean > 0


def test_durations_grow_with_the_context_and_differ_by_fill_depth() -> None:
    """A duration is its base at the fill depth plus the context times its slope."""
    layout = Layout(2)
    plain = machine(layout)
    tasks = {
        **plain.tasks,
        (1, "forward"): Duration(Constant(1.0), 0.5),
        (2, "forward"): Duration(Constant(1.0), 0.0, (Constant(2.0), Constant(3.0))),
    }
    trace = play(replace(plain, tasks=tasks, prompt_tokens=10), "AAA")
    for span in trace.spans():
        if span.op == "forward" and span.worker == 1:
            assert span.end_s - span.start_s == pytest.approx(1.0 + 0.5 * (10 + span.position))
        if span.op == "forward" and span.worker == 2:
            assert span.end_s - span.start_s == pytest.approx(3.0)


def test_sensitivities_agree_with_running_it_again_one_percent_slower() -> None:
    """The share of the critical path is the derivative, where no other path is as long."""
    layout = Layout(4)
    base = run(machine(layout, **BUSY), 80)
    report = summarize(base)
    found = {s.parameter: s.time_per_token_change_fraction for s in report.sensitivities}
    for parameter, keys in {"stage": ["forward"], "verify": ["verify"], "link": ["hop"]}.items():
        slower = run(machine(layout, **{**BUSY, **{key: BUSY[key] * 1.01 for key in keys}}), 80)
        change = decode_time_s(slower) / decode_time_s(base) - 1.0
        assert found[parameter] == pytest.approx(change, abs=2e-5)
