"""From a trace to a report: every figure is computed here, from spans alone, whoever recorded them."""

from typing import TYPE_CHECKING

import numpy as np

from spdsim import theory
from spdsim.analysis.causality import DRAFT, FORWARD, HOST, LINK, VERIFY
from spdsim.analysis.digest import Digest, digest
from spdsim.analysis.estimates import mean_of, percentiles, ratio
from spdsim.analysis.report import (
    Baseline,
    CycleTimes,
    Estimate,
    Report,
    Sensitivity,
    Speedup,
    TimePerToken,
    WaterfallStep,
)
from spdsim.analysis.shares import worker_shares
from spdsim.analysis.waterfall import waterfall, waterfall_of_rounds
from spdsim.trace import ONE_DEVICE, PIPELINED, PLAIN_PIPELINE, Trace, TraceHeader

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_PARAMETERS = (("stage", FORWARD), ("draft", DRAFT), ("verify", VERIFY), ("link", LINK), ("host", HOST))


def summarize(trace: Trace) -> Report:
    """Return every figure of `trace`.

    The closed form is for the mean acceptance that the trace's header names, or else for the measured one.
    Raises TraceError for a trace without spans, or with spans that cannot be those of whole runs.
    """
    run, header = digest(trace), trace.header
    acceptance = run.acceptance if header.mean_acceptance is None else header.mean_acceptance
    decoded = run.num_steps > 0 and float(run.times_s.sum()) > 0.0
    plain = _plain_times_s(run, header)
    headline_s = float(next(iter(plain.values())).sum())
    is_pipelined = header.method in PIPELINED
    break_even, note = _break_even(run, header, headline_s) if decoded else (None, "only the first token was decoded")
    return Report(
        source=header.source, method=header.method,
        num_stages=header.num_stages, verification_lag=header.verification_lag,
        num_sequences=len(run.windows), num_traced=len(run.windows),
        num_tokens=run.num_tokens, num_cycles=run.num_cycles,
        num_rejections=sum(window.num_rejected for window in run.windows),
        tokens_per_s=Estimate(*ratio(run.steps, run.times_s)) if decoded else None,
        time_to_first_token_s=Estimate(*mean_of(np.array([w.begin_s - w.prompt_at_s for w in run.windows]))),
        time_per_token_s=_time_per_token(run) if decoded else None,
        speedup=_speedup(run, plain) if decoded else None,
        baselines=_baselines(run, plain, header) if decoded else (),
        closed_form_speedup=None if acceptance is None or not is_pipelined
        else theory.speedup(header.num_stages, acceptance, header.verification_lag),
        mean_acceptance=header.mean_acceptance, measured_acceptance=run.acceptance,
        break_even_acceptance=break_even, break_even_note=note,
        tokens_per_cycle=run.tokens_per_cycle if decoded else None,
        equivalent_accept_length=header.num_stages * run.tokens_per_cycle if decoded and is_pipelined else None,
        cycle_s=_cycle_times(run) if decoded else None,
        sensitivities=_sensitivities(run, header) if decoded else (),
        waterfall=_waterfall(run, header, headline_s) if decoded else (),
        workers=worker_shares(run.spent, header.workers, float(run.times_s.sum())),
    )  # fmt: skip


def _waterfall(run: Digest, header: TraceHeader, plain_s: float) -> tuple[WaterfallStep, ...]:
    if header.method in PIPELINED:
        stages_s = _stages_s(run, header)
        return waterfall(run.path, header.num_stages, run.num_steps, run.num_cycles, plain_s, stages_s)
    return waterfall_of_rounds(run.path, run.num_steps, run.num_cycles, plain_s)


def _plain_times_s(run: Digest, header: TraceHeader) -> dict[str, "Floats"]:
    """Seconds by sequence that plain decoding takes for the same tokens with the same durations, headline first."""
    known_s = header.plain_token_s
    if len(header.workers) < 2:
        # A pipeline of one stage is plain decoding, if not always on one device.
        if known_s is None or header.devices_per_stage == 1:
            return {ONE_DEVICE: run.times_s}
        return {PLAIN_PIPELINE: run.times_s, ONE_DEVICE: run.steps * known_s}
    if header.method not in PIPELINED and known_s is not None:
        return {ONE_DEVICE: run.steps * known_s}
    times = run.plain.times_s(run.steps, known_s)
    return {name: times[name] for name in sorted(times, key=lambda name: name != header.baseline)}


def _stages_s(run: Digest, header: TraceHeader) -> float:
    """Seconds of all that plain decoding takes but for the LM head."""
    plain = run.plain
    devices_s = float(plain.stages_s.sum())
    if header.baseline != ONE_DEVICE:
        return devices_s
    if header.plain_token_s is None:
        return devices_s + float(plain.issued_s.sum())
    return max(devices_s, float((run.steps * header.plain_token_s - plain.lm_head_s).sum()))


def _time_per_token(run: Digest) -> TimePerToken:
    by_sequence = [window.token_gaps_s() for window in run.windows if window.num_tokens > 1]
    (p50, p95, p99), intervals = percentiles(by_sequence, (50, 95, 99))
    return TimePerToken(*ratio(run.times_s, run.steps), p50, p95, p99, *intervals)


def _speedup(run: Digest, plain: dict[str, "Floats"]) -> Speedup:
    name, plain_s = next(iter(plain.items()))
    return Speedup(*ratio(plain_s, run.times_s), over=name)


def _baselines(run: Digest, plain: dict[str, "Floats"], header: TraceHeader) -> tuple[Baseline, ...]:
    headline = next(iter(plain))
    if header.devices_per_stage > 1:
        why = "without tensor parallelism"
    elif header.source == "simulator":
        why = "hypothetical: the model does not fit one device"
    else:
        # Of a real run nothing tells why it had several devices.
        why = "hypothetical: the same stages without their messages"
    return tuple(
        Baseline(
            name, float(plain_s.sum()) / run.num_steps, float(plain_s.sum() / run.times_s.sum()),
            why if name == ONE_DEVICE != headline else "",
        )
        for name, plain_s in plain.items()
    )  # fmt: skip


def _cycle_times(run: Digest) -> CycleTimes:
    cycle_s = np.concatenate([window.cycle_s for window in run.windows])
    is_full = np.concatenate([window.is_full for window in run.windows])
    p50, p95 = np.percentile(cycle_s, (50, 95)).tolist()
    return CycleTimes(float(cycle_s.mean()), p50, p95, _mean_s(cycle_s[is_full]), _mean_s(cycle_s[~is_full]))


def _mean_s(seconds: "Floats") -> float | None:
    return float(seconds.mean()) if len(seconds) else None


def _full_and_refill_s(run: Digest) -> tuple[float, float]:
    """Mean seconds of a full cycle, and of all fill cycles that one rejection costs.

    The identity behind it: time = (K - 1) full + first fill + R refill, per sequence. The first fill also holds
    the draft module's prefill, so it counts only where nothing was rejected.
    """
    full_s = sum(float(window.cycle_s[window.is_full].sum()) for window in run.windows)
    refills = sum(window.num_rejections for window in run.windows)
    if refills:
        refill_s = sum(window.refills_s() for window in run.windows) / refills
    else:
        fills = sum(window.num_tokens > 1 for window in run.windows)
        refill_s = sum(float(window.cycle_s[~window.is_full].sum()) for window in run.windows) / fills
    return full_s / run.num_steps, refill_s


def _break_even(run: Digest, header: TraceHeader, plain_total_s: float) -> tuple[float | None, str]:
    """The acceptance at which a token takes as long as in plain decoding, in a long run."""
    if run.acceptance is None:
        return None, "one stage drafts nothing" if run.num_stages == 1 else "nothing is drafted"
    if header.method not in PIPELINED:
        return None, "known for pipelines of drafts only; `spdsim compare` finds where one method overtakes another"
    full_s, refill_s = _full_and_refill_s(run)
    plain_s = plain_total_s / run.num_steps
    if full_s >= plain_s:
        return None, "none: even with every draft accepted a cycle takes longer than a plain token"
    if plain_s >= full_s + refill_s:
        return 0.0, "pays at any acceptance"
    return 1.0 - (plain_s - full_s) / refill_s, ""


def _sensitivities(run: Digest, header: TraceHeader) -> tuple[Sensitivity, ...]:
    """What 1 % more of each parameter does to the time per token, to first order.

    A duration counts by its share of the critical path; acceptance by the refills that it saves.
    """
    time_s = float(run.times_s.sum())
    found = []
    if run.acceptance is not None and header.method in PIPELINED:
        _, refill_s = _full_and_refill_s(run)
        saved = 0.01 * run.acceptance * refill_s * run.num_steps / time_s
        found.append(Sensitivity("acceptance", -saved))
    found += [Sensitivity(name, 0.01 * float(run.path.driving_s[category]) / time_s) for name, category in _PARAMETERS]
    return tuple(found)
