"""A table of measured plain decoding, a line for each model and machine: batch size 1, no draft.

use: calibrate, where a figure of the catalogue follows from the line; else validate.
token_ms: milliseconds of a token. devices: 1, or as many as share every layer by tensor parallelism.
Three columns may be there besides, of what an engine does with several devices: lm_head, all_reduce, all_reduce_us.
"""

from dataclasses import dataclass
from os import PathLike, fspath
from typing import Literal

from spdsim.evidence.sheet import Record, read_sheet

COLUMNS = ("model", "gpu", "devices", "launch", "context_tokens", "token_ms", "use", "source")
NUMBERS = ("devices", "context_tokens", "token_ms")
"""The columns that hold numbers."""
HEAD_COLUMN, KIND_COLUMN, ALL_REDUCE_COLUMN = "lm_head", "all_reduce", "all_reduce_us"
"""Columns that may be left out: how several devices share the LM head, which of the catalogue's all-reduces they use,
and microseconds of the engine's own."""

_HEADS = {"": False, "sharded": False, "whole": True}

AllReduce = Literal["nccl", "one_shot"]
_KINDS: dict[str, AllReduce] = {"": "nccl", "nccl": "nccl", "one_shot": "one_shot"}

Launch = Literal["eager", "compiled", "cuda_graph"]
_LAUNCHES: dict[str, Launch] = {"eager": "eager", "compiled": "compiled", "cuda_graph": "cuda_graph"}


@dataclass(frozen=True, slots=True)
class PlainRow:
    """One measurement. token_s: seconds of a token; None: to be predicted only.

    has_whole_head: every device computes the LM head whole. all_reduce_s: of the engine; None: the catalogue's figure
    of `all_reduce`.
    """

    place: str
    model: str
    gpu: str
    devices: int
    launch: Launch
    context_tokens: int
    token_s: float | None
    use: str
    source: str
    has_whole_head: bool = False
    all_reduce: AllReduce = "nccl"
    all_reduce_s: float | None = None

    @property
    def is_tensor_parallel(self) -> bool:
        """Whether several devices share every layer."""
        return self.devices > 1


@dataclass(frozen=True, slots=True)
class PlainTable:
    """A table as it was read."""

    path: str
    lines: tuple[tuple[Record, PlainRow], ...]


def is_plain_table(path: str | PathLike[str]) -> bool:
    """Whether a CSV file is a table of plain decoding, told by its columns. Raises InputError if it is no table."""
    columns, _ = read_sheet(path, ())
    return "gpu" in columns and "token_ms" in columns


def read_plain_table(path: str | PathLike[str]) -> PlainTable:
    """Return the table in a CSV file.

    Raises InputError, one line: file and line, column, value and rule.
    """
    _, records = read_sheet(path, COLUMNS)
    return PlainTable(fspath(path), tuple((record, _row(record)) for record in records))


def _row(record: Record) -> PlainRow:
    launch = record.text("launch")
    if launch not in _LAUNCHES:
        raise record.error("launch", f"must be one of {', '.join(_LAUNCHES)}")
    token_ms = record.number("token_ms", is_above=True) if record.cells["token_ms"] else None
    head = record.cells.get(HEAD_COLUMN, "")
    if head not in _HEADS:
        raise record.error(HEAD_COLUMN, "must be sharded, whole or empty, which is sharded")
    kind = record.cells.get(KIND_COLUMN, "")
    if kind not in _KINDS:
        raise record.error(KIND_COLUMN, "must be nccl, one_shot or empty, which is nccl")
    has_meeting = bool(record.cells.get(ALL_REDUCE_COLUMN))
    meeting_us = record.number(ALL_REDUCE_COLUMN, is_above=True) if has_meeting else None
    return PlainRow(
        place=record.place, model=record.text("model"), gpu=record.text("gpu"), devices=record.whole("devices", 1),
        launch=_LAUNCHES[launch], context_tokens=record.whole("context_tokens", 0),
        token_s=None if token_ms is None else token_ms / 1e3, use=record.cells["use"],
        source=record.cells["source"], has_whole_head=_HEADS[head], all_reduce=_KINDS[kind],
        all_reduce_s=None if meeting_us is None else meeting_us / 1e6,
    )  # fmt: skip
