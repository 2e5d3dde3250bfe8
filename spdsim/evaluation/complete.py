"""A report on many replications: what needs spans is of the first of them, all else of them all.

Spans take memory and an engine; a narrow interval needs neither where the fast path serves.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace

from spdsim.acceptance import Acceptance
from spdsim.analysis.causality import causality
from spdsim.analysis.decoding import decodings
from spdsim.analysis.estimates import mean_of, ratio
from spdsim.analysis.report import Estimate, Report, Speedup
from spdsim.evaluation.runs import Path, Producer, Runs, producer_of
from spdsim.machine import Machine
from spdsim.scenario import Scenario
from spdsim.trace import PIPELINED, Trace

Progress = Callable[[int, int], None]

_AT_A_TIME: dict[Path, int] = {"fast": 2048, "engine": 8}


def complete(
    report: Report,
    trace: Trace,
    scenario: Scenario,
    machine: Machine,
    model: Acceptance | None = None,
    progress: Progress | None = None,
) -> Report:
    """Return the `report` of `trace`, the first replications, with counts, times and speedups of all replications.

    What stays is what `Report.num_traced` is about. Plain decoding takes what it takes in the report. machine, model:
    those of the report, the model if it is not the scenario's. progress: called with replications done, and in all.
    """
    producer, path, _ = producer_of(scenario, machine, model)
    traced = Runs.of(decodings(trace, causality(trace)))
    further = range(len(traced) // scenario.workload.sequences, scenario.replications)
    runs = Runs.join([traced, *_parts(producer, further, _AT_A_TIME[path], progress)])
    report = replace(
        report, num_sequences=len(runs), num_tokens=int(runs.num_tokens.sum()),
        num_cycles=int(runs.num_cycles.sum()), num_rejections=int(runs.num_rejected.sum()),
        time_to_first_token_s=Estimate(*mean_of(runs.begin_s - runs.prompt_at_s)),
        measured_acceptance=runs.measured_acceptance,
    )  # fmt: skip
    return _with_times(report, runs)


def _parts(producer: Producer, further: range, at_a_time: int, progress: Progress | None) -> Iterator[Runs]:
    for first in further[::at_a_time]:
        last = min(further.stop, first + at_a_time)
        yield producer.runs(first, last)
        if progress is not None:
            progress(last, further.stop)


def _with_times(report: Report, runs: Runs) -> Report:
    """The report with the times of decoding, if the first replications have any."""
    time, speedup = report.time_per_token_s, report.speedup
    if time is None or speedup is None:
        return report
    steps, times_s = runs.steps, runs.times_s
    mean_s, low_s, high_s = ratio(times_s, steps)
    plain_s = {line.name: line.time_per_token_s for line in report.baselines}
    tokens_per_cycle = float(runs.num_tokens[runs.num_tokens > 1].sum() / runs.num_cycles.sum())
    return replace(
        report, tokens_per_s=Estimate(*ratio(steps, times_s)),
        time_per_token_s=replace(time, mean=mean_s, low=low_s, high=high_s),
        speedup=Speedup(*ratio(plain_s[speedup.over] * steps, times_s), over=speedup.over),
        baselines=tuple(replace(line, speedup=line.time_per_token_s / mean_s) for line in report.baselines),
        tokens_per_cycle=tokens_per_cycle,
        equivalent_accept_length=report.num_stages * tokens_per_cycle if report.method in PIPELINED else None,
    )  # fmt: skip
