"""Hand-made reports, so that their printing is tested apart from their computing."""

from spdsim.analysis.report import (
    Baseline,
    CycleTimes,
    Estimate,
    Report,
    Sensitivity,
    Speedup,
    TimePerToken,
    WaterfallStep,
    WorkerShares,
)
from spdsim.machine import Origin
from spdsim.trace import ONE_DEVICE, PLAIN_PIPELINE

FACTORS = {
    "rejections": 0.507, "lm_head_off_stages": 1.04, "imbalance": 0.98, "draft": 1.0, "verify": 0.81,
    "links": 0.93, "host": 0.96, "sharing": 1.0,
}  # fmt: skip

ORIGINS = (
    Origin("acceptance", "assumed", "no published figure for this model"),
    Origin("stage", "published", "bytes over achieved bandwidth"),
    Origin("draft", "published", "bytes over achieved bandwidth"),
    Origin("H100 SXM memory bandwidth", "datasheet", "NVIDIA H100 data sheet, 3.35 TB/s"),
)


def report(num_stages: int = 7, num_sequences: int = 20) -> Report:
    """Return a report with every figure, intervals where there is more than one sequence."""
    steps, speedup = [], float(num_stages)
    for name, factor in FACTORS.items():
        speedup *= factor
        steps.append(WaterfallStep(name, speedup, factor))

    def spread(mean: float) -> tuple[float, float | None, float | None]:
        return (mean, mean * 0.97, mean * 1.03) if num_sequences > 1 else (mean, None, None)

    per_token = 24.6e-3 / speedup
    return Report(
        source="simulator",
        method="spd",
        num_stages=num_stages,
        verification_lag=0,
        num_sequences=num_sequences,
        num_traced=num_sequences,
        num_tokens=512 * num_sequences,
        num_cycles=1131 * num_sequences,
        num_rejections=103 * num_sequences,
        tokens_per_s=Estimate(*spread(1 / per_token)),
        time_to_first_token_s=Estimate(*spread(58.2e-3)),
        time_per_token_s=TimePerToken(
            *spread(per_token), p50=5.01e-3, p95=35.9e-3, p99=36.2e-3,
            p50_interval=(5e-3, 5.02e-3) if num_sequences > 1 else None,
            p95_interval=(35.7e-3, 36e-3) if num_sequences > 1 else None,
            p99_interval=(36e-3, 36.3e-3) if num_sequences > 1 else None,
        ),
        speedup=Speedup(*spread(speedup), over=PLAIN_PIPELINE),
        baselines=(
            Baseline(PLAIN_PIPELINE, 24.6e-3, speedup),
            Baseline(ONE_DEVICE, 23.9e-3, speedup * 23.9 / 24.6, "does not fit: hypothetical"),
        ),
        closed_form_speedup=3.18,
        mean_acceptance=0.8, measured_acceptance=0.7991,
        break_even_acceptance=0.412,
        break_even_note="",
        tokens_per_cycle=0.4527,
        equivalent_accept_length=3.169,
        cycle_s=CycleTimes(4.87e-3, 5.01e-3, 5.13e-3, 5.02e-3, 4.71e-3),
        sensitivities=(
            Sensitivity("acceptance", -0.0213), Sensitivity("stage", 0.0072), Sensitivity("draft", 0.0),
            Sensitivity("verify", 0.0011), Sensitivity("link", 0.0004), Sensitivity("host", 0.00061),
        ),
        waterfall=tuple(steps),
        workers=tuple(_worker(i, num_stages) for i in range(num_stages + 1)),
    )  # fmt: skip


def _worker(worker: int, num_stages: int) -> WorkerShares:
    depth = worker / num_stages
    useful, wasted = 0.36 + 0.02 * (worker % 3), 0.30 - 0.28 * depth
    fill, link = 0.25 * depth, 0.03
    idle = 1 - useful - wasted
    causes = {"pipeline_fill": fill, "verdict": idle - fill - link - 0.004, "link": link, "abandoned_tail": 0.004}
    role = "stage" if worker else "draft"
    return WorkerShares(worker, role, f"gpu {worker}", useful, wasted, idle, causes)
