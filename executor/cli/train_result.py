"""What came of a training run: for people, and as a JSON document.

Fits 80 columns; nothing is told by colour alone.
"""

from collections.abc import Iterator
from typing import Any

from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from executor.training.outcome import Measured, Outcome, facts_of, held_out_document
from spdsim import __version__
from spdsim.cli.screen import Screen
from spdsim.render.look import Look, significant
from spdsim.render.trim import Trimmed

SCHEMA_VERSION = 1


def print_outcome(outcome: Outcome) -> None:
    """Print what came of a run on stdout."""
    console = Screen()
    look = Look.of(console)
    for line in _what(outcome):
        console.print(Trimmed(Text(line, look.style("dim"))))
    console.print(Trimmed(_headline(outcome, look)))
    console.print(Trimmed(_by_fill(outcome, look)))
    console.print()
    console.print(Trimmed(_facts(outcome, look)))
    for note in outcome.material.notes():
        console.print(Trimmed(Text(f"Note: {note}")))


def training_document(outcome: Outcome) -> dict[str, Any]:
    """Return everything that is known of a run as plain data."""
    plan, shape, material = outcome.plan, outcome.shape, outcome.material
    return {
        "schema_version": SCHEMA_VERSION,
        "tool_version": __version__,
        "status": "incomplete" if outcome.is_stopped else "complete",
        "model": plan.model_name,
        "weights": "random" if plan.model.directory is None else "files",
        "num_stages": plan.num_stages,
        "layers": list(plan.layers),
        "anchors": list(plan.anchors),
        "draft_layers": plan.draft_layers,
        "draft_vocab_size": shape.draft_vocab_size,
        "num_weights": outcome.num_weights,
        "device": plan.device,
        "threads": plan.threads,
        "processes": outcome.num_processes,
        "training": facts_of(outcome),
        "documents": material.corpus.num_documents,
        "sequences": len(material.trained),
        "held_out_sequences": len(material.held),
        "tokens_left_out": material.corpus.num_left_out,
        "tokens_per_s": outcome.tokens_per_s,
        "step_over_target_forward": outcome.cost,
        "history": [_measured(measured) for measured in outcome.history],
        "notes": list(material.notes()),
    }


def _measured(measured: Measured) -> dict[str, Any]:
    return {"step": measured.step, "loss_nats": measured.loss, **held_out_document(measured.held_out)}


def _what(outcome: Outcome) -> Iterator[str]:
    plan, shape = outcome.plan, outcome.shape
    cut = " + ".join(map(str, plan.layers))
    yield f"{plan.model_name}, {sum(plan.layers)} layers in {plan.num_stages} stages of {cut}"
    anchors = ", ".join(map(str, plan.anchors))
    yield (
        f"draft module of {_count(plan.draft_layers, 'layer')} and {outcome.num_weights:,} weights, anchors {anchors}, "
        f"{_count(shape.draft_vocab_size, 'token id')}"
    )
    processes = f" in {outcome.num_processes} processes" if outcome.num_processes > 1 else ""
    threads = f", {_count(plan.threads, 'thread')}" if plan.device == "cpu" else ""
    device = "CPU" if plan.device == "cpu" else "GPU"
    yield f"trained on a {device}{processes}{threads}, {plan.dtype}, seed {plan.seed}"


def _headline(outcome: Outcome, look: Look) -> Panel:
    full = outcome.held_out.fills[-1]
    text = f"{100 * full.acceptance:.1f} % of drafts would be accepted with the pipeline full"
    return Panel.fit(Text(text, look.style("bold")), padding=(0, 1))


def _by_fill(outcome: Outcome, look: Look) -> Table:
    table = Table(box=None, pad_edge=False, header_style=look.style("dim"))
    for head in ("tokens in flight", "accepted", "KL to the target, nats"):
        table.add_column(head, justify="right", no_wrap=True)
    for at in outcome.held_out.fills:
        table.add_row(str(at.fill), f"{at.acceptance:.4f}", f"{at.divergence_nats:.4f}")
    return table


def _facts(outcome: Outcome, look: Look) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style=look.style("dim"), no_wrap=True)
    table.add_column()
    for name, value in _lines(outcome, look):
        table.add_row(name, value)
    return table


def _lines(outcome: Outcome, look: Look) -> Iterator[tuple[str, str]]:
    material, plan = outcome.material, outcome.plan
    after = f"after step {outcome.history[-1].step:,}"
    positions = f"{outcome.held_out.num_positions:,} held-out positions"
    yield "measured", f"{after}, on {positions} of {material.held_out.file.name}"
    steps = f"{outcome.step:,} of {_count(outcome.recipe.steps, 'step')}" if outcome.is_stopped else ""
    done = steps or _count(outcome.step, "step")
    yield "trained", f"{done}, {outcome.num_tokens:,} tokens of {plan.data.name} ({_texts(outcome)})"
    if material.draft_token_ids is not None:
        shares = [f"{100 * share:.2f} %" for share in (material.coverage, material.held_out_coverage)]
        yield "draft vocabulary", f"covers {shares[0]} of the training text and {shares[1]} of the held-out text"
    if outcome.tokens_per_s is not None:
        yield "tokens per second", look.number(outcome.tokens_per_s)
    if outcome.cost is not None:
        yield "a step takes", f"{significant(outcome.cost)} times the target's own forward pass over its text"
    yield "written", str(plan.out)


def _texts(outcome: Outcome) -> str:
    material = outcome.material
    left_out = material.corpus.num_left_out
    rest = f", {_count(left_out, 'token')} left out" if left_out else ""
    return f"{_count(len(material.trained), 'sequence')} of {_count(material.corpus.num_documents, 'document')}{rest}"


def _count(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
