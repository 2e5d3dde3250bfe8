"""The spans of all ranks as one trace, as the simulator would write it."""

from datetime import UTC, datetime

from executor.cli.result import Result
from executor.events import RankReport
from executor.plan import Plan
from spdsim import __version__
from spdsim.acceptance import mean_acceptance
from spdsim.scenario import scenario_document, scenario_sha256
from spdsim.trace import ONE_DEVICE, PLAIN_PIPELINE, Trace, TraceHeader, WorkerInfo

CLOCK = "seconds since the first recorded sequence began"


def recorded(result: Result) -> Trace:
    """Return the spans of every recorded sequence, worker by worker, on one clock that begins with them."""
    return merged(_header(result), result.reports)


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


def _header(result: Result) -> TraceHeader:
    plan, plain = result.run.plan, result.figures.plain
    layout, emulated, forced = plan.layout, plan.emulated, plan.draft.forced
    # An emulated run is compared with what its simulation is; a measured one with what was measured beside it.
    is_one_device = result.num_devices == 1 if emulated is None else emulated.fits_one_device
    token_s = plain.time_per_token_s if plain is not None and emulated is None and is_one_device else None
    workers = (WorkerInfo(i, layout.role(i), device) for i, device in enumerate(result.devices))
    return TraceHeader(
        source="executor" if emulated is None else "emulated",
        method="plain" if plan.draft.is_off else "spd",
        num_stages=layout.num_stages, verification_lag=layout.verification_lag, workers=tuple(workers),
        scenario_sha256=scenario_sha256(plan.scenario), clock=CLOCK,
        baseline=ONE_DEVICE if is_one_device else PLAIN_PIPELINE,
        mean_acceptance=None if forced is None else mean_acceptance(forced, layout.capacity),
        plain_token_s=None if token_s is None else token_s.mean,
        scenario=scenario_document(plan.scenario), machine=_machine(plan),
    )  # fmt: skip


def _machine(plan: Plan) -> dict[str, str]:
    """What the run was made on, by names; an emulated one computes nothing."""
    from executor.machine_info import machine_info

    info = machine_info(plan.device)
    kinds = ("device", "cores", "torch", "cuda", "driver", "nccl", "python", "host_os")
    known = {kind: str(info[kind]) for kind in kinds if info[kind] is not None}
    if plan.device != "cuda":
        known = {kind: name for kind, name in known.items() if kind not in ("cuda", "driver", "nccl")}
    run = {"backend": plan.backend, "launch": plan.launch, "dtype": plan.dtype, "threads": str(plan.threads)}
    if plan.emulated is not None:
        run = {"backend": plan.backend, "emulated": "durations take the place of computing"}
    return known | run | {"date": datetime.now(UTC).date().isoformat(), "spdsim": __version__}
