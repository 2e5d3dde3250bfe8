"""The spans of all ranks as one trace, and parts of one."""

from collections.abc import Sequence
from datetime import UTC, datetime

from executor.events import RankReport
from executor.plan import Plan
from spdsim import __version__
from spdsim.acceptance import mean_acceptance
from spdsim.scenario import scenario_document, scenario_sha256
from spdsim.trace import ONE_DEVICE, PLAIN_PIPELINE, Trace, TraceHeader, WorkerInfo

_CLOCK = "seconds since the first recorded sequence began"


def merged(header: TraceHeader, reports: tuple[RankReport, ...]) -> Trace:
    """Return the spans of all `reports` under one header; each has the same sequences."""
    trace = Trace(header)
    sites = [[trace.site_id(site) for site in report.spans.sites] for report in reports]
    begin_s = min((min(report.spans.start_s) for report in reports if len(report.spans)), default=0.0)
    for sequence in range(reports[0].spans.num_sequences if reports else 0):
        trace.begin_sequence()
        for report, numbers in zip(reports, sites, strict=True):
            spans = report.spans
            for i in range(*spans.sequence_bounds(sequence)):
                start_s, end_s = spans.start_s[i] - begin_s, spans.end_s[i] - begin_s
                trace.record(numbers[spans.site[i]], spans.cycle[i], spans.position[i], start_s, end_s)
    return trace


def header_of(plan: Plan, devices: Sequence[str], *, is_one_device: bool, plain_token_s: float | None) -> TraceHeader:
    """Return the header of a run's trace.

    devices: of each worker, as they are called. plain_token_s: of plain decoding on the one device, measured beside it.
    """
    layout, forced = plan.layout, plan.draft.forced
    return TraceHeader(
        source="executor" if plan.emulated is None else "emulated",
        method="plain" if plan.draft.is_off else "spd",
        num_stages=layout.num_stages, verification_lag=layout.verification_lag,
        workers=tuple(WorkerInfo(worker, layout.role(worker), device) for worker, device in enumerate(devices)),
        scenario_sha256=scenario_sha256(plan.scenario), clock=_CLOCK,
        baseline=ONE_DEVICE if is_one_device else PLAIN_PIPELINE,
        mean_acceptance=None if forced is None else mean_acceptance(forced, layout.capacity),
        plain_token_s=plain_token_s, scenario=scenario_document(plan.scenario), machine=_machine_of(plan),
    )  # fmt: skip


def part_of(trace: Trace, sequences: Sequence[int]) -> Trace:
    """Return some sequences of a trace, in the order given, as a trace."""
    part = Trace(trace.header)
    numbers = [part.site_id(site) for site in trace.sites]
    for sequence in sequences:
        part.begin_sequence()
        for i in range(*trace.sequence_bounds(sequence)):
            part.record(numbers[trace.site[i]], trace.cycle[i], trace.position[i], trace.start_s[i], trace.end_s[i])
    return part


def _machine_of(plan: Plan) -> dict[str, str]:
    """What a run is made on, by names; an emulated one computes nothing."""
    from executor.machine_info import machine_info, source_commit

    info = machine_info(plan.device)
    kinds = ("device", "cores", "torch", "cuda", "driver", "nccl", "python", "host_os")
    known = {kind: str(info[kind]) for kind in kinds if info[kind] is not None}
    if plan.device != "cuda":
        known = {kind: name for kind, name in known.items() if kind not in ("cuda", "driver", "nccl")}
    run = {"backend": plan.backend, "launch": plan.launch, "dtype": plan.dtype, "threads": str(plan.threads)}
    if plan.emulated is not None:
        run = {"backend": plan.backend, "emulated": "durations take the place of computing"}
    commit = source_commit()
    program = {"spdsim": __version__} | ({} if commit is None else {"commit": commit})
    return known | run | {"date": datetime.now(UTC).date().isoformat()} | program
