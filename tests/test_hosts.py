"""Host and device are different resources: what a cycle costs when the host is ahead, behind, or has to wait."""

from dataclasses import replace
from pathlib import Path

import pytest

from spdsim import load_scenario, simulate, summarize
from spdsim.analysis.report import Report
from spdsim.distributions import Constant
from spdsim.machine import Duration, Issue, Machine
from spdsim.schedules.ops import Task
from spdsim.schedules.spd import Layout
from tests.machines import machine, play, run


def issued(base: Machine, task: Task, device_s: float, issue: Issue) -> Machine:
    """Return the machine with a task of so many seconds on the device, issued by the host."""
    tasks = {
        key: Duration(Constant(device_s), issue=issue) if key[1] == task else old for key, old in base.tasks.items()
    }
    return replace(base, tasks=tasks)


def ahead(base: Machine) -> Machine:
    """Return the machine with every receipt but a verdict posted ahead."""
    messages = {
        edge: replace(old, receipt="read" if edge[0] == "verdict" else "posted") for edge, old in base.messages.items()
    }
    return replace(base, messages=messages)


def cycle_s(base: Machine) -> float:
    """Return the length of a full cycle: the time between the last two tokens."""
    commits = [span.end_s for span in play(base, "A" * 40).spans() if span.op == "commit"]
    return commits[-1] - commits[-2]


PLAIN = machine(Layout(1), commit=0.0, verify=0.0)


@pytest.mark.parametrize(
    ("device_s", "lead_s", "total_s", "expected_s"),
    [
        (1.0, 0.0, 0.25, 1.0),  # the device is longer
        (1.0, 0.0, 3.0, 3.0),  # the host is: it issues kernel by kernel
        (1.0, 0.5, 0.5, 1.5),  # a graph begins when it is launched
        (1.0, 0.5, 1.25, 1.5),
    ],
)
def test_a_task_ends_when_both_host_and_device_have_done_it(
    device_s: float, lead_s: float, total_s: float, expected_s: float
) -> None:
    """Where the host waits for the result, it is ahead of nothing."""
    assert cycle_s(issued(PLAIN, "forward", device_s, Issue(lead_s, total_s, is_read=True))) == expected_s


def test_a_host_that_is_ahead_hides_its_launches_and_posts() -> None:
    """Stages of 1 s whose hosts take 0.25 s to launch and 0.25 s to post: only a verdict lets them show."""
    hidden = ahead(machine(Layout(2), draft=0.0, post=0.25))
    hidden = issued(hidden, "forward", 1.0, Issue(0.25, 0.25))
    # A full cycle: the verdict is posted to the last stage first (0.25), read there, the forward launched (0.25) and
    # run (1.0); what the last stage posts then is hidden, and the draft rank's verification is free.
    assert cycle_s(hidden) == pytest.approx(1.5)
    # Without issuing ahead, the last stage's post comes on top.
    assert cycle_s(machine(Layout(2), draft=0.0, post=0.25, forward=1.25)) == pytest.approx(1.75)


def test_a_verdict_stops_the_host_and_a_posted_receipt_does_not() -> None:
    """Filling brings no verdict, so hosts run ahead; in a full cycle each launch shows again."""
    base = issued(ahead(machine(Layout(4), draft=0.0)), "forward", 1.0, Issue(0.5, 0.5))
    spans = [span for span in play(base, "AAAA").spans() if span.op == "forward" and span.worker == 1]
    by_cycle = [span.end_s - span.start_s for span in spans]
    assert by_cycle[1:4] == [1.0, 1.0, 1.0]
    assert by_cycle[4:] == [1.5] * len(by_cycle[4:])


@pytest.mark.parametrize("lm_head", ["draft_rank", "last_stage", "sharded", "own_device"])
@pytest.mark.parametrize("lag", [0, 1])
def test_a_slower_host_never_makes_decoding_faster(lm_head: str, lag: int) -> None:
    """Whatever it issues, at the same verdicts; and a host that takes no time leaves the device's time alone."""
    layout = Layout(3, lm_head, lag)  # type: ignore[arg-type]
    base = ahead(machine(layout, draft=0.6, verify=0.3, hop=0.1))
    ends = []
    for host_s in (0.0, 0.2, 0.5, 2.0):
        tried = base
        for task, device_s in (("forward", 1.0), ("draft", 0.6), ("verify", 0.3)):
            tried = issued(tried, task, device_s, Issue(host_s / 2, host_s, is_read=task == "verify"))  # type: ignore[arg-type]
        ends.append(max(span.end_s for span in run(tried).spans()))
    assert ends == sorted(ends)
    assert ends[0] == pytest.approx(max(span.end_s for span in run(base).spans()))


# What a report makes of it.

SCENARIO = Path(__file__).parent.parent / "scenarios" / "rtx4090x4-pcie.yaml"
LAUNCHES = ("eager", "compiled", "cuda_graph")


def reported(*settings: str) -> Report:
    """Return the report of a small model on fast devices, where hosts matter."""
    fixed = ["model=qwen3.5-4b", "devices.gpu=h100-sxm", "replications=2", "workload.new_tokens=64"]
    return summarize(simulate(load_scenario(SCENARIO, [*fixed, *settings])))


@pytest.mark.parametrize("launch", LAUNCHES)
def test_the_baseline_is_what_one_stage_takes_whatever_is_accepted(launch: str) -> None:
    """Plain decoding pays its own launches, and nothing of the pipeline's."""
    alone = reported(f"runtime.launch={launch}", "partition.stages=1").time_per_token_s
    assert alone is not None
    for p in (0, 0.5, 1):
        baseline = reported(f"runtime.launch={launch}", f"acceptance.p={p}").baselines[0]
        assert baseline.time_per_token_s == pytest.approx(alone.mean, rel=1e-9)


@pytest.mark.parametrize("launch", LAUNCHES)
@pytest.mark.parametrize("receipts", ["posted", "serial"])
def test_links_that_cost_nothing_lose_nothing(launch: str, receipts: str) -> None:
    """Whatever hosts take to post and to handle: that is theirs."""
    free = "links.intra_node={latency_s: 0, bandwidth_bytes_per_s: 1e18, post_s: 20e-6, receive_s: 20e-6}"
    report = reported(f"runtime.launch={launch}", f"runtime.receipts={receipts}", free)
    steps = {step.step: step.factor for step in report.waterfall}
    assert steps["links"] == pytest.approx(1.0, abs=1e-6)
    assert next(
        s.time_per_token_change_fraction for s in report.sensitivities if s.parameter == "link"
    ) == pytest.approx(0.0, abs=1e-9)
    assert all(worker.idle_by_cause["link"] == pytest.approx(0.0, abs=1e-9) for worker in report.workers)


@pytest.mark.parametrize("launch", LAUNCHES)
def test_the_steps_multiply_to_the_speedup_and_the_shares_to_one(launch: str) -> None:
    """With hosts as without."""
    report = reported(f"runtime.launch={launch}")
    assert report.speedup is not None
    assert report.waterfall[-1].speedup_after == pytest.approx(report.speedup.mean, rel=1e-9)
    for worker in report.workers:
        assert worker.useful_fraction + worker.wasted_fraction + worker.idle_fraction == pytest.approx(1.0)


def test_what_hosts_issue_too_slowly_is_the_hosts() -> None:
    """In eager mode a faster host would help and a faster device would not; in a graph it is the other way round."""
    eager = {s.parameter: s.time_per_token_change_fraction for s in reported("runtime.launch=eager").sensitivities}
    graph = {s.parameter: s.time_per_token_change_fraction for s in reported("runtime.launch=cuda_graph").sensitivities}
    assert eager["host"] > 0.006 > eager["stage"]
    assert graph["stage"] + graph["draft"] > 0.007 > graph["host"]
