"""What a comparison of two traces says: errors, the part that makes them, and when there is nothing to say."""

import json
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest

from spdsim import InputError, Trace, TraceError, load_scenario, simulate, summarize
from spdsim.cli.document import document_text
from spdsim.comparison import Comparison, Figure, compare, to_document
from spdsim.comparison.parts import parts_of
from spdsim.comparison.report import LIMITS, Part, TaskTimes
from spdsim.trace import Site, TraceHeader, WorkerInfo
from tests.commands import TUTORIAL

JITTER = {
    "replications": "5",
    "timing.profile.forward_per_layer": "{kind: gamma, mean_s: 1e-3, cv: 0.2}",
    "timing.profile.draft": "{kind: gamma, mean_s: 1.5e-3, cv: 0.2}",
}
SLOW_FORWARD = {"timing.profile.forward_per_layer": "1.1e-3"}


@cache
def _run(settings: tuple[str, ...]) -> Trace:
    return simulate(load_scenario(TUTORIAL, list(settings)))


def run(changes: dict[str, str] | None = None, **more: str) -> Trace:
    """Simulate the tutorial's scenario with changes."""
    settings = {"replications": "2", **(changes or {}), **more}
    return _run(tuple(f"{key}={value}" for key, value in settings.items()))


def shifted(trace: Trace, by_s: float, scale: float = 1.0) -> Trace:
    """Return `trace` with every time on another clock."""
    found = Trace(trace.header)
    for sequence in range(trace.num_sequences):
        found.begin_sequence()
        for span in trace.spans(sequence):
            site = found.site_id(Site(span.worker, span.op, span.peer, span.bytes, span.accepted))
            times_s = (by_s + scale * time_s for time_s in (span.start_s, span.end_s))
            found.record(site, span.cycle, span.position, *times_s)
    return found


def all_figures(found: Comparison) -> Iterator[Figure]:
    yield from found.figures
    for share in found.shares:
        yield from (share.useful, share.wasted, share.idle)


def part(found: Comparison, name: str) -> Part:
    return next(part for part in found.parts if part.name == name)


# Laws.


@pytest.mark.parametrize(
    "changes",
    [{}, JITTER, {"replications": "1"}, {"replications": "12"}, {"partition.verification_lag": "1"},
     {"partition.lm_head": "last_stage"}, {"partition.lm_head": "sharded"},
     {"devices.count": "4", "draft.placement": "stage_0"},
     {"acceptance.p": "1.0"}, {"acceptance.p": "0.0"}, {"workload.new_tokens": "2"}],
    ids=str,
)  # fmt: skip
def test_a_trace_meets_itself(changes: dict[str, str]) -> None:
    """Errors of exactly nothing, within every interval, grade A, no culprit."""
    trace = run(changes)
    found = compare(trace, trace)
    assert {figure.error_fraction for figure in all_figures(found)} <= {0.0, None}
    assert {figure.error_points for figure in all_figures(found)} <= {0.0, None}
    assert {figure.is_within for figure in all_figures(found)} <= {True, None}
    assert {part.explained_s for part in found.parts} == {0.0}
    assert (found.grade, found.culprit, found.has_same_verdicts) == ("A", None, True)
    assert found.unexplained_s == found.graded_error == 0.0


def test_the_figures_are_those_of_the_reports() -> None:
    """Of both runs, with their intervals where a report has them."""
    measured, predicted = run(JITTER, replications="12"), run(replications="3")
    found = compare(measured, predicted)
    for side, trace in (("measured", measured), ("predicted", predicted)):
        report = summarize(trace)
        assert report.cycle_s is not None and report.time_per_token_s is not None
        expected = {
            "cycle_mean_s": report.cycle_s.mean, "cycle_p50_s": report.cycle_s.p50, "cycle_p95_s": report.cycle_s.p95,
            "time_per_token_mean_s": report.time_per_token_s.mean,
            "time_per_token_p50_s": report.time_per_token_s.p50,
            "time_per_token_p95_s": report.time_per_token_s.p95,
            "tokens_per_cycle": report.tokens_per_cycle,
            "time_to_first_token_s": report.time_to_first_token_s.mean,
            "acceptance": report.measured_acceptance,
        }  # fmt: skip
        assert {figure.name: getattr(figure, side) for figure in found.figures} == pytest.approx(expected, rel=1e-12)
        interval = getattr(found.figure("time_per_token_mean_s"), f"{side}_interval")
        assert interval == (report.time_per_token_s.low, report.time_per_token_s.high)
        for share, worker in zip(found.shares, report.workers, strict=True):
            ours = [getattr(figure, side) for figure in (share.useful, share.wasted, share.idle)]
            assert ours == [worker.useful_fraction, worker.wasted_fraction, worker.idle_fraction]


@pytest.mark.parametrize(
    ("changes", "culprit"),
    [
        (SLOW_FORWARD, "forward of the stages"),
        ({"timing.profile.draft": "3e-3"}, "draft of the draft rank"),
        ({"timing.profile.verify": "1e-3"}, "verify of the draft rank"),
        ({"timing.profile.commit": "2e-3"}, "commit of the draft rank"),
        ({"timing.profile.rollback": "2e-3"}, "rollback of the stages"),
        ({"links.intra_node.latency_s": "300e-6"}, "crossing of the hidden states"),
        ({"links.intra_node.post_s": "100e-6"}, "posting of the hidden states"),
    ],
)
def test_what_takes_longer_is_named(changes: dict[str, str], culprit: str) -> None:
    """Whichever of the two runs it is in."""
    slow = run(changes)
    for measured, predicted in ((run(), slow), (slow, run())):
        found = compare(measured, predicted)
        assert found.culprit is not None and found.culprit.name == culprit
        assert found.culprit.explained_s * found.cycle_difference_s > 0.0
        assert found.culprit.explained_fraction == pytest.approx(
            found.culprit.explained_s / (found.figure("cycle_mean_s").measured or 0.0)
        )


def test_a_slower_forward_explains_the_whole_error() -> None:
    """Where the stages are what every cycle waits for, to the nanosecond."""
    found = compare(run(), run(SLOW_FORWARD))
    assert found.culprit is not None
    assert found.culprit.measured_s == pytest.approx(2e-3) and found.culprit.predicted_s == pytest.approx(2.2e-3)
    assert found.culprit.explained_s == pytest.approx(found.cycle_difference_s, abs=1e-9)
    assert found.unexplained_s == pytest.approx(0.0, abs=1e-9)
    forward = part(found, "forward of the stages")
    assert forward.measured is not None and forward.measured.count == sum(s.op == "forward" for s in run().spans())
    assert found.grade == "C" and found.worst.error_fraction == pytest.approx(0.095, abs=0.005)


def test_what_nobody_waits_for_is_no_culprit() -> None:
    """A draft that is faster, where the stages are slower anyway, and a prefill."""
    changes = {"timing.profile.draft": "1.2e-3", "timing.profile.prefill_per_layer": "3e-3"}
    found = compare(run(), run(changes))
    first = found.figure("time_to_first_token_s").error_fraction
    assert first is not None and first > 0.9 and found.worst.name == "time_to_first_token_s"
    assert found.culprit is None and found.grade == "A"


def test_chance_is_no_culprit() -> None:
    """Runs of one scenario with other draws differ, and no part is blamed; nor for a spread that means do not tell."""
    runs = [run(JITTER, seed=str(seed)) for seed in range(4)]
    for measured, predicted in zip(runs[::2], runs[1::2], strict=True):
        found = compare(measured, predicted)
        assert abs(found.cycle_error) > 0.0 and found.culprit is None
    spread = compare(run(JITTER), run())
    assert spread.culprit is None and spread.cycle_error < -0.04
    assert spread.unexplained_s == pytest.approx(spread.cycle_difference_s, rel=0.2)


@pytest.mark.parametrize("replications", ["1", "2", "12"])
def test_a_culprit_is_found_through_chance(replications: str) -> None:
    """However many sequences there are: with few, batches of cycles tell how sure a mean is."""
    slow = {**JITTER, "timing.profile.forward_per_layer": "{kind: gamma, mean_s: 1.1e-3, cv: 0.2}"}
    found = compare(run(JITTER, replications=replications), run(slow, seed="9", replications=replications))
    assert found.culprit is not None and found.culprit.name == "forward of the stages"
    assert found.culprit.explained_fraction == pytest.approx(0.09, abs=0.03)


def test_time_that_no_span_covers_can_be_the_culprit() -> None:
    """Stages that pause before they compute, in place of a fifth of their forward."""
    trace, header = run(), run().header
    paused = Trace(header)
    for sequence in range(trace.num_sequences):
        paused.begin_sequence()
        for span in trace.spans(sequence):
            site = paused.site_id(Site(span.worker, span.op, span.peer, span.bytes, span.accepted))
            pause_s = 0.2 * (span.end_s - span.start_s) if span.op == "forward" else 0.0
            paused.record(site, span.cycle, span.position, span.start_s + pause_s, span.end_s)
    found = compare(paused, trace)
    gap = part(found, "time between the ops of the stages")
    assert gap.measured is not None and gap.predicted is not None and gap.predicted.mean_s == 0.0
    assert gap.explained_s == -gap.measured.mean_s == pytest.approx(-0.4e-3, rel=0.05)
    assert part(found, "forward of the stages").explained_s == pytest.approx(-gap.explained_s)
    assert found.culprit is not None and found.unexplained_s == pytest.approx(0.0, abs=1e-9)


def test_parts_of_the_cycle_do_not_depend_on_the_clock() -> None:
    """Another zero changes nothing, twice as slow a clock doubles everything."""
    found = compare(run(), shifted(run(), 1000.0, 2.0))
    assert found.cycle_error == pytest.approx(1.0, rel=1e-6)
    assert found.has_same_verdicts and found.grade == "F"
    parts = parts_of(run())
    # Without gaps, the path of a cycle is made of its spans and crossings: their times add up to it.
    held_s = sum(
        sample.path_count * sample.estimate_s[0] for sample in parts.samples.values() if sample.estimate_s is not None
    )
    assert held_s == pytest.approx(found.figure("cycle_mean_s").measured, rel=0.01)


# Verdicts and pipelines.


def test_replayed_verdicts_are_known_as_the_same() -> None:
    """Timing alone differs then; another seed, fewer tokens or fewer sequences are other verdicts."""
    assert compare(run(), run(SLOW_FORWARD)).has_same_verdicts
    for other in (run(seed="5"), run({"workload.new_tokens": "63"}), run(replications="4")):
        assert not compare(run(), other).has_same_verdicts


def test_runs_of_other_sizes_are_compared_and_said_to_be() -> None:
    """In a note."""
    found = compare(run(), run(replications="1"))
    sizes = "2 sequences with 128 tokens measured, 1 sequence with 64 tokens predicted."
    assert f"The runs differ in size: {sizes}" in found.notes
    assert "The predicted run has a single sequence: no interval." in found.notes
    assert found.figure("cycle_mean_s").predicted_interval is None
    assert found.figure("cycle_mean_s").is_within is not None
    assert compare(run(replications="1"), run()).figure("cycle_mean_s").is_within is None


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"partition.stages": "2", "devices.count": "3"}, "num_stages is 2: must be 4, as in a.jsonl"),
        ({"partition.verification_lag": "1"}, "verification_lag is 1: must be 0, as in a.jsonl"),
        ({"partition.lm_head": "own_device", "devices.count": "6"}, "number of workers is 6: must be 5, as in a.jsonl"),
    ],
)
def test_different_pipelines_are_refused_in_one_line(changes: dict[str, str], expected: str) -> None:
    """Which names the difference."""
    with pytest.raises(InputError) as caught:
        compare(run(), run(changes), names=("a.jsonl", "b.jsonl"))
    assert str(caught.value) == f"b.jsonl: {expected}"


def test_what_cannot_be_compared_is_told_by_its_name() -> None:
    """No cycles, no spans."""
    with pytest.raises(TraceError, match=r"^the predicted trace: no token was decoded after the first: must have"):
        compare(run(), run({"workload.new_tokens": "1"}))
    with pytest.raises(TraceError, match=r"^the measured trace: the trace holds no span"):
        compare(Trace(run().header), run())
    header = TraceHeader("executor", "other", 4, 0, tuple(WorkerInfo(i, "stage", "gpu") for i in range(4)))
    with pytest.raises(InputError, match=r"^the measured trace: method is spd: must be other, as in"):
        compare(Trace(header), run(), names=("that", "the measured trace"))


def test_a_task_of_one_run_only_is_noted() -> None:
    """The LM head elsewhere, among the same workers."""
    found = compare(run(), run({"partition.lm_head": "last_stage"}))
    assert "Only the measured run has a verify of the draft rank." in found.notes
    assert "Only the predicted run has a verify of the stages." in found.notes
    verify = [task for task in found.tasks if isinstance(task, TaskTimes) and task.op == "verify"]
    assert [(task.role, task.measured is None, task.predicted is None) for task in verify] == [
        ("draft", False, True), ("stage", True, False),
    ]  # fmt: skip
    # It moves from one to the other: the two together explain little.
    assert sum(task.explained_s for task in verify) == pytest.approx(0.0, abs=0.15e-3)


# Figures and grades.


def test_an_error_is_relative_and_that_of_a_fraction_is_in_points() -> None:
    """None where there is nothing to relate to."""
    assert Figure("x_s", 2.0, 3.0).error_fraction == 0.5
    assert Figure("x_s", 2.0, 3.0).error_points is None
    assert Figure("x", 0.5, 0.75, is_fraction=True).error_points == 0.25
    assert Figure("x_s", 0.0, 3.0).error_fraction is None
    assert Figure("x_s", None, 3.0).error_fraction is None and Figure("x_s", 3.0, None).error_fraction is None


@pytest.mark.parametrize(
    ("predicted", "interval", "expected"),
    [(2.0, None, True), (2.6, None, False), (2.6, (2.4, 2.8), True), (3.0, (2.9, 3.1), False), (1.5, None, True),
     (1.4, (1.3, 1.5), True), (1.0, (0.5, 5.0), True)],
)  # fmt: skip
def test_a_prediction_is_within_where_it_or_its_interval_meets_the_measured_one(
    predicted: float, interval: tuple[float, float] | None, expected: bool
) -> None:
    """The measured interval is 1.5 to 2.5 here."""
    assert Figure("x_s", 2.0, predicted, (1.5, 2.5), interval).is_within is expected
    assert Figure("x_s", 2.0, predicted, None, interval).is_within is None


@pytest.mark.parametrize(
    ("scale", "grade"),
    [(1.024, "A"), (1.026, "B"), (0.96, "B"), (0.94, "C"), (1.101, "D"), (0.81, "D"), (1.21, "F"), (0.5, "F")],
)
def test_the_grade_is_that_of_the_larger_error(scale: float, grade: str) -> None:
    """Of mean cycle and time per token, whatever its sign."""
    trace = run({"workload.new_tokens": "16"}, replications="1")
    found = compare(trace, shifted(trace, 0.0, scale))
    assert found.grade == grade and found.graded_error == pytest.approx(abs(scale - 1.0))
    assert LIMITS == ((0.025, "A"), (0.05, "B"), (0.10, "C"), (0.20, "D"))


# The document.


def test_the_document_survives_json() -> None:
    """Every number comes back, and so does every figure."""
    for trace in (run(SLOW_FORWARD), run(replications="1"), run({"acceptance.p": "1.0"})):
        found = compare(run(JITTER, replications="12"), trace)
        document = to_document(found)
        again: dict[str, Any] = json.loads(document_text(document))
        assert again == document
        assert again["grade"] == found.grade and again["worst"] == found.worst.name
        names = ("name", "measured", "predicted")
        assert [tuple(figure[key] for key in names) for figure in again["figures"]] == [
            tuple(getattr(figure, key) for key in names) for figure in found.figures
        ]
        assert {"role", "op", "measured", "predicted", "explained_s"} <= again["tasks"][0].keys()
        assert {"payload", "leg", "measured", "predicted", "explained_s"} <= again["messages"][0].keys()
