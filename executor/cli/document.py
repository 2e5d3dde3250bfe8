"""The JSON document of a run: what was run, every figure, every token."""

import platform
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from executor.cli.result import Result
from executor.plan import DraftPlan, Job, JobResult
from executor.summary import Decoding
from executor.text.tokenizer import Tokenizer
from spdsim import __version__
from spdsim.acceptance import mean_acceptance
from spdsim.scenario import scenario_document, scenario_sha256

SCHEMA_VERSION = 1
_PACKAGES = ("torch", "tokenizers", "safetensors", "numpy")


def run_document(result: Result) -> dict[str, Any]:
    """Return everything that is known of a run as plain data, keys in a fixed order."""
    plan = result.run.plan
    return {
        "schema_version": SCHEMA_VERSION,
        "tool_version": __version__,
        "status": "complete" if result.error is None else "incomplete",
        "error": result.error,
        "origin": "emulated" if result.is_emulated else "measured",
        "acceptance_forced": result.is_forced,
        "scenario": scenario_document(plan.scenario),
        "scenario_sha256": scenario_sha256(plan.scenario),
        "seed": plan.seed,
        "versions": _versions(),
        "run": _run(result),
        "warnings": list(result.warnings),
        "notes": [*result.notes, *result.hints],
        **_figures(result),
        "workers": _workers(result),
        "sequences": _sequences(result),
    }


def _versions() -> dict[str, str | None]:
    found: dict[str, str | None] = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    return found


def _run(result: Result) -> dict[str, Any]:
    run, plan = result.run, result.run.plan
    layout, draft = plan.layout, plan.draft
    return {
        "model": run.model_name,
        "weights": None if result.is_emulated else "random" if plan.model.directory is None else "files",
        "num_stages": layout.num_stages,
        "layers": list(plan.layers),
        "lm_head": layout.lm_head,
        "verification_lag": layout.verification_lag,
        "control": layout.control,
        "messages": layout.messages,
        "draft": None if draft.is_off else _who_drafts(draft),
        "draft_checkpoint": None if draft.checkpoint is None else str(draft.checkpoint),
        "draft_layers": None if draft.is_off or draft.is_free else draft.num_layers,
        "anchors": None if draft.is_off else list(draft.anchors),
        "draft_vocab_size": draft.vocab_size,
        "draft_width": None if draft.is_off else layout.width,
        "forced_acceptance": None if draft.forced is None else mean_acceptance(draft.forced, layout.capacity),
        "sampling": asdict(plan.sampling),
        "backend": plan.backend,
        "device": plan.device,
        "launch": plan.launch,
        "dtype": plan.dtype,
        "threads": plan.threads,
        "load_s": result.load_s,
    }


def _who_drafts(draft: DraftPlan) -> str:
    if draft.forced is None:
        return "module"
    return "free" if draft.is_free else "forced"


def _figures(result: Result) -> dict[str, Any]:
    found = result.figures
    return {
        "speedup": None if found.speedup is None else {**asdict(found.speedup), "over": "plain decoding in this run"},
        "speculative": _decoding(found.speculative),
        "plain": _decoding(found.plain),
        "acceptance_probability": found.acceptance_probability,
        "tokens_per_cycle": found.tokens_per_cycle,
        "equivalent_accept_length": found.equivalent_accept_length,
        "closed_form_speedup": found.closed_form_speedup,
        "num_cycles": found.num_cycles,
        "num_drafts": found.num_drafts,
        "num_accepted": found.num_accepted,
        "differences_from_plain": None if found.differences is None else [asdict(each) for each in found.differences],
    }


def _decoding(decoding: Decoding | None) -> dict[str, Any] | None:
    return None if decoding is None else asdict(decoding)


def _workers(result: Result) -> list[dict[str, Any]]:
    layout = result.run.plan.layout
    reports = {report.worker: report for report in result.reports}
    return [
        {
            "worker": worker,
            "role": layout.role(worker),
            "device": device,
            "held_bytes": reports[worker].held_bytes if worker in reports else None,
            "peak_bytes": reports[worker].peak_bytes if worker in reports else None,
        }
        for worker, device in enumerate(result.devices)
    ]


def _sequences(result: Result) -> list[dict[str, Any]]:
    """One entry a job, in the order in which they were run; the last may have no end."""
    jobs = result.run.jobs
    found = [_sequence(result, jobs[number], done, number) for number, done in enumerate(result.results)]
    if (number := result.unfinished) is not None:
        found.append(_sequence(result, jobs[number], None, number))
    return found


def _sequence(result: Result, job: Job, done: JobResult | None, number: int) -> dict[str, Any]:
    tokens = result.tokens[number] if done is None else done.tokens
    accepted = result.verdicts[number][1:] if done is None else done.accepted
    return {
        "sequence": job.sequence,
        "method": job.method,
        "status": "incomplete" if done is None else "complete",
        "prompt": result.run.prompt,
        "prompt_tokens": len(job.prompt),
        "prompt_ids": list(job.prompt),
        "max_new_tokens": job.max_new_tokens,
        "tokens": list(tokens),
        "text": _text(result.run.tokenizer, tokens, job),
        "accepted": None if job.method == "plain" else list(accepted),
        "num_cycles": None if done is None else done.num_cycles,
        "time_to_first_token_s": None if done is None else done.first_token_s - done.start_s,
        "decode_s": None if done is None else done.end_s - done.first_token_s,
    }


def _text(tokenizer: Tokenizer | None, tokens: tuple[int, ...], job: Job) -> str | None:
    if tokenizer is None:
        return None
    return tokenizer.decode(tuple(token for token in tokens if token not in job.end_tokens))
