"""What a measurement of acceptance says beside its figures: how it was made, its notes, its files."""

import json
from collections.abc import Iterator
from typing import Any

from executor.acceptance.measure import Measured
from executor.acceptance.online import Recorded
from executor.acceptance.subject import Asked, Subject
from executor.planning import Run
from executor.planning.saved import recut_note
from spdsim import __version__
from spdsim.acceptance_fit import fit_document, fragment_text
from spdsim.acceptance_fit.document import table_text
from spdsim.render.acceptance import Told

SCHEMA_VERSION = 1

_TEXTS = {
    None: "every prompt decoded with drafts",
    "own": "every prompt continued by plain decoding, its drafts looked up (offline)",
    "given": "the text of the prompts as it stands, its drafts looked up (offline)",
}


def told(asked: Asked, subject: Subject, measured: Measured) -> list[Told]:
    """Return what is told of each number of stages."""
    return [
        Told(
            f"{asked.prompt_file}: drafts for {run.model_name} in {run.plan.layout.num_stages} stages",
            tuple(_lines(subject, run)), recorded.num_cycles, tuple(_remarks(subject, run, measured)),
        )
        for run, recorded in zip(subject.runs, measured.recorded, strict=True)
    ]  # fmt: skip


def verdict_lines(recorded: Recorded) -> str:
    """Return verdicts as replays read them: a line for each sequence."""
    return "".join(
        json.dumps({"sequence": number, "accepted": list(accepted)}) + "\n"
        for number, accepted in enumerate(recorded.accepted)
    )


def fragment(asked: Asked, subject: Subject, measured: Measured) -> str:
    """Return the `acceptance` of a scenario as YAML; of several numbers of stages a table of their means."""
    source = f"spdsim-exec acceptance, {asked.prompt_file.name}, {_module(subject)}"
    head = "Written by `spdsim-exec acceptance`: measure again rather than edit."
    if len(measured.fits) > 1:
        return table_text(measured.fits, source, head)
    return fragment_text(measured.fits[0].chosen, source, head)


def document(asked: Asked, subject: Subject, measured: Measured) -> dict[str, Any]:
    """Return everything that is known as plain data, keys in a fixed order."""
    plan = subject.runs[0].plan
    remarks = [dict.fromkeys(each.remarks) for each in told(asked, subject, measured)]
    return {
        "schema_version": SCHEMA_VERSION,
        "tool_version": __version__,
        "origin": "measured",
        "acceptance_forced": False,
        "prompts": str(asked.prompt_file),
        "text": "decoded" if subject.text is None else subject.text,
        "offline": subject.text is not None,
        "model": subject.plain.model_name,
        "weights": "random" if plan.model.directory is None else "files",
        "draft_checkpoint": None if subject.checkpoint is None else str(subject.checkpoint),
        "trained_for_stages": subject.trained_stages,
        "draft_layers": plan.draft.num_layers,
        "anchors": list(plan.draft.anchors),
        "sampling": {
            "temperature": plan.sampling.temperature, "top_k": plan.sampling.top_k, "top_p": plan.sampling.top_p
        },
        "seed": plan.seed,
        "dtype": plan.dtype,
        "device": plan.device,
        "num_sequences": len(subject.prompts),
        "prompt_tokens": sum(len(prompt.tokens) for prompt in subject.prompts),
        "num_rows": measured.num_rows or None,
        "num_own_choices": measured.num_own,
        "results": [
            {
                "layers": list(run.plan.layers),
                **fit_document(fit),
                "counted_cycles": recorded.num_cycles,
                "notes": [text for _, text in texts],
                "sequences": [
                    {"sequence": number, "tokens": list(tokens), "accepted": list(accepted)}
                    for number, (tokens, accepted) in enumerate(zip(recorded.tokens, recorded.accepted, strict=True))
                ],
            }
            for run, recorded, fit, texts in zip(
                subject.runs, measured.recorded, measured.fits, remarks, strict=True
            )
        ],
    }  # fmt: skip


def _lines(subject: Subject, run: Run) -> Iterator[str]:
    plan, sampling = run.plan, run.plan.sampling
    layers = plan.layers
    each = str(layers[0]) if len(set(layers)) == 1 else " + ".join(map(str, layers))
    lag = f", verification lag {plan.layout.verification_lag}" if plan.layout.verification_lag else ""
    yield f"{sum(layers)} layers in {len(layers)} stages of {each}{lag}; {_module(subject)}"
    drawn = "greedy" if sampling.is_greedy else f"temperature {sampling.temperature:g}, seed {plan.seed}"
    count = len(subject.prompts)
    sequences = f"{count:,} sequence{'s' * (count != 1)}"
    most = "" if subject.new_tokens is None else f" of {subject.new_tokens} tokens at most"
    yield f"{sequences}{most}: {_TEXTS[subject.text]}; {drawn}"


def _module(subject: Subject) -> str:
    if subject.checkpoint is None:
        return "a draft module with random weights"
    return f"draft module {subject.checkpoint.name}, trained for {subject.trained_stages} stages"


def _remarks(subject: Subject, run: Run, measured: Measured) -> Iterator[tuple[str, str]]:
    yield from (("Note", note) for note in run.notes)
    if subject.text == "own" and measured.num_own is not None and measured.num_own < measured.num_rows:
        strange = measured.num_rows - measured.num_own
        yield (
            "Warning", f"at {strange:,} of {measured.num_rows:,} positions one pass over the text says another token "
            "than decoding did: numbers are rounded otherwise there, and a draft may be, too",
        )  # fmt: skip
    if subject.text == "given" and measured.num_own is not None:
        share = 100.0 * measured.num_own / max(1, measured.num_rows)
        yield (
            "Note", f"a draft is right if it is what the target would say, whatever the text says: the same at "
            f"{share:.0f} % of the positions. Text of its own may be easier for the target's draft module, or harder",
        )  # fmt: skip
    # A run says it itself.
    if subject.text is not None and subject.checkpoint is not None:
        note = recut_note(subject.checkpoint, run.plan.layers)
        yield from () if note is None else (("Note", note),)
    if run.plan.model.directory is None:
        yield "Note", "the model has random weights: what it writes means nothing"
    if subject.checkpoint is None:
        yield "Note", "the draft module has random weights: hardly any draft is right (--draft CHECKPOINT)"
