"""Trace files: an exact round trip, and one clear line for everything that is not a trace."""

import json
import math
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spdsim.errors import InputError, TraceError
from spdsim.schedules.spd import Layout
from spdsim.trace import Site, Trace
from spdsim.tracefile import read_trace, write_trace
from tests.fakes import header, play

TRACE = play(Layout(3), "AAR", "RA")

Document = dict[str, object]


def lines_of(tmp_path: Path) -> list[str]:
    write_trace(TRACE, tmp_path / "good.jsonl")
    return (tmp_path / "good.jsonl").read_text().splitlines()


def error_of(path: Path) -> str:
    """Return what `read_trace` says of `path`, without the path itself; it must be one line."""
    with pytest.raises(TraceError) as error:
        read_trace(path)
    text = str(error.value)
    assert text.startswith(str(path))
    assert "\n" not in text
    return text.removeprefix(str(path))


def changed(tmp_path: Path, number: int, **changes: object) -> Path:
    """Write the trace with keys of line `number` (0: the header) changed, or removed where the value is None."""
    lines = lines_of(tmp_path)
    document = json.loads(lines[number]) | changes
    lines[number] = json.dumps({key: value for key, value in document.items() if value is not None})
    path = tmp_path / "bad.jsonl"
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize(
    "layout", [Layout(1), Layout(2, "sharded", 1), Layout(3, "own_device", 2, sampled=True)], ids=str
)  # fmt: skip
def test_a_trace_survives_a_file_unchanged(tmp_path: Path, layout: Layout) -> None:
    """Columns, header and sites are equal, floats to the last bit."""
    trace = play(layout, "AAR", "A", "RRA")
    write_trace(trace, tmp_path / "trace.jsonl")
    assert read_trace(tmp_path / "trace.jsonl") == trace


@given(st.lists(st.tuples(st.floats(0, 1e9), st.floats(0, 1e9)), min_size=1, max_size=20))
@settings(max_examples=30)
def test_every_float_survives(tmp_path_factory: pytest.TempPathFactory, times: list[tuple[float, float]]) -> None:
    """Times are written so that reading gives the same double."""
    path = tmp_path_factory.mktemp("trace") / "trace.jsonl"
    trace = Trace(header(Layout(2)))
    trace.begin_sequence()
    site = trace.site_id(TRACE.sites[0])
    for a, b in times:
        trace.record(site, 0, 0, min(a, b), max(a, b))
    write_trace(trace, path)
    assert read_trace(path) == trace


def test_the_format_is_the_documented_one(tmp_path: Path) -> None:
    """One header, one object a line, optional keys only where they apply."""
    documents = [json.loads(line) for line in lines_of(tmp_path)]
    head, *spans = documents
    assert list(head) == [
        "format", "version", "source", "method", "num_stages", "verification_lag", "workers",
        "scenario_sha256", "clock", "baseline", "num_spans",
    ]  # fmt: skip
    assert head["workers"][0] == {"index": 0, "role": "draft", "device": "gpu 0"}
    assert head["num_spans"] == len(spans) == len(TRACE)
    required = ["worker", "cycle", "op", "position", "start_s", "end_s"]
    optional = ["peer", "bytes", "accepted", "sequence"]
    assert all(list(span)[:6] == required for span in spans)
    assert all(list(span)[6:] == [key for key in optional if key in span] for span in spans)
    assert {span.get("sequence", 0) for span in spans} == {0, 1}
    assert not any(span.get("sequence") == 0 for span in spans)


def test_the_time_of_plain_decoding_and_the_spans_of_hosts_survive(tmp_path: Path) -> None:
    """What a host issues or handles too slowly has spans of its own."""
    path = tmp_path / "trace.jsonl"
    trace = Trace(replace(header(Layout(2)), plain_token_s=0.025))
    trace.begin_sequence()
    for site in (Site(1, "issue forward"), Site(0, "handle hidden", 2, 40)):
        trace.record(trace.site_id(site), 0, 0, 0.0, 1.0)
    write_trace(trace, path)
    assert read_trace(path) == trace


def test_unknown_keys_of_a_later_writer_are_ignored(tmp_path: Path) -> None:
    """Another program may note more than this one reads."""
    assert read_trace(changed(tmp_path, 1, weather="fine")) == TRACE
    assert read_trace(changed(tmp_path, 0, weather="fine")) == TRACE


def test_a_trace_that_does_not_count_its_spans_is_read(tmp_path: Path) -> None:
    """`num_spans`, `baseline`, `clock` and the hash are ours; others may leave them out."""
    path = changed(tmp_path, 0, num_spans=None, baseline=None, clock=None, scenario_sha256=None)
    assert len(read_trace(path)) == len(TRACE)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "chrome"}, ':1: format is "chrome": must be "spd-trace"'),
        ({"format": None}, ':1: format is missing: must be "spd-trace"'),
        ({"version": 2}, ":1: version is 2: this spdsim reads version 1"),
        ({"source": "dream"}, ':1: source is "dream": must be one of simulator, executor, emulated'),
        ({"source": []}, ":1: source is []: must be one of simulator, executor, emulated"),
        ({"num_stages": 0}, ":1: num_stages is 0: must be an integer of at least 1"),
        ({"num_stages": True}, ":1: num_stages is true: must be an integer of at least 1"),
        ({"method": 3}, ":1: method is 3: must be text"),
        ({"workers": []}, ":1: workers is []: must be a list of objects with index, role and device"),
        ({"workers": [{"index": 1}]}, ":1: index is 1 for worker 0 of the list: must count from 0"),
        ({"num_spans": -1}, ":1: num_spans is -1: must be an integer of at least 0"),
        ({"plain_token_s": 0}, ":1: plain_token_s is 0: must be greater than 0"),
        ({"plain_token_s": "slow"}, ':1: plain_token_s is "slow": must be a finite number of seconds'),
    ],
    ids=str,
)
def test_a_bad_header_is_named_with_its_value_and_rule(tmp_path: Path, change: Document, message: str) -> None:
    """Where, value, rule."""
    assert error_of(changed(tmp_path, 0, **change)) == message


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"op": "dance"}, 'op is "dance": must be one of combine, commit, draft, forward'),
        ({"op": ["draft"]}, 'op is ["draft"]: must be one of'),
        ({"op": None}, "op is missing: must be one of"),
        ({"worker": 9}, "worker is 9: must be an integer from 0 to 3"),
        ({"worker": -1}, "worker is -1: must be an integer from 0 to 3"),
        ({"worker": "0"}, 'worker is "0": must be an integer from 0 to 3'),
        ({"cycle": -2}, "cycle is -2: must be an integer from -1 to 2147483647"),
        ({"position": 2**40}, "position is 1099511627776: must be"),
        ({"start_s": 9e9}, "must be no less than start_s, 9000000000.0"),
        ({"start_s": "0"}, 'start_s is "0": must be a finite number of seconds'),
        ({"start_s": math.nan}, "start_s is NaN: must be a finite number of seconds"),
        ({"end_s": math.inf}, "end_s is Infinity: must be a finite number of seconds"),
        ({"end_s": 10**400}, "must be a finite number of seconds"),
        ({"op": "send hidden"}, "peer is missing: must be an integer from 0 to 3"),
        ({"peer": 7}, "peer is 7: must be an integer from 0 to 3"),
        ({"bytes": -8}, "bytes is -8: must be an integer of at least 0"),
        ({"accepted": "yes"}, 'accepted is "yes": must be true or false'),
        ({"sequence": 1}, "sequence is 1: must be 0 here"),
    ],
    ids=str,
)
def test_a_bad_span_is_named_with_its_line_value_and_rule(tmp_path: Path, change: Document, message: str) -> None:
    """Where, value, rule; the first span stands on line 2."""
    text = error_of(changed(tmp_path, 1, **change))
    assert text.startswith(":2: ")
    assert message in text


def test_sequences_do_not_interleave(tmp_path: Path) -> None:
    """A reader may rely on a sequence's spans standing together."""
    assert error_of(changed(tmp_path, len(TRACE), sequence=0)).endswith(": sequence is 0: must be 1 or 2 here")


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    """The operating system's words, without a traceback."""
    assert error_of(tmp_path / "none.jsonl") == ": cannot be read: No such file or directory"
    assert error_of(tmp_path) == ": cannot be read: Is a directory"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", ": is empty: must begin with a trace header"),
        (b"\n", ": is empty: must begin with a trace header"),
        (b"seed: 3\n", ":1: is not JSON: must be one JSON object a line"),
        (b"[1, 2]\n", ":1: line is [1, 2]: must be a JSON object"),
        (b"\xff\xfe\x00", ": is not text: must be a trace in JSON lines"),
        (b"[" * 100_000 + b"\n", ":1: is not JSON: must be one JSON object a line"),
    ],
    ids=["nothing", "blank", "yaml", "list", "binary", "deep"],
)
def test_what_is_not_a_trace_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    """Whatever the file holds, the answer is one line."""
    path = tmp_path / "bad.jsonl"
    path.write_bytes(content)
    assert error_of(path) == message


def test_a_cut_line_is_a_truncated_file(tmp_path: Path) -> None:
    """The line that was cut is named."""
    lines = lines_of(tmp_path)
    path = tmp_path / "bad.jsonl"
    path.write_text("\n".join(lines)[:-20])
    assert error_of(path) == f":{len(lines)}: line is cut short: the file is truncated"


def test_missing_spans_are_a_truncated_file(tmp_path: Path) -> None:
    """A file cut at the end of a line is found by the header's count."""
    lines = lines_of(tmp_path)
    path = tmp_path / "bad.jsonl"
    path.write_text("\n".join(lines[:-3]) + "\n")
    spans = len(TRACE)
    assert error_of(path) == f":{spans - 2}: file ends after {spans - 3} of {spans} spans: the file is truncated"


def test_every_truncation_is_found(tmp_path: Path) -> None:
    """Wherever the file is cut, reading fails with one line; only the last newline may be missing."""
    lines_of(tmp_path)
    text = (tmp_path / "good.jsonl").read_text()
    path = tmp_path / "bad.jsonl"
    for length in range(1, len(text) - 1, 97):
        path.write_text(text[:length])
        error_of(path)
    path.write_text(text[:-1])
    assert read_trace(path) == TRACE


def test_nothing_is_written_where_the_directory_is_missing(tmp_path: Path) -> None:
    """An InputError, as for any file."""
    with pytest.raises(InputError, match="does not exist"):
        write_trace(TRACE, tmp_path / "nowhere" / "trace.jsonl")


def test_reading_loads_no_heavy_library() -> None:
    """Neither numpy nor rich: a trace can be checked where only the standard library is."""
    check: Callable[[str], str] = "assert not {{'numpy', 'rich', 'simpy'}} & set(sys.modules), {}".format
    code = f"import sys, spdsim.tracefile, spdsim.schedules.grid; {check('sys.modules')}"
    subprocess.run([sys.executable, "-c", code], check=True)
