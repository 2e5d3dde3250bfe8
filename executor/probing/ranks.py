"""Processes that measure something together: started, watched and ended as the ranks of a run are."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from executor.events import RankReport
from executor.launch.processes import launch
from executor.plan import Backend, Job, Plan
from executor.transport.distributed import DistributedTransport
from spdsim.schedules.spd import Layout
from spdsim.trace import Trace, TraceHeader

if TYPE_CHECKING:
    from executor.launch.orders import RankFunction

Samples = Mapping[str, tuple[float, ...]]
"""What one process measured, by a name that its probe gives."""

_JOB = Job("plain", 0, (0,), 1)
"""Nobody decodes it: a launch has one."""

_KEPT: list[DistributedTransport] = []
"""Worker 0 holds the store in which all meet: it must be there until the last one has read the last word."""


@dataclass(frozen=True, slots=True)
class ProbeReport(RankReport):
    """What one process of a probe hands over at the end."""

    samples: Samples


def report_of(worker: int, transport: DistributedTransport, samples: Samples) -> ProbeReport:
    """Return the report of a process that ran no sequence, whose transport is needed no more but by others."""
    _KEPT.append(transport)
    header = TraceHeader(source="executor", method="plain", num_stages=1, verification_lag=0, workers=())
    return ProbeReport(worker, Trace(header), 0, 0, samples)


def measure(plan: Plan, rank: "RankFunction") -> list[Samples]:
    """Run `rank` as every worker of `plan`, each in a process of its own, and return what each measured.

    Raises LaunchError or LostRankError, one line, if a process cannot start or is lost. No process is left behind.
    """
    outcome = launch(plan, (_JOB,), lambda event: None, rank=rank)
    return [report.samples for report in outcome.reports if isinstance(report, ProbeReport)]


def on_hosts(plan: Plan, layout: Layout) -> Plan:
    """Return the plan of processes in another layout whose messages lie in hosts' memory, as verdicts always do."""
    backend: Backend = "gloo" if plan.backend == "gloo" else "socket"
    return replace(plan, layout=layout, device="cpu", backend=backend, devices=(0,) * layout.num_workers)


Gather = Callable[[str, str], Sequence[str]]
"""Says a word on a subject and returns what every worker says; a meeting of all."""


def agreed(gather: Gather, subject: str, worker: int, decide: Callable[[], float]) -> float:
    """Return what worker 0 decides, once every worker is here."""
    return float(gather(subject, repr(float(decide())) if worker == 0 else "")[0])
