"""Target models for people: a table of all, and what one is made of.

Fits 80 columns. Knows nothing of catalogues and files.
"""

from collections.abc import Iterator, Sequence

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from spdsim.render.look import Look, significant
from spdsim.render.trim import Trimmed
from spdsim.shapes.layers import Layer
from spdsim.shapes.summary import ModelSummary

_WIDE = 120
"""Columns from which a source has room beside its model."""


def print_models(models: Sequence[ModelSummary], console: Console) -> None:
    """Print a line for each of the models."""
    look, is_wide = Look.of(console), console.width >= _WIDE
    heads = ("model", "layers", "hidden", "kind", "params", "active", "weights", "KV/token", "source")
    table = _table(look, *heads, gap=2 if is_wide else 1)
    for column in (0, 3, 8):
        table.columns[column].justify = "left"
    for model in models:
        table.add_row(
            model.name, str(len(model.layers)), str(model.hidden_size), model.architecture,
            _number(model.num_params), _number(model.num_active_params), _size(model.weight_bytes),
            _size(model.kv_bytes_per_token), model.source if is_wide else model.origin,
        )  # fmt: skip
    console.print(Trimmed(table))
    console.print(
        Text("params: all weights; active: without the experts that a token does not use.", look.style("dim"))
    )


def print_model(model: ModelSummary, console: Console) -> None:
    """Print what a model is made of."""
    look = Look.of(console)
    for part in _parts(model, look):
        console.print(Trimmed(part))


def _parts(model: ModelSummary, look: Look) -> Iterator[RenderableType]:
    yield Text(model.name, look.style("bold"))
    yield Text(f"{model.origin}: {model.source}" if model.source else model.origin, look.style("dim"))
    yield ""
    yield _layers(model, look)
    yield ""
    yield _matrices(model, look)
    yield ""
    yield _facts(model)
    floor = f"A token reads {_size(model.read_bytes_per_token)} of weights at least, and then its context's cache:"
    yield Text(f"{floor}\n{look.time(model.read_bytes_per_token / 1e12)} on a device of 1 TB/s.", look.style("dim"))


def _layers(model: ModelSummary, look: Look) -> Table:
    table = _table(look, "layers", "kind", "weights", "read a token", "KV a token", "window", "state")
    table.columns[1].justify = "left"
    for layer, count in model.kinds:
        table.add_row(
            str(count), _kind(layer), _size(layer.weight_bytes), _size(layer.read_bytes),
            _or_none(layer.kv_bytes_per_token, look), f"{layer.window_tokens:,}" if layer.window_tokens else look.none,
            _or_none(layer.state_bytes, look),
        )  # fmt: skip
    return table


def _matrices(model: ModelSummary, look: Look) -> Table:
    """What a token reads of one layer of each kind, kernel by kernel."""
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True, style=look.style("dim"))
    table.add_column()
    for layer, _ in model.kinds:
        sizes = zip(layer.matrix_names, layer.matrices_bytes, strict=True)
        table.add_row(_kind(layer), ", ".join(f"{name} {_size(num_bytes)}" for name, num_bytes in sizes))
    return table


def _facts(model: ModelSummary) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column()
    is_mixed = model.num_active_params != model.num_params
    table.add_row("parameters", _number(model.num_params), "")
    if is_mixed:
        table.add_row("  of a token", _number(model.num_active_params), "")
    table.add_row("embedding", _size(model.embedding_bytes), "which is the LM head too" if model.is_tied else "")
    table.add_row("LM head", _size(model.head_bytes), "")
    table.add_row("all weights", _size(model.weight_bytes), "")
    table.add_row("KV a token", _size(model.kv_bytes_per_token), "")
    if model.state_bytes:
        table.add_row("state", _size(model.state_bytes), "of a sequence")
    table.add_row("operations", f"{significant(model.flops_per_token / 1e9)} G", "a token, beside attention")
    return table


def _table(look: Look, *heads: str, gap: int = 2) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, gap, 0, 0), header_style=look.style("dim"))
    for head in heads:
        table.add_column(head, justify="right", no_wrap=True)
    return table


def _kind(layer: Layer) -> str:
    return ("attention" if layer.kind == "attention" else "gated delta") + (", MoE" if layer.is_moe else "")


def _or_none(num_bytes: int, look: Look) -> str:
    return _size(num_bytes) if num_bytes else look.none


def _number(count: float) -> str:
    return f"{significant(count / 1e9)} B" if count >= 1e9 else f"{significant(count / 1e6)} M"


def _size(num_bytes: float) -> str:
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if num_bytes >= 0.9995 * factor:
            return f"{significant(num_bytes / factor)} {unit}"
    return f"{significant(num_bytes)} B"
