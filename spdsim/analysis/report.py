"""The figures of a run: what a `Report` holds.

Computed from a trace alone by `spdsim.analysis.summary.summarize`, whoever wrote the trace.
Knows nothing of rendering; `to_document` gives the plain data behind `--json`.
"""

from dataclasses import asdict, dataclass
from typing import Any

SCHEMA_VERSION = 1

STEPS = ("rejections", "lm_head_off_stages", "imbalance", "draft", "verify", "links", "host", "sharing")
"""The waterfall's steps, in their order."""

STEPS_OF_ROUNDS = ("tokens_per_cycle", "forward", "draft", "verify", "links", "host", "sharing")
"""The same for methods that are no pipeline of drafts; they begin at plain decoding, 1."""

CAUSES = (
    "pipeline_fill", "draft", "verdict", "link", "slower_stage", "host", "shared_device", "abandoned_tail",
)  # fmt: skip
"""Why a worker is idle, in the order in which reports list it."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean with its 95 % interval over sequences; `low` and `high` are None with a single sequence."""

    mean: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Speedup(Estimate):
    """`over` names the baseline."""

    over: str = ""


@dataclass(frozen=True, slots=True)
class TimePerToken(Estimate):
    """Seconds between one token and the next; percentiles over all tokens of all sequences."""

    p50: float = 0.0
    p95: float = 0.0
    p99: float = 0.0
    p50_interval: tuple[float, float] | None = None
    p95_interval: tuple[float, float] | None = None
    p99_interval: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class CycleTimes:
    """Seconds of the draft rank's cycles, start to start; the mean of full and of fill cycles apart."""

    mean: float
    p50: float
    p95: float
    full_mean: float | None
    fill_mean: float | None


@dataclass(frozen=True, slots=True)
class Baseline:
    """A plain way to decode on the same kernels; `note` says why it is hypothetical, where it is."""

    name: str
    time_per_token_s: float
    speedup: float
    note: str = ""


@dataclass(frozen=True, slots=True)
class WaterfallStep:
    """The speedup that is left after this step, and the factor that the step multiplies it by."""

    step: str
    speedup_after: float
    factor: float


@dataclass(frozen=True, slots=True)
class WorkerShares:
    """How a worker spends the decode time; the three fractions add up to one.

    idle_by_cause: fraction of the decode time by cause (`CAUSES`), adding up to `idle_fraction`.
    """

    worker: int
    role: str
    device: str
    useful_fraction: float
    wasted_fraction: float
    idle_fraction: float
    idle_by_cause: dict[str, float]


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """By what fraction the time per token changes when one parameter grows by 1 %."""

    parameter: str
    time_per_token_change_fraction: float


@dataclass(frozen=True, slots=True)
class Report:
    """Every figure of a run. What does not exist (at K = 1, say) is None.

    num_traced: sequences of which percentiles, cycles, break-even, sensitivities, waterfall and workers are: all of
    them, or the first of many (`spdsim.evaluation.complete`).
    """

    source: str
    method: str
    num_stages: int
    verification_lag: int
    num_sequences: int
    num_traced: int
    num_tokens: int
    num_cycles: int
    num_rejections: int
    tokens_per_s: Estimate | None
    time_to_first_token_s: Estimate
    time_per_token_s: TimePerToken | None
    speedup: Speedup | None
    baselines: tuple[Baseline, ...]
    closed_form_speedup: float | None
    mean_acceptance: float | None
    measured_acceptance: float | None
    break_even_acceptance: float | None
    break_even_note: str
    tokens_per_cycle: float | None
    equivalent_accept_length: float | None
    cycle_s: CycleTimes | None
    sensitivities: tuple[Sensitivity, ...]
    waterfall: tuple[WaterfallStep, ...]
    workers: tuple[WorkerShares, ...]

    def to_document(self) -> dict[str, Any]:
        """Return the figures as plain data, keys in a fixed order."""
        return {"schema_version": SCHEMA_VERSION, **asdict(self)}
