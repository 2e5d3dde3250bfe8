"""From a trace to a report: every figure is computed here, from spans alone, whoever recorded them."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from spdsim import theory
from spdsim.analysis.causality import DRAFT, FORWARD, HOST, LINK, VERIFY, Causality, causality
from spdsim.analysis.decoding import Decoding, decodings
from spdsim.analysis.estimates import mean_of, percentiles, ratio
from spdsim.analysis.fate import USEFUL, fates
from spdsim.analysis.report import Baseline, CycleTimes, Estimate, Report, Sensitivity, Speedup, TimePerToken
from spdsim.analysis.shares import worker_shares
from spdsim.analysis.waterfall import CyclePath, cycle_path, waterfall
from spdsim.errors import TraceError
from spdsim.trace import ONE_DEVICE, PLAIN_PIPELINE, Trace

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_PARAMETERS = (("stage", FORWARD), ("draft", DRAFT), ("verify", VERIFY), ("link", LINK), ("host", HOST))


def summarize(trace: Trace, *, mean_acceptance: float | None = None) -> Report:
    """Return every figure of `trace`.

    mean_acceptance: what the scenario assumes in the long run, for the closed form; None takes the measured one.
    Raises TraceError for a trace without spans or with a sequence whose first token is missing.
    """
    if not len(trace):
        raise TraceError("the trace holds no span: nothing to report")
    graph = causality(trace)
    windows = decodings(trace, graph)
    fate = fates(trace)
    header = trace.header
    run = _Run(graph, windows, fate, header.num_stages)
    acceptance = run.acceptance if mean_acceptance is None else mean_acceptance
    decoded = run.num_steps > 0
    path = cycle_path(graph, windows)
    plain = _plain_times_s(run, header.baseline)
    headline_s = float(next(iter(plain.values())).sum())
    break_even, note = _break_even(run, headline_s) if decoded else (None, "nothing was decoded after the first token")
    return Report(
        source=header.source, method=header.method,
        num_stages=header.num_stages, verification_lag=header.verification_lag,
        num_sequences=len(windows), num_tokens=run.num_tokens, num_cycles=run.num_cycles,
        num_rejections=sum(window.num_rejected for window in windows),
        tokens_per_s=Estimate(*ratio(run.steps, run.times_s)) if decoded else None,
        time_to_first_token_s=Estimate(*mean_of(np.array([w.begin_s - w.prompt_at_s for w in windows]))),
        time_per_token_s=_time_per_token(run) if decoded else None,
        speedup=_speedup(run, plain) if decoded else None,
        baselines=_baselines(run, plain) if decoded else (),
        closed_form_speedup=None if acceptance is None or not decoded
        else theory.speedup(header.num_stages, acceptance, header.verification_lag),
        measured_acceptance=run.acceptance, break_even_acceptance=break_even, break_even_note=note,
        tokens_per_cycle=run.num_tokens / run.num_cycles if decoded else None,
        equivalent_accept_length=header.num_stages * run.num_tokens / run.num_cycles if decoded else None,
        cycle_s=_cycle_times(run) if decoded else None,
        sensitivities=_sensitivities(run, path) if decoded else (),
        waterfall=waterfall(
            path, header.num_stages, run.num_steps, run.num_cycles, headline_s, float(run.stages_s.sum())
        ) if decoded else (),
        workers=worker_shares(trace, graph, fate, windows),
    )  # fmt: skip


@dataclass(frozen=True)
class _Run:
    """A trace, seen as sequences: what the figures below share."""

    graph: Causality
    windows: list[Decoding]
    fate: "NDArray[np.uint8]"
    num_stages: int

    @property
    def num_tokens(self) -> int:
        """Verified tokens of the sequences that decoded any after y_1."""
        return sum(window.num_tokens for window in self.windows if window.num_tokens > 1)

    @property
    def steps(self) -> "Floats":
        """Tokens decoded after y_1, by sequence."""
        return np.array([window.num_tokens - 1.0 for window in self.windows])

    @property
    def num_steps(self) -> int:
        return int(self.steps.sum())

    @property
    def num_cycles(self) -> int:
        return sum(len(window.cycle_s) for window in self.windows)

    @property
    def times_s(self) -> "Floats":
        """Decode time by sequence."""
        return np.array([window.time_s for window in self.windows])

    @property
    def acceptance(self) -> float | None:
        """Fraction of the verified drafts that were accepted; None where nothing was drafted."""
        if self.num_stages == 1 or not self.num_steps:
            return None
        return 1.0 - sum(window.num_rejected for window in self.windows) / self.num_steps

    @property
    def stages_s(self) -> "Floats":
        """Useful time of all stages, by sequence."""
        return self._useful_s("forward")

    @property
    def lm_head_s(self) -> "Floats":
        """Time of the delivered verifications after y_1, shards added up, by sequence."""
        return self._useful_s("verify")

    def _useful_s(self, op: str) -> "Floats":
        graph = self.graph
        which = graph.of_op(op) & (self.fate == USEFUL) & (graph.cycle >= 0)
        seconds = (graph.end_s - graph.start_s)[which]
        return np.asarray(np.bincount(graph.sequence[which], weights=seconds, minlength=len(self.windows)), np.float64)


def _plain_times_s(run: _Run, headline: str) -> dict[str, "Floats"]:
    """Seconds by sequence that plain decoding takes for the same tokens with the same durations, headline first."""
    one_device = run.stages_s + run.lm_head_s
    times = {ONE_DEVICE: one_device}
    if run.num_stages > 1:
        times[PLAIN_PIPELINE] = one_device + run.steps * _hops_s(run.graph)
    return {name: times[name] for name in sorted(times, key=lambda name: name != headline)}


def _hops_s(graph: Causality) -> float:
    """Seconds that the hidden states spend between the stages: posting and crossing, mean of each hop, added up.

    A receipt tells the crossing only if it waited; where none did, the shortest is the best bound there is.
    """
    receipts = np.flatnonzero(graph.of_op("recv hidden") & (graph.posting >= 0) & (graph.cycle >= 0))
    posting = graph.posting[receipts]
    # Only from stage to next stage: the LM head's copies are not hops of the pipeline.
    hop = graph.worker[receipts] - graph.worker[posting] == 1
    hop &= graph.worker[posting] >= 1
    receipts, posting = receipts[hop], posting[hop]
    receives_for_head = np.isin(graph.worker[receipts], _head_workers(graph))
    receipts, posting = receipts[~receives_for_head], posting[~receives_for_head]
    crossing_s = graph.end_s[receipts] - graph.end_s[posting]
    total_s = 0.0
    for worker in np.unique(graph.worker[receipts]):
        here = graph.worker[receipts] == worker
        waited = here & graph.is_wait[receipts]
        total_s += float(crossing_s[waited].mean() if waited.any() else crossing_s[here].min())
        total_s += float((graph.end_s[posting] - graph.start_s[posting])[here].mean())
    return total_s


def _head_workers(graph: Causality) -> "NDArray[np.int64]":
    """Workers that never run a stage."""
    return np.setdiff1d(np.unique(graph.worker), np.unique(graph.worker[graph.of_op("forward")]))


def _time_per_token(run: _Run) -> TimePerToken:
    by_sequence = [window.token_gaps_s() for window in run.windows if window.num_tokens > 1]
    (p50, p95, p99), intervals = percentiles(by_sequence, (50, 95, 99))
    return TimePerToken(*ratio(run.times_s, run.steps), p50, p95, p99, *intervals)


def _speedup(run: _Run, plain: dict[str, "Floats"]) -> Speedup:
    name, plain_s = next(iter(plain.items()))
    return Speedup(*ratio(plain_s, run.times_s), over=name)


def _baselines(run: _Run, plain: dict[str, "Floats"]) -> tuple[Baseline, ...]:
    headline = next(iter(plain))
    return tuple(
        Baseline(
            name, float(plain_s.sum()) / run.num_steps, float(plain_s.sum() / run.times_s.sum()),
            "hypothetical: the model does not fit one device" if name == ONE_DEVICE != headline else "",
        )
        for name, plain_s in plain.items()
    )  # fmt: skip


def _cycle_times(run: _Run) -> CycleTimes:
    cycle_s = np.concatenate([window.cycle_s for window in run.windows])
    is_full = np.concatenate([window.is_full for window in run.windows])
    p50, p95 = np.percentile(cycle_s, (50, 95)).tolist()
    return CycleTimes(float(cycle_s.mean()), p50, p95, _mean_s(cycle_s[is_full]), _mean_s(cycle_s[~is_full]))


def _mean_s(seconds: "Floats") -> float | None:
    return float(seconds.mean()) if len(seconds) else None


def _full_and_refill_s(run: _Run) -> tuple[float, float]:
    """Mean seconds of a full cycle, and of all fill cycles that one rejection costs.

    The identity behind it: time = (K - 1) full + (R + 1) refill, per sequence.
    """
    fill_s = sum(float(window.cycle_s[~window.is_full].sum()) for window in run.windows)
    full_s = sum(float(window.cycle_s[window.is_full].sum()) for window in run.windows)
    refills = sum(window.num_rejections + 1 for window in run.windows if window.num_tokens > 1)
    return full_s / run.num_steps, fill_s / refills


def _break_even(run: _Run, plain_total_s: float) -> tuple[float | None, str]:
    """The acceptance at which a token takes as long as in plain decoding, in a long run."""
    if run.num_stages == 1:
        return None, "one stage drafts nothing"
    full_s, refill_s = _full_and_refill_s(run)
    plain_s = plain_total_s / run.num_steps
    if full_s >= plain_s:
        return None, "none: even with every draft accepted a cycle takes longer than a plain token"
    if plain_s >= full_s + refill_s:
        return 0.0, "pays at any acceptance"
    return 1.0 - (plain_s - full_s) / refill_s, ""


def _sensitivities(run: _Run, path: CyclePath) -> tuple[Sensitivity, ...]:
    """What 1 % more of each parameter does to the time per token, to first order.

    A duration counts by its share of the critical path; acceptance by the refills that it saves.
    """
    time_s = float(run.times_s.sum())
    found = []
    if run.acceptance is not None:
        _, refill_s = _full_and_refill_s(run)
        saved = 0.01 * run.acceptance * refill_s * run.num_steps / time_s
        found.append(Sensitivity("acceptance", -saved))
    found += [Sensitivity(name, 0.01 * float(path.by_category_s[category]) / time_s) for name, category in _PARAMETERS]
    return tuple(found)
