"""What the demonstration shows: acceptance, tokens per cycle and time, measured and predicted beside each other.

Fits 80 columns; nothing is told by colour alone.
"""

from collections.abc import Sequence
from typing import Any

from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from executor.cli import PROGRAM
from executor.demo.home import Home
from executor.demo.outcome import DemoOutcome, Pair, Pipeline
from executor.text.printable import printable
from spdsim import __version__, theory
from spdsim.acceptance_fit import fit_document
from spdsim.acceptance_fit.families import LABELS
from spdsim.analysis.report import Estimate
from spdsim.cli.screen import Screen
from spdsim.render.look import Look
from spdsim.render.trim import Trimmed

SCHEMA_VERSION = 1
MOST_FALL = 0.08
"""By which acceptance may fall from the fewest stages to the most, for the difficulty of drafts to count as bounded."""

_SAMPLE_CHARACTERS, _END_CHARACTERS = 240, 120


def demo_document(outcome: DemoOutcome) -> dict[str, Any]:
    """Return every figure as plain data."""
    language, (fall, half) = outcome.language, outcome.fall
    return {
        "schema_version": SCHEMA_VERSION,
        "tool_version": __version__,
        "origin": "measured",
        "size": outcome.size,
        "seed": outcome.seed,
        "device": outcome.device,
        "threads": outcome.num_threads,
        "model": {
            "num_weights": language.num_weights, "num_layers": language.num_layers,
            "trained_tokens": language.num_tokens, "bits_per_byte": language.bits_per_byte,
            "mean_largest_probability": language.certainty,
        },
        "num_prompts": outcome.num_measured,
        "num_fitted_prompts": outcome.num_fitted,
        "new_tokens": outcome.new_tokens,
        "repeated_fraction": outcome.loops,
        "plain_time_per_token_s": _estimate(outcome.plain_token_s),
        "acceptance_fall": {"mean": fall, "half_interval": half},
        "pipelines": [_pipeline(each) for each in outcome.pipelines],
    }  # fmt: skip


def _pipeline(each: Pipeline) -> dict[str, Any]:
    return {
        "num_stages": each.num_stages,
        "draft_layers": each.draft.layers,
        "draft_steps": each.draft.steps,
        "draft_tokens": each.draft.num_tokens,
        "held_out_by_fill": list(each.draft.by_fill),
        "differences_from_plain": each.num_different,
        "acceptance": _estimate(each.acceptance),
        "measured_verdicts": fit_document(each.measured),
        "fitted_verdicts": fit_document(each.fitted),
        "tokens_per_cycle": {**_pair(each.tokens_per_cycle), "law": each.law_tokens_per_cycle},
        "time_per_token_s": _pair(each.token_s),
        "speedup_here": each.speedup,
        "simulated_speedup_on_devices_of_their_own": each.own_devices_speedup,
        "closed_form_speedup": theory.speedup(each.num_stages, each.acceptance.mean),
        "draft_over_stage": each.draft_in_stages,
    }


def _pair(pair: Pair) -> dict[str, Any]:
    return {"measured": _estimate(pair.measured), "predicted": pair.predicted, "error_fraction": pair.error}


def _estimate(found: Estimate) -> dict[str, float | None]:
    return {"mean": found.mean, "low": found.low, "high": found.high}


def print_demo(outcome: DemoOutcome) -> None:
    """Print all of it on stdout."""
    console = Screen()
    look = Look.of(console)
    language = outcome.language
    for line in (
        f"a language model of bytes: {language.num_weights:,} weights in {language.num_layers} layers, "
        f"{language.bits_per_byte:.2f} bits per byte",
        f"{outcome.num_measured} prompts of held-out text, {outcome.new_tokens} tokens each; {outcome.device}",
        f"plain decoding takes {look.time(outcome.plain_token_s.mean)} a token",
    ):
        console.print(Trimmed(Text(line, look.style("dim"))))
    console.print(_sample(outcome, look))
    _section(console, look, "Acceptance of the module's own drafts")
    console.print(_acceptance(outcome.pipelines, look))
    _section(console, look, f"Tokens per cycle, predicted from {outcome.num_fitted} other prompts")
    console.print(_tokens(outcome.pipelines, look))
    _section(console, look, "Time per token, all stages taking turns on this one device")
    console.print(_times(outcome.pipelines, look))
    _section(console, look, "Speedup over plain decoding: here, and with a device for every worker")
    console.print(_speedups(outcome.pipelines, look))
    console.print()
    for sentence in _sentences(outcome):
        console.print(Text(sentence))


def _section(console: Screen, look: Look, title: str) -> None:
    console.print()
    console.print(Text(title, look.style("bold")))


def _sample(outcome: DemoOutcome, look: Look) -> Panel:
    sample = outcome.sample
    text = Text(printable(sample.prompt[-_END_CHARACTERS:]), look.style("dim"))
    text.append(printable(sample.continuation[:_SAMPLE_CHARACTERS]), look.style("bold"))
    return Panel(text, title="the end of a prompt, and how the model goes on", title_align="left")


def _table(look: Look, *heads: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style=look.style("dim"))
    for head in heads:
        table.add_column(head, justify="right", no_wrap=True)
    return table


def _acceptance(pipelines: Sequence[Pipeline], look: Look) -> Table:
    table = _table(look, "stages", "accepted", "95 %", "fill 1", "fill 2", "full", "fits best")
    for each in pipelines:
        depths, found = each.measured.by_depth, each.acceptance
        at = [depths[index].fraction for index in (0, min(1, len(depths) - 1), -1)]
        table.add_row(
            str(each.num_stages), _percent(found.mean), f"{_percent(found.low)} to {_percent(found.high)}",
            *map(_percent, at), LABELS[each.model],
        )  # fmt: skip
    return table


def _tokens(pipelines: Sequence[Pipeline], look: Look) -> Table:
    table = _table(look, "stages", "measured", "C(K) of the verdicts", "simulated", "error")
    for each in pipelines:
        pair = each.tokens_per_cycle
        table.add_row(
            str(each.num_stages), f"{pair.measured.mean:.4f}", f"{each.law_tokens_per_cycle:.4f}",
            f"{pair.predicted:.4f}", f"{pair.error:+.1%}",
        )  # fmt: skip
    return table


def _times(pipelines: Sequence[Pipeline], look: Look) -> Table:
    table = _table(look, "stages", "measured", "simulated", "error", "a draft takes")
    for each in pipelines:
        measured_s = each.token_s.measured.mean
        table.add_row(
            str(each.num_stages), look.time(measured_s), look.time(each.token_s.predicted, like_s=measured_s),
            f"{each.token_s.error:+.1%}", f"{each.draft_in_stages:.1f} stages",
        )  # fmt: skip
    return table


def _speedups(pipelines: Sequence[Pipeline], look: Look) -> Table:
    table = _table(look, "stages", "measured here", "simulated, own devices", "by the law")
    for each in pipelines:
        law = theory.speedup(each.num_stages, each.acceptance.mean)
        table.add_row(
            str(each.num_stages), f"{each.speedup:.2f}{look.times}", f"{each.own_devices_speedup:.2f}{look.times}",
            f"{law:.2f}{look.times}",
        )  # fmt: skip
    return table


def _sentences(outcome: DemoOutcome) -> Sequence[str]:
    pipelines = outcome.pipelines
    sentences = ["Every token decoded with drafts is the one of plain decoding."]
    if len(pipelines) > 1:
        fall, half = (100.0 * value for value in outcome.fall)
        first, last = pipelines[0].num_stages, pipelines[-1].num_stages
        verdict = "holds here" if fall < 100.0 * MOST_FALL else "does not hold here"
        change = f"falls by {fall:.1f}" if fall >= 0.0 else f"rises by {-fall:.1f}"
        sentences.append(
            f"From {first} to {last} stages acceptance {change} points (give or take {half:.1f}): that the difficulty "
            f"of drafts is bounded (by less than {100.0 * MOST_FALL:.0f} points) {verdict}."
        )
    sentences.append(
        "Here drafts only cost time, because stages take turns on one device. The simulator says what the same tasks "
        "give with a device for each worker and free messages; the law, if besides no draft or verdict took any time."
    )
    home = Home(outcome.directory)
    model, draft = home.model, home.draft(pipelines[-1].num_stages)
    sentences.append(f"Go on:  {PROGRAM} generate --model {model} --draft {draft}")
    return sentences


def _percent(fraction: float | None) -> str:
    return "-" if fraction is None else f"{fraction:.1%}"
