"""Trace files, version 1: JSON lines, one header and then one line per span.

Reading checks everything that later code relies on, so that a trace by anyone else is either a `Trace`
or one line of `TraceError`. Knows nothing of what the spans mean. Standard library only.
"""

import json
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any, TextIO, get_args

from spdsim.errors import TraceError
from spdsim.files import atomic_writer
from spdsim.schedules.ops import Payload, Task
from spdsim.trace import ONE_DEVICE, Site, Source, Trace, TraceHeader, WorkerInfo

FORMAT = "spd-trace"
VERSION = 1

_WAYS = ("send", "recv", "handle")
OPS = frozenset(
    (
        *get_args(Task),
        *(f"issue {task}" for task in get_args(Task)),
        *(f"{way} {payload}" for way in _WAYS for payload in get_args(Payload)),
    )
)
"""Every op that a span can name."""

_INT32_MAX = 2**31 - 1
_MAX_SITES = 2**16
_LINES_PER_WRITE = 4096


def write_trace(trace: Trace, path: str | os.PathLike[str]) -> None:
    """Write `trace` to `path`, whole or not at all; `read_trace` gives back the same spans, floats to the bit.

    Raises InputError when the file cannot be written, and TraceError for a trace of several sequences in flight
    together, which no version of the format has.
    """
    if (number := trace.header.concurrency) is not None:
        raise TraceError(f"concurrency is {number}: must be one sequence at a time here, in a trace file")
    lines = _lines(trace)
    with atomic_writer(path) as file:
        while chunk := "".join(islice(lines, _LINES_PER_WRITE)):
            file.write(chunk)


def read_trace(path: str | os.PathLike[str]) -> Trace:
    """Read the trace at `path`, whoever wrote it.

    Raises TraceError, one line with file, line, value and rule: no such file, not a trace, another version,
    truncated (a line cut short, or fewer spans than the header's `num_spans`, where it has one), or a span
    that breaks the format.
    """
    try:
        with Path(path).open(encoding="utf-8") as file:
            return _Reader(os.fspath(path)).read(file)
    except OSError as error:
        raise TraceError(f"{os.fspath(path)}: cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise TraceError(f"{os.fspath(path)}: is not text: must be a trace in JSON lines") from error


# Writing.


def _lines(trace: Trace) -> Iterator[str]:
    known = {key: value for key, value in asdict(trace.header).items() if value is not None}
    header = {"format": FORMAT, "version": VERSION, **known, "num_spans": len(trace)}
    yield json.dumps(header) + "\n"
    # One json.dumps a span would cost several times the rest, and spans differ in four numbers only.
    affixes = [_affixes(site) for site in trace.sites]
    columns = (trace.site, trace.cycle, trace.position, trace.start_s, trace.end_s)
    for sequence in range(trace.num_sequences):
        end = f',"sequence":{sequence}}}\n' if sequence else "}\n"
        first, last = trace.sequence_bounds(sequence)
        for site, cycle, position, start_s, end_s in zip(*(column[first:last] for column in columns), strict=True):
            head, middle, tail = affixes[site]
            yield f'{head}{cycle}{middle}{position},"start_s":{start_s!r},"end_s":{end_s!r}{tail}{end}'


def _affixes(site: Site) -> tuple[str, str, str]:
    """The text of a site's spans before the cycle, between cycle and position, and after the times."""
    optional = {"peer": site.peer, "bytes": site.bytes, "accepted": site.accepted}
    tail = "".join(f',"{key}":{json.dumps(value)}' for key, value in optional.items() if value is not None)
    return f'{{"worker":{site.worker},"cycle":', f',"op":{json.dumps(site.op)},"position":', tail


# Reading.


class _Reader:
    """Reads one file; `where` is the line at hand, for errors."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.where = path
        self.num_workers = 0
        self.sequence = -1
        self.sites: dict[tuple[object, ...], int] = {}

    def read(self, file: TextIO) -> Trace:
        first = file.readline()
        if not first.strip():
            raise self.error("is empty: must begin with a trace header")
        self.where = f"{self.path}:1"
        document = self.parse(first)
        trace = Trace(self.header(document))
        self.num_workers = len(trace.header.workers)
        line_number = 1
        for line_number, line in enumerate(file, start=2):
            self.where = f"{self.path}:{line_number}"
            self.span(trace, self.parse(line))
        self.check_count(document, trace, line_number)
        return trace

    def error(self, text: str) -> TraceError:
        return TraceError(f"{self.where}: {text}")

    def parse(self, line: str) -> dict[str, Any]:
        """Return the JSON object on `line`. A last line without its newline was cut, unless it is whole anyway."""
        try:
            document = json.loads(line)
        except (ValueError, RecursionError) as error:
            if not line.endswith("\n"):
                raise self.error("line is cut short: the file is truncated") from error
            raise self.error("is not JSON: must be one JSON object a line") from error
        if not isinstance(document, dict):
            raise self.error(f"line is {_shown(document)}: must be a JSON object")
        return document

    def header(self, document: dict[str, Any]) -> TraceHeader:
        if document.get("format") != FORMAT:
            raise self.error(f'format is {_shown(document.get("format"))}: must be "{FORMAT}"')
        if document.get("version") != VERSION or isinstance(document["version"], bool):
            raise self.error(f"version is {_shown(document.get('version'))}: this spdsim reads version {VERSION}")
        source: Any = document.get("source")
        if source not in get_args(Source):
            raise self.error(f"source is {_shown(source)}: must be one of {', '.join(get_args(Source))}")
        return TraceHeader(
            source,
            self.text(document, "method"),
            self.integer(document, "num_stages", 1),
            self.integer(document, "verification_lag", 0),
            self.workers(document.get("workers")),
            self.text(document, "scenario_sha256", ""),
            self.text(document, "clock", "seconds"),
            self.text(document, "baseline", ONE_DEVICE),
            self.fraction(document, "mean_acceptance"),
            self.duration(document, "plain_token_s"),
            self.mapping(document, "scenario"),
            self.names(document, "machine"),
        )

    def workers(self, entries: object) -> tuple[WorkerInfo, ...]:
        if not isinstance(entries, list) or not entries or not all(isinstance(entry, dict) for entry in entries):
            raise self.error(f"workers is {_shown(entries)}: must be a list of objects with index, role and device")
        for number, entry in enumerate(entries):
            if self.integer(entry, "index", 0) != number:
                raise self.error(f"index is {entry['index']} for worker {number} of the list: must count from 0")
        return tuple(WorkerInfo(i, self.text(e, "role"), self.text(e, "device")) for i, e in enumerate(entries))

    def span(self, trace: Trace, document: dict[str, Any]) -> None:
        """Record the span in `document`, checked. Most spans repeat a site, so each site is checked once."""
        get = document.get
        key = (get("worker"), get("op"), get("peer"), get("bytes"), get("accepted"))
        try:
            site = self.sites[key]
        except (KeyError, TypeError):
            site = self.sites[key] = self.site(trace, document)
        cycle = self.integer(document, "cycle", -1, _INT32_MAX)
        position = self.integer(document, "position", -1, _INT32_MAX)
        start_s = self.seconds(document, "start_s")
        end_s = self.seconds(document, "end_s")
        if end_s < start_s:
            raise self.error(f"end_s is {end_s!r}: must be no less than start_s, {start_s!r}")
        if get("sequence", 0) != self.sequence:
            self.enter_sequence(trace, document)
        trace.record(site, cycle, position, start_s, end_s)

    def site(self, trace: Trace, document: dict[str, Any]) -> int:
        """Return the number of the site that `document` names."""
        worker = self.integer(document, "worker", 0, self.num_workers - 1)
        op = document.get("op")
        if not isinstance(op, str) or op not in OPS:
            raise self.error(f"op is {_shown(op)}: must be one of {', '.join(sorted(OPS))}")
        peer = None
        if document.get("peer") is not None or op.partition(" ")[0] in _WAYS:
            peer = self.integer(document, "peer", 0, self.num_workers - 1)
        num_bytes = None if document.get("bytes") is None else self.integer(document, "bytes", 0)
        accepted = document.get("accepted")
        if accepted is not None and not isinstance(accepted, bool):
            raise self.error(f"accepted is {_shown(accepted)}: must be true or false")
        number = trace.site_id(Site(worker, op, peer, num_bytes, accepted))
        if number >= _MAX_SITES:
            rule = f"worker, op, peer, bytes and accepted may combine in {_MAX_SITES} ways"
            raise self.error(f"bytes is {num_bytes}: {rule}")
        return number

    def enter_sequence(self, trace: Trace, document: dict[str, Any]) -> None:
        """Begin the span's sequence; the spans of a sequence stand together."""
        sequence = self.integer(document, "sequence", 0) if "sequence" in document else 0
        if sequence != self.sequence + 1:
            allowed = "0" if self.sequence < 0 else f"{self.sequence} or {self.sequence + 1}"
            raise self.error(f"sequence is {sequence}: must be {allowed} here")
        trace.begin_sequence()
        self.sequence = sequence

    def check_count(self, document: dict[str, Any], trace: Trace, num_lines: int) -> None:
        if document.get("num_spans") is None:
            return
        self.where = f"{self.path}:1"
        promised = self.integer(document, "num_spans", 0)
        self.where = f"{self.path}:{num_lines}"
        if promised > len(trace):
            raise self.error(f"file ends after {len(trace)} of {promised} spans: the file is truncated")
        if promised < len(trace):
            raise self.error(f"file has {len(trace)} spans: the header's num_spans says {promised}")

    # Single fields.

    def text(self, document: dict[str, Any], key: str, default: str | None = None) -> str:
        value = document.get(key, default)
        if not isinstance(value, str):
            raise self.error(f"{key} is {_shown(value)}: must be text")
        return value

    def integer(self, document: dict[str, Any], key: str, low: int, high: int | None = None) -> int:
        value = document.get(key)
        if type(value) is int and low <= value and (high is None or value <= high):
            return value
        rule = f"an integer of at least {low}" if high is None else f"an integer from {low} to {high}"
        raise self.error(f"{key} is {_shown(value)}: must be {rule}")

    def fraction(self, document: dict[str, Any], key: str) -> float | None:
        value = document.get(key)
        if value is None or ((type(value) is float or type(value) is int) and 0.0 <= value <= 1.0):
            return value
        raise self.error(f"{key} is {_shown(value)}: must be a number from 0 to 1")

    def duration(self, document: dict[str, Any], key: str) -> float | None:
        if document.get(key) is None:
            return None
        seconds = self.seconds(document, key)
        if seconds <= 0.0:
            raise self.error(f"{key} is {_shown(document[key])}: must be greater than 0")
        return seconds

    def mapping(self, document: dict[str, Any], key: str) -> dict[str, Any] | None:
        value = document.get(key)
        if value is None or isinstance(value, dict):
            return value
        raise self.error(f"{key} is {_shown(value)}: must be an object")

    def names(self, document: dict[str, Any], key: str) -> dict[str, str] | None:
        found = self.mapping(document, key)
        for name, value in (found or {}).items():
            if not isinstance(value, str):
                raise self.error(f"{key}.{name} is {_shown(value)}: must be text")
        return found

    def seconds(self, document: dict[str, Any], key: str) -> float:
        value = document.get(key)
        if (type(value) is float or type(value) is int) and abs(value) <= sys.float_info.max:
            return float(value)
        raise self.error(f"{key} is {_shown(value)}: must be a finite number of seconds")


def _shown(value: object) -> str:
    """Return `value` as it may stand in an error: as JSON, on one line, short."""
    if value is None:
        return "missing"
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."
