"""The executor runs the simulator's schedule: the same ops in the same order, whatever the layout."""

from itertools import product
from typing import Any

import pytest

from executor.events import Event, JobDone, TokenVerified
from executor.rank import run_local
from executor.worker.emulated import invented_token
from spdsim.acceptance import Bernoulli, Replay, toss
from spdsim.scenario.placement import layout_of
from spdsim.schedules import plain, spd
from spdsim.schedules.ops import Compute, Recv, Send, Verdict
from spdsim.simulation import simulate
from spdsim.theory import cycles
from tests.emulation import emulated_plan, emulated_scenario, jobs
from tests.machines import PLACEMENTS

LAYOUTS = [
    (n, {"lm_head": head, "verification_lag": lag}, {"control": control, "messages": messages, "sampling": sampling})
    for (row, n), (column, head) in product(enumerate((2, 3, 4, 8)), enumerate(PLACEMENTS))
    for lag in [(row + column) % 3]
    for control, messages, sampling in [
        (("early", "late", "lockstep")[(n + lag) % 3], ("per_edge", "per_tensor")[lag % 2], "greedy"),
        (("early", "late", "lockstep")[n % 3], "per_edge", "sampled"),
    ]
]
"""Every two of cut, placement and lag together, each with some of the ways to run the schedule."""

Seen = list[tuple[int, str, int, bool | None]]


def run(scenario: Any, *, new_tokens: int = 24, **options: Any) -> tuple[Any, Any, list[Event]]:
    events: list[Event] = []
    plan = emulated_plan(scenario, **options)
    return plan, run_local(plan, jobs(new_tokens), events.append), events


@pytest.mark.parametrize(("stages", "partition", "runtime"), LAYOUTS, ids=str)
def test_every_worker_runs_the_simulators_ops_in_its_order(
    stages: int, partition: dict[str, Any], runtime: dict[str, Any]
) -> None:
    """For the same verdicts, each worker's spans are those of the simulator: op, cycle, position, verdict."""
    scenario = emulated_scenario(stages, runtime=runtime, **partition)
    _, outcome, _ = run(scenario)
    theirs = simulate(scenario)
    for worker, report in enumerate(outcome.reports):
        mine = [(s.cycle, s.op, s.position, s.peer) for s in report.spans.spans(1)]
        assert mine == [(s.cycle, s.op, s.position, s.peer) for s in theirs.spans(0) if s.worker == worker]
    assert outcome.results[1].num_cycles == max(span.cycle for span in theirs.spans(0)) + 1


@pytest.mark.parametrize("head", PLACEMENTS)
def test_spans_tell_the_verdicts_as_the_simulators_do(head: str) -> None:
    """Verifications and commits say whether the draft was accepted; what has no part in a verdict does not."""
    scenario = emulated_scenario(3, lm_head=head)
    _, outcome, _ = run(scenario)
    theirs = [(s.worker, s.op, s.position, s.accepted) for s in simulate(scenario).spans(0)]
    for report in outcome.reports:
        mine = [(s.worker, s.op, s.position, s.accepted) for s in report.spans.spans(1)]
        assert mine == [span for span in theirs if span[0] == report.worker]


@pytest.mark.parametrize(("head", "lag"), [*product(PLACEMENTS, (1, 2, 3))])
def test_a_flushed_verification_has_no_verdict_and_others_have_their_own(head: str, lag: int) -> None:
    """With a lag, positions are verified ahead; a rejection flushes those, and their spans stay undecided."""
    scenario = emulated_scenario(3, lm_head=head, verification_lag=lag, p=0.6)
    _, outcome, _ = run(scenario)
    report = outcome.reports[scenario_source(scenario)]
    verified = [span for span in report.spans.spans(1) if span.op == "verify" and span.cycle >= 0]
    accepted = outcome.results[1].accepted
    decided = [span for span in verified if span.accepted is not None]
    assert [(span.position, span.accepted) for span in decided] == list(enumerate(accepted, start=1))
    # From a lag of two on, a verification runs before the verdict on the position before it.
    assert (len(verified) > len(decided)) == (lag > 1)


def scenario_source(scenario: Any) -> int:
    """The worker that finds verdicts."""
    return layout_of(scenario).verdict_source


@pytest.mark.parametrize(("stages", "p"), [*product((1, 2, 5), (0.0, 0.6, 1.0))])
def test_tokens_are_those_of_plain_decoding_and_cycles_meet_the_law(stages: int, p: float) -> None:
    """C(K) = (K - 1) + (n - 1)(R + 1), and speculation changes no token."""
    _, outcome, _ = run(emulated_scenario(stages, p=p))
    alone, result = outcome.results
    assert result.tokens == alone.tokens == tuple(invented_token(0, 0, position, 50) for position in range(24))
    # The verdict on the last token costs nothing any more.
    rejections = sum(not accepted for accepted in result.accepted[:-1])
    assert result.num_cycles == cycles(24, rejections, stages)
    assert alone.num_cycles == 23


def test_forced_drafts_get_the_simulators_coins() -> None:
    """A run that is forced has the verdicts that a simulation with the same seed has."""
    scenario = emulated_scenario(4, p=0.6)
    _, outcome, _ = run(scenario)
    coins = toss(Bernoulli(0.6), 0, 0, 24)
    assert list(outcome.results[1].accepted) == [coins.accepts(position, 4) for position in range(1, 24)]


def test_recorded_verdicts_are_played_back() -> None:
    """Every string of verdicts can be forced."""
    for verdicts in product((True, False), repeat=5):
        _, outcome, _ = run(emulated_scenario(3), new_tokens=6, forced=Replay((verdicts,)))
        assert outcome.results[1].accepted == verdicts


def test_events_tell_every_token_once_and_in_order() -> None:
    """Whoever listens to events can print the text as it comes."""
    _, outcome, events = run(emulated_scenario(4))
    for number, result in enumerate(outcome.results):
        told = [event.token for event in events if isinstance(event, TokenVerified) and event.job == number]
        assert tuple(told) == result.tokens
        assert JobDone(number, result) in events


@pytest.mark.parametrize("end_at", [0, 1, 7, 23])
def test_decoding_stops_at_an_end_token(end_at: int) -> None:
    """Whether it is y_1, accepted or corrected, nothing follows an end token."""
    scenario = emulated_scenario(3, p=0.5)
    plan = emulated_plan(scenario)
    tokens = [invented_token(0, 0, position, 50) for position in range(24)]
    end = tokens[end_at]
    alone, result = run_local(plan, jobs(24, end_tokens=[end, 10_000]), lambda _: None).results
    assert result.tokens == alone.tokens == tuple(tokens[: tokens.index(end) + 1])


@pytest.mark.parametrize(("stages", "head"), [*product((1, 2, 5), PLACEMENTS)])
def test_plain_decoding_is_a_pipeline_with_one_token_in_it(stages: int, head: Any) -> None:
    """Every stage runs every token once, after its predecessor's message; nothing is drafted; messages match."""
    layout = spd.Layout(stages, lm_head=head)
    state = plain.start(layout, 5)
    mail = set()
    while not state.is_done:
        for worker in range(layout.num_workers):
            for op in plain.program(state, worker):
                match op:
                    case Compute(task, position):
                        assert task != "draft" and position in (state.oldest, state.oldest + 1)
                    case Send(payload, position, to):
                        mail.add((payload, position, worker, to))
        for worker in range(layout.num_workers):
            for op in plain.program(state, worker):
                if isinstance(op, Recv):
                    mail.remove((op.payload, op.position, op.source, worker))
        assert not mail
        state = plain.advance(state, Verdict(True))
    assert state.cycle == 4
