"""Catalogues of hardware for people: a table of all entries, and one entry in full.

A figure is {value, origin, source}; its unit follows from the end of its key.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from spdsim.render.look import Look

Entry = Mapping[str, Mapping[str, Any]]
"""The figures of an entry, by key."""

HEADS: Mapping[str, tuple[str, str]] = {
    "latency_s": ("latency", "time of an empty message on its way"),
    "memory_bytes": ("memory", ""),
    "bandwidth_bytes_per_s": ("bandwidth", ""),
    "bandwidth_fraction": ("reached", "part of the bandwidth that a large matrix reaches"),
    "kernel_latency_s": ("kernel", "time of a matrix-vector product beside its bytes"),
    "small_kernel_s": ("small", "time of a kernel without weights"),
    "flops_per_s": ("bf16", "dense rate of arithmetic"),
    "compute_fraction": ("prefill", "part of that rate that a prefill reaches"),
    "post_s": ("post", "time of the sender's host for one operation"),
    "receive_s": ("receive", "time of the receiver's host for one receive"),
}
"""A figure's name as the head of a column, and its meaning where the head does not say it; columns in this order."""

MARKS: Mapping[str, str] = {"measured": "m", "published": "p", "datasheet": "d", "assumed": "a"}
"""The mark behind a figure, by origin."""

_UNITS = (
    ("_bytes_per_s", 1e-9, "GB/s"),
    ("flops_per_s", 1e-12, "TFLOP/s"),
    ("_bytes", 2.0**-30, "GiB"),
    ("_fraction", 1e2, "%"),
    ("_s", 1e6, "µs"),
)
"""The end of a key, how many of its unit one of the figure's has, and the unit."""


def readable(key: str, value: float) -> tuple[str, str]:
    """Return a figure as people read it, and its unit."""
    factor, unit = next((factor, unit) for end, factor, unit in _UNITS if key.endswith(end))
    return f"{value * factor:,.2f}".rstrip("0").rstrip("."), unit


def catalogue_table(entries: Mapping[str, Entry], look: Look) -> Group:
    """Return a line for each entry, each figure with the mark of its origin, and what marks and heads mean."""
    keys = [key for key in HEADS if any(key in entry for entry in entries.values())]
    table = Table(box=None, pad_edge=False, header_style=look.style("dim"))
    table.add_column("name", no_wrap=True, vertical="bottom")
    for key in keys:
        head = f"{HEADS[key][0]}\n{_ascii(readable(key, 0.0)[1], look)}"
        table.add_column(head, justify="right", no_wrap=True, vertical="bottom")
    for name, entry in entries.items():
        table.add_row(name, *(_marked(key, entry.get(key), look) for key in keys))
    marks = ", ".join(f"{mark} {origin}" for origin, mark in MARKS.items())
    meanings = "; ".join(f"{HEADS[key][0]}: {HEADS[key][1]}" for key in keys if HEADS[key][1])
    notes = (f"How a figure is known: {marks}.", f"{meanings[0].upper()}{meanings[1:]}.")
    return Group(table, "", *(Text(note, look.style("dim")) for note in notes))


def entry_table(name: str, entry: Entry, aliases: Sequence[str], look: Look) -> Group:
    """Return every figure of one entry with its key, value, origin and source."""
    table = Table(box=None, pad_edge=False, header_style=look.style("dim"))
    table.add_column("key", no_wrap=True)
    table.add_column("value", justify="right", no_wrap=True)
    table.add_column("origin", no_wrap=True)
    table.add_column("source", overflow="fold", ratio=1)
    for key in (key for key in HEADS if key in entry):
        value, unit = readable(key, entry[key]["value"])
        table.add_row(key, f"{value} {_ascii(unit, look)}", entry[key]["origin"], entry[key]["source"])
    title: list[RenderableType] = [Text(name, look.style("bold"))]
    if aliases:
        title.append(Text(f"also called {', '.join(aliases)}", look.style("dim")))
    return Group(*title, table)


def _marked(key: str, figure: Mapping[str, Any] | None, look: Look) -> Text:
    if figure is None:
        return Text(f"{look.none}  ")
    return Text.assemble(readable(key, figure["value"])[0], " ", (MARKS[figure["origin"]], look.style("dim")))


def _ascii(unit: str, look: Look) -> str:
    return unit if look.unicode else unit.replace("µ", "u")
