"""All probes of a plan, one after another, each with its share of the time."""

import gc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch

from executor.plan import Plan
from executor.probing.broadcast import probe_broadcast
from executor.probing.contention import probe_contention
from executor.probing.device import probe_copy, probe_launch
from executor.probing.drafts import probe_draft
from executor.probing.findings import Finding, Measured, Skipped
from executor.probing.layers import probe_layer, probe_prefill
from executor.probing.messages import probe_message
from executor.probing.names import check_names
from executor.probing.share import Share, Tell
from executor.probing.subject import Subject, subject_of
from executor.probing.verdicts import probe_verify, probe_verify_sampling
from spdsim.errors import RunError

Probe = Callable[[Subject, Share], Iterator[Finding]]

_PROBES: dict[str, tuple[float, Probe]] = {
    "layer": (24.0, probe_layer),
    "prefill": (12.0, probe_prefill),
    "draft": (16.0, probe_draft),
    "verify": (3.0, probe_verify),
    "verify_sampling": (6.0, probe_verify_sampling),
    "launch": (2.0, probe_launch),
    "message": (9.0, probe_message),
    "broadcast": (9.0, probe_broadcast),
    "copy": (3.0, probe_copy),
    "contention": (16.0, probe_contention),
}
"""Each probe by its name, with the parts of the time that it gets."""


@dataclass(frozen=True, slots=True)
class Found:
    """What the probes of a plan found."""

    measured: tuple[Measured, ...]
    skipped: tuple[Skipped, ...]


def probe_plan(plan: Plan, names: Sequence[str], budget_s: float, tell: Tell) -> Found:
    """Measure what `names` say, in about `budget_s` seconds beside what starting processes takes.

    names: none for all. tell: hears of every case.
    Raises InputError for an unknown name, LaunchError or LostRankError where processes do not start or are lost, and
    RunError, one line, where something cannot be computed.
    """
    chosen = check_names(names)
    parts = sum(_PROBES[name][0] for name in chosen)
    subject = subject_of(plan)
    torch.set_num_threads(plan.threads)
    measured: list[Measured] = []
    skipped: list[Skipped] = []
    for name in chosen:
        part, probe = _PROBES[name]
        _settle(subject)
        share = Share(name, budget_s * part / parts, tell)
        for finding in _all_of(name, probe, subject, share):
            measured.append(finding) if isinstance(finding, Measured) else skipped.append(finding)
        skipped += share.skipped
    # Cases of one reason are told once.
    return Found(tuple(measured), tuple(dict.fromkeys(skipped)))


def _all_of(name: str, probe: Probe, subject: Subject, share: Share) -> list[Finding]:
    try:
        with torch.inference_mode():
            return list(probe(subject, share))
    except (RuntimeError, MemoryError) as error:
        why = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise RunError(f"probe {name} failed: {why}") from error


def _settle(subject: Subject) -> None:
    """Free the memory of one probe before the next asks what is free, and let work go where a worker's goes."""
    gc.collect()
    if subject.device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.set_device(subject.device)
        torch.cuda.set_stream(torch.cuda.default_stream(subject.device))
