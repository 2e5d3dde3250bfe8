"""The spans of all ranks as one trace, as the simulator would write it."""

from executor.cli.result import Result
from executor.traces import machine_of, merged
from spdsim.acceptance import mean_acceptance
from spdsim.scenario import scenario_document, scenario_sha256
from spdsim.trace import ONE_DEVICE, PLAIN_PIPELINE, Trace, TraceHeader, WorkerInfo

CLOCK = "seconds since the first recorded sequence began"


def recorded(result: Result) -> Trace:
    """Return the spans of every recorded sequence, worker by worker, on one clock that begins with them."""
    return merged(_header(result), result.reports)


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
        scenario=scenario_document(plan.scenario), machine=machine_of(plan),
    )  # fmt: skip
