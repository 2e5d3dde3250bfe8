"""The figures of a report against slow loops over spans that share nothing with the analysis."""

from collections import defaultdict
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from random import Random
from statistics import median

import pytest

from spdsim.analysis.report import CAUSES
from spdsim.analysis.summary import summarize
from spdsim.distributions import Constant, Distribution
from spdsim.machine import Duration, Machine
from spdsim.schedules.ops import Task
from spdsim.schedules.spd import Layout
from spdsim.trace import ONE_DEVICE, PLAIN_PIPELINE, Span
from tests.machines import machine, play
from tests.test_reference import KINDS as ALL_KINDS
from tests.test_reference import Kind, random_layout, random_machine

KINDS = {name: kind for name, kind in ALL_KINDS.items() if not kind.hosts}
"""Hosts have their own tests: what they issue ahead is in no span."""

CATEGORIES: dict[str, tuple[Task, ...]] = {
    "stage": ("forward",), "draft": ("draft",), "verify": ("verify", "combine"), "host": ("commit", "rollback"),
    "link": (),
}  # fmt: skip
CAUSE_OF = {
    "stage": "slower_stage", "draft": "draft", "verify": "verdict", "link": "link", "host": "host",
    "sharing": "shared_device",
}  # fmt: skip


@dataclass(frozen=True)
class Oracle:
    """One sequence on `machine` with the given verdicts, and its figures by brute force."""

    machine: Machine
    verdicts: str

    @cached_property
    def spans(self) -> list[Span]:
        """All spans; those of a worker in its order."""
        return list(play(self.machine, self.verdicts).spans())

    def of_worker(self, worker: int) -> list[int]:
        """The indices of the spans of `worker`, in its order."""
        return [i for i, span in enumerate(self.spans) if span.worker == worker]

    # The window.

    @cached_property
    def commit_cycles(self) -> list[int]:
        """The cycle of every verified token's commit, y_1 first."""
        return [span.cycle for span in self.spans if span.op == "commit"]

    @cached_property
    def begin_s(self) -> float:
        """When the driver has committed y_1."""
        return next(span.end_s for span in self.spans if span.op == "commit" and span.cycle == -1)

    @cached_property
    def last(self) -> int:
        """The driver's last span."""
        return self.of_worker(0)[-1]

    @cached_property
    def num_cycles(self) -> int:
        """Cycles after the prefill."""
        return self.spans[self.last].cycle + 1

    @cached_property
    def cycle_ends_s(self) -> list[float]:
        """The end of each of the driver's cycles."""
        ends_s: list[float] = []
        for cycle in range(self.num_cycles):
            mine = [s.end_s for s in self.spans if s.worker == 0 and s.cycle == cycle]
            ends_s.append(max([*mine, ends_s[-1] if ends_s else self.begin_s]))
        return ends_s

    @cached_property
    def time_s(self) -> float:
        """T."""
        return self.cycle_ends_s[-1] - self.begin_s

    @property
    def token_gaps_s(self) -> list[float]:
        """Seconds from each token to the next, smallest first."""
        ends_s = [self.begin_s, *(self.cycle_ends_s[cycle] for cycle in self.commit_cycles[1:])]
        return sorted(b - a for a, b in pairwise(ends_s))

    # What became of work.

    @cached_property
    def last_cycles(self) -> dict[tuple[int, str, int], int]:
        """The last cycle in which a worker does an op for a position."""
        return {(s.worker, s.op, s.position): s.cycle for s in self.spans}

    def fate(self, i: int) -> str:
        """What became of a computation: the last one for a token that was asked for is the one that was used."""
        span, num_tokens = self.spans[i], len(self.verdicts) + 1
        if span.op == "prefill" or span.cycle < 0:
            return "useful"
        is_last = self.last_cycles[span.worker, span.op, span.position] == span.cycle
        is_kept = span.op != "draft" or self.verdicts[span.position - 1 :][:1] == "A"
        if is_last and is_kept and span.position < num_tokens - (span.op == "forward"):
            return "useful"
        youngest_kept = span.position - (span.op in ("verify", "combine"))
        for position, letter in enumerate(self.verdicts, start=1):
            if letter == "R" and position <= youngest_kept and self.commit_cycles[position] >= span.cycle:
                return "wasted"
        return "abandoned_tail"

    @cached_property
    def plain_s(self) -> float:
        """Time of plain decoding with the useful forward passes and verifications; one stage is plain decoding."""
        if self.machine.layout.num_stages == 1:
            return self.time_s
        return self.useful_s("forward") + self.useful_s("verify")

    def useful_s(self, op: str) -> float:
        """Seconds of the useful computations `op` after y_1."""
        mine = [i for i, s in enumerate(self.spans) if s.op == op and s.cycle >= 0 and self.fate(i) == "useful"]
        return sum(self.spans[i].end_s - self.spans[i].start_s for i in mine)

    # Causes.

    @cached_property
    def before(self) -> dict[int, int]:
        """The span before each span on its worker."""
        found = {}
        for worker in range(self.machine.layout.num_workers):
            for a, b in pairwise(self.of_worker(worker)):
                found[b] = a
        return found

    @cached_property
    def posting(self) -> dict[int, int]:
        """The posting of each receipt's message: the same message of the same cycle at the other end."""
        sent = {(s.cycle, s.op.split()[1], s.worker, s.peer): i for i, s in enumerate(self.spans) if s.op[:4] == "send"}
        return {
            i: sent[s.cycle, s.op.split()[1], s.peer, s.worker]
            for i, s in enumerate(self.spans)
            if s.op[:4] == "recv" and s.peer is not None
        }

    def is_wait(self, i: int) -> bool:
        """Whether span i is a receipt that took time."""
        return self.spans[i].op[:4] == "recv" and self.spans[i].end_s > self.spans[i].start_s

    def category(self, i: int) -> str:
        """What the time of span i is charged to."""
        span = self.spans[i]
        if span.op == "prefill" and span.worker == 0 and self.machine.layout.num_stages > 1:
            return "draft"
        return next((name for name, tasks in CATEGORIES.items() if span.op in tasks), "host")

    def gap_category(self, i: int) -> str:
        """What the time before span i is charged to, where its worker has no span."""
        devices = [worker.device for worker in self.machine.workers]
        is_shared = devices.count(devices[self.spans[i].worker]) > 1
        return "sharing" if is_shared and self.spans[i].peer is None and self.spans[i].op != "commit" else "host"

    def walk(self, i: int, upper_s: float, low_s: float) -> list[tuple[int, str, float, float]]:
        """Follow the causes back from `upper_s`, in span i, to `low_s`: (cycle, category, from, to), latest first."""
        pieces: list[tuple[int, str, float, float]] = []

        def charge(span: int, category: str, until_s: float) -> None:
            nonlocal upper_s
            until_s = max(low_s, min(until_s, upper_s))
            if until_s < upper_s:
                pieces.append((self.spans[span].cycle, category, until_s, upper_s))
            upper_s = until_s

        while upper_s > low_s:
            if self.is_wait(i):
                charge(i, "link", self.spans[self.posting[i]].end_s)
                i = self.posting[i]
                continue
            charge(i, self.category(i), self.spans[i].start_s)
            if i not in self.before:
                charge(i, self.gap_category(i), low_s)
                break
            charge(i, self.gap_category(i), self.spans[self.before[i]].end_s)
            i = self.before[i]
        return pieces

    def queues(self) -> bool:
        """Whether a message was posted while another of its kind was on the same way."""
        posted: dict[tuple[str, int, int | None], float] = {}
        for span in self.spans:
            if span.op[:4] == "send":
                edge = (span.op, span.worker, span.peer)
                transits = [
                    m.transit for (_, source, to), m in self.machine.messages.items() if (source, to) == edge[1:]
                ]
                longest_s = max(t.value_s for t in transits if isinstance(t, Constant))
                if edge in posted and span.end_s < posted[edge] + longest_s:
                    return True
                posted[edge] = span.end_s
        return False

    def path(self, low_s: float | None = None) -> list[tuple[int, str, float, float]]:
        """The critical path, from the driver's last span back to the start of the window."""
        return self.walk(self.last, self.spans[self.last].end_s, self.begin_s if low_s is None else low_s)

    def slope_s(self, category: str) -> float:
        """The change of T for a relative change of everything in `category`, while the paths stay what they are."""
        commit = next(i for i, s in enumerate(self.spans) if s.op == "commit" and s.cycle == -1)
        until_end = sum(b - a for _, name, a, b in self.path(0.0) if name == category)
        until_begin = sum(b - a for _, name, a, b in self.walk(commit, self.begin_s, 0.0) if name == category)
        return until_end - until_begin

    # Shares.

    @cached_property
    def with_token(self) -> set[tuple[int, int]]:
        """The workers and cycles in which a token is run or verified."""
        return {(s.worker, s.cycle) for s in self.spans if s.op in ("forward", "verify")}

    def shares(self, worker: int) -> dict[str, float]:
        """Seconds of `worker` in the window: useful, wasted, and idle by cause."""
        spent: dict[str, float] = defaultdict(float)
        end_s = self.spans[self.last].end_s
        reached_s = self.begin_s
        for i in self.of_worker(worker):
            span = self.spans[i]
            low_s, high_s = (min(max(s, self.begin_s), end_s) for s in (span.start_s, span.end_s))
            spent[CAUSE_OF[self.gap_category(i)]] += max(0.0, low_s - reached_s)
            reached_s = max(reached_s, high_s)
            if high_s == low_s:
                continue
            if self.is_wait(i):
                for cause, seconds in self.causes(i, low_s, high_s).items():
                    spent[cause] += seconds
            elif span.peer is not None or self.category(i) == "host":
                spent["host"] += high_s - low_s
            else:
                spent[self.fate(i)] += high_s - low_s
        spent["abandoned_tail"] += end_s - reached_s
        return spent

    def causes(self, i: int, low_s: float, high_s: float) -> dict[str, float]:
        """Seconds of a wait by cause."""
        span, causes = self.spans[i], defaultdict[str, float](float)
        has_token = (span.worker, span.cycle) in self.with_token
        if span.cycle >= 0 and span.worker != 0 and not has_token:
            return {"pipeline_fill": high_s - low_s}
        for _, name, a, b in self.walk(i, high_s, low_s):
            causes[CAUSE_OF[name]] += b - a
        return causes


def percentile(values: list[float], percent: float) -> float:
    """The percentile of sorted values, linear between neighbours."""
    rank = percent / 100 * (len(values) - 1)
    below = int(rank)
    above = min(below + 1, len(values) - 1)
    return values[below] + (rank - below) * (values[above] - values[below])


def oracles(kind: Kind, count: int, first: int = 0) -> list[Oracle]:
    """Random runs of two tokens or more, whose stages take some time."""
    found = []
    for seed in range(first, first + count):
        random = Random(seed)
        machine = random_machine(random, random_layout(random), kind)
        p = random.choice([0.3, 0.7, 0.9])
        verdicts = "".join("A" if random.random() < p else "R" for _ in range(random.randrange(1, 16)))
        oracle = Oracle(machine, verdicts)
        if oracle.useful_s("forward") > 0.0:
            found.append(oracle)
    return found


def slower(machine: Machine, category: str, factor: float) -> Machine:
    """Return the machine with everything of one category `factor` times as long."""

    def scaled(distribution: Distribution) -> Distribution:
        assert isinstance(distribution, Constant)
        return Constant(distribution.value_s * factor)

    tasks = {}
    for (worker, task), duration in machine.tasks.items():
        is_draft_prefill = category == "draft" and task == "prefill" and worker == 0 and machine.layout.num_stages > 1
        if task in CATEGORIES[category] or is_draft_prefill:
            by_depth = duration.by_fill_depth and tuple(scaled(entry) for entry in duration.by_fill_depth)
            duration = Duration(scaled(duration.base), duration.per_context_token_s * factor, by_depth)
        tasks[worker, task] = duration
    messages = dict(machine.messages)
    for edge, message in messages.items():
        if category == "link":
            transit, prefill = scaled(message.transit), scaled(message.prefill_transit)
            messages[edge] = replace(message, transit=transit, prefill_transit=prefill)
        if category == "host":
            messages[edge] = replace(message, post=scaled(message.post))
    return replace(machine, tasks=tasks, messages=messages)


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_tokens_cycles_times_and_speedup_are_those_counted_by_hand(kind: Kind) -> None:
    """Each figure from the spans and the verdicts alone."""
    for oracle in oracles(kind, 8):
        trace, num_tokens = play(oracle.machine, oracle.verdicts), len(oracle.verdicts) + 1
        n = oracle.machine.layout.num_stages
        report = summarize(trace)
        assert report.time_per_token_s is not None and report.tokens_per_s is not None and report.speedup is not None
        assert report.num_tokens == num_tokens and report.num_cycles == oracle.num_cycles
        assert n == 1 or report.num_rejections == oracle.verdicts.count("R")
        per_token_s = oracle.time_s / (num_tokens - 1)
        assert report.time_per_token_s.mean == pytest.approx(per_token_s, rel=1e-9)
        assert report.tokens_per_s.mean == pytest.approx(1 / per_token_s, rel=1e-9)
        assert report.time_to_first_token_s.mean == pytest.approx(oracle.begin_s, rel=1e-9)
        gaps_s = oracle.token_gaps_s
        got = report.time_per_token_s
        wanted = [percentile(gaps_s, percent) for percent in (50, 95, 99)]
        assert [got.p50, got.p95, got.p99] == pytest.approx(wanted, rel=1e-9, abs=1e-12)
        times = {baseline.name: baseline.time_per_token_s for baseline in report.baselines}
        assert times[ONE_DEVICE] == pytest.approx(oracle.plain_s / (num_tokens - 1), rel=1e-9)
        assert report.speedup.mean == pytest.approx(oracle.plain_s / oracle.time_s, rel=1e-9)


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_every_worker_spends_its_time_as_counted_by_hand(kind: Kind) -> None:
    """Useful, wasted, and every cause of idle time; together the whole window."""
    for oracle in oracles(kind, 8, 1000):
        for got in summarize(play(oracle.machine, oracle.verdicts)).workers:
            wanted = oracle.shares(got.worker)
            assert got.useful_fraction == pytest.approx(wanted["useful"] / oracle.time_s, abs=1e-9)
            assert got.wasted_fraction == pytest.approx(wanted["wasted"] / oracle.time_s, abs=1e-9)
            idle = {cause: wanted[cause] / oracle.time_s for cause in CAUSES}
            assert got.idle_by_cause == pytest.approx(idle, abs=1e-9)
            assert got.useful_fraction + got.wasted_fraction + sum(idle.values()) == pytest.approx(1.0, abs=1e-9)


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_the_critical_path_is_without_a_hole_and_its_shares_are_the_sensitivities(kind: Kind) -> None:
    """The pieces follow each other from the end of the window to its start; 1 % of a category is its share."""
    for oracle in oracles(kind, 8, 2000):
        path = oracle.path()
        assert path[0][3] == oracle.spans[oracle.last].end_s and path[-1][2] == oracle.begin_s
        assert all(later[2] == earlier[3] for later, earlier in pairwise(path))
        assert sum(b - a for _, _, a, b in path) == pytest.approx(oracle.time_s, rel=1e-9)
        report = summarize(play(oracle.machine, oracle.verdicts))
        got = {s.parameter: s.time_per_token_change_fraction for s in report.sensitivities}
        # On shared devices the path of the sensitivities goes on at whoever held the device.
        for category in CATEGORIES if kind.devices is None else ():
            share = sum(b - a for _, name, a, b in path if name == category) / oracle.time_s
            assert got[category] == pytest.approx(0.01 * share, abs=1e-9)


def test_on_shared_devices_too_a_sensitivity_is_what_running_it_again_gives() -> None:
    """Nearly always exactly: what decides at the edge of the window, or in a queue of messages, is not seen."""
    errors = []
    for oracle in oracles(Kind(devices="turns", link_each=True), 30, 6000):
        report = summarize(play(oracle.machine, oracle.verdicts))
        got = {s.parameter: s.time_per_token_change_fraction for s in report.sensitivities}
        for category in CATEGORIES:
            after = Oracle(slower(oracle.machine, category, 1.0 + 1e-7), oracle.verdicts)
            wanted = 0.01 * (after.time_s - oracle.time_s) / 1e-7 / oracle.time_s
            errors.append(abs(got[category] - wanted))
    assert median(errors) < 1e-6
    assert sum(error < 1e-4 for error in errors) > 0.6 * len(errors)
    assert max(errors) < 0.003


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_the_waterfall_is_that_of_the_critical_path(kind: Kind) -> None:
    """Step by step, from n to the speedup."""
    for oracle in oracles(kind, 8, 3000):
        n, num_steps = oracle.machine.layout.num_stages, len(oracle.verdicts)
        levels_s = [0.0] * 6
        for cycle in range(oracle.num_cycles):
            mine = [(name, b - a) for at, name, a, b in oracle.path() if max(at, 0) == cycle]
            held = {key: sum(s for name, s in mine if name == key) for key in (*CATEGORIES, "sharing")}
            forwards = [s.end_s - s.start_s for s in oracle.spans if s.op == "forward" and s.cycle == cycle]
            floor_s = held["stage"] or min(max(forwards, default=0.0), sum(held.values()))
            so_far_s = 0.0
            for level, key in enumerate(("stage", "draft", "verify", "link", "host", "sharing")):
                so_far_s += held[key]
                levels_s[level] += max(so_far_s, floor_s)
        factors = [num_steps / oracle.num_cycles, oracle.plain_s / oracle.useful_s("forward")]
        factors.append(oracle.useful_s("forward") / n * oracle.num_cycles / num_steps / levels_s[0])
        factors += [before / after for before, after in pairwise(levels_s)]
        got = summarize(play(oracle.machine, oracle.verdicts)).waterfall
        assert [step.factor for step in got] == pytest.approx(factors, rel=1e-9)
        assert got[-1].speedup_after == pytest.approx(oracle.plain_s / oracle.time_s, rel=1e-9)


@pytest.mark.parametrize("category", CATEGORIES)
def test_a_little_more_of_a_category_costs_its_share_of_the_critical_path(category: str) -> None:
    """Where nobody queues the path is the derivative, if it is followed beyond the start of the window too."""
    for oracle in oracles(Kind(link_each=True), 30, 4000):
        if oracle.queues():
            continue
        wanted_s = oracle.slope_s(category)
        after = Oracle(slower(oracle.machine, category, 1.0 + 1e-7), oracle.verdicts)
        assert (after.time_s - oracle.time_s) / 1e-7 == pytest.approx(wanted_s, abs=1e-5)


def test_the_plain_pipeline_adds_the_hops_of_the_hidden_state() -> None:
    """Posting and crossing of every hop from stage to stage, where each hop is waited for."""
    for oracle in oracles(KINDS["private"], 40, 5000):
        n = oracle.machine.layout.num_stages
        hops_s = 0.0
        for worker in range(1, n):
            message = oracle.machine.messages["hidden", worker, worker + 1]
            assert isinstance(message.post, Constant) and isinstance(message.transit, Constant)
            hops_s += message.post.value_s + message.transit.value_s
        waited = {s.worker for s in oracle.spans if s.op == "recv hidden" and s.cycle >= 0 and s.end_s > s.start_s}
        if n == 1 or not waited >= set(range(2, n + 1)):
            continue
        report = summarize(play(oracle.machine, oracle.verdicts))
        times = {baseline.name: baseline.time_per_token_s for baseline in report.baselines}
        assert times[PLAIN_PIPELINE] - times[ONE_DEVICE] == pytest.approx(hops_s, rel=1e-9)


def test_stages_that_take_no_time_have_a_report_too() -> None:
    """A profile may say so: all that is left is the draft."""
    assert summarize(play(machine(Layout(2), forward=0.0, draft=1.0, verify=0.5), "AA")).time_per_token_s is not None
