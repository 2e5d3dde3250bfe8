"""The Perfetto file: what the viewer needs is there, and it is consistent with the trace."""

import json
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest

from spdsim.analysis.messages import pairs
from spdsim.errors import InputError
from spdsim.perfetto import write_perfetto
from spdsim.schedules.spd import Layout
from spdsim.trace import Trace
from tests.fakes import play

LAYOUTS = [
    Layout(1),
    Layout(4),
    Layout(3, "sharded", 1),
    Layout(3, "last_stage", 1, control="late"),
    Layout(3, "own_device", 2, sampled=True),
]
Events = list[dict[str, Any]]


def events_of(trace: Trace, tmp_path: Path) -> Events:
    write_perfetto(trace, tmp_path / "trace.json")
    document = json.loads((tmp_path / "trace.json").read_text())
    assert document["displayTimeUnit"] == "ms"
    events: Events = document["traceEvents"]
    return events


def phase(events: Events, letter: str) -> Events:
    return [event for event in events if event["ph"] == letter]


@pytest.fixture(params=LAYOUTS, ids=str)
def layout(request: pytest.FixtureRequest) -> Layout:
    layout: Layout = request.param
    return layout


@pytest.fixture
def trace(layout: Layout) -> Trace:
    return play(layout, "AARAAR", "RAA")


@pytest.fixture
def events(trace: Trace, tmp_path: Path) -> Events:
    return events_of(trace, tmp_path)


def test_every_worker_has_a_named_track_in_order(events: Events, layout: Layout) -> None:
    """Track number and sort index are the worker's index; the name says role and device."""
    names = {event["tid"]: event["args"]["name"] for event in phase(events, "M") if event["name"] == "thread_name"}
    order = {e["tid"]: e["args"]["sort_index"] for e in phase(events, "M") if e["name"] == "thread_sort_index"}
    assert list(names) == list(range(layout.num_workers))
    assert order == {worker: worker for worker in names}
    assert names[0] == ("stage 0 (gpu 0)" if layout.num_stages == 1 else "draft (gpu 0)")
    assert sum(event["name"] == "process_name" for event in events) == 1


def test_every_span_is_one_slice(events: Events, trace: Trace) -> None:
    """Same worker, same times in microseconds, and what the span says as arguments."""
    slices = phase(events, "X")
    assert len(slices) == len(trace)
    seen = Counter((s["tid"], s["ts"], s["dur"], s["args"]["cycle"], s["args"]["position"]) for s in slices)
    expected = Counter(
        (s.worker, round(s.start_s * 1e6, 4), round((s.end_s - s.start_s) * 1e6, 4), s.cycle, s.position)
        for s in trace.spans()
    )
    assert seen == expected
    assert {s["args"]["fate"] for s in slices} <= {"useful", "wasted", "abandoned"}


def test_slices_of_a_track_do_not_overlap(events: Events) -> None:
    """A worker does one thing at a time, so the viewer nests nothing."""
    ends: dict[int, float] = defaultdict(float)
    for event in phase(events, "X"):
        assert event["ts"] >= ends[event["tid"]] - 1e-3
        ends[event["tid"]] = event["ts"] + event["dur"]


def test_events_stand_in_the_order_of_time(events: Events) -> None:
    """After the names."""
    times = [event["ts"] for event in events if event["ph"] != "M"]
    assert times == sorted(times)


def test_every_arrow_starts_once_and_ends_once(events: Events, trace: Trace) -> None:
    """One arrow a message; it starts before it ends, on the tracks of its two workers."""
    starts = {event["id"]: event for event in phase(events, "s")}
    ends = {event["id"]: event for event in phase(events, "f")}
    num_sends = sum(span.op.startswith("send ") for span in trace.spans())
    assert len(phase(events, "s")) == len(phase(events, "f")) == num_sends
    assert starts.keys() == ends.keys()
    for number, begin in starts.items():
        end = ends[number]
        assert (begin["name"], begin["pid"]) == (end["name"], end["pid"])
        assert begin["ts"] <= end["ts"]
        assert begin["tid"] != end["tid"]
        assert end["bp"] == "e"


def test_an_arrow_touches_the_slices_of_its_message(events: Events) -> None:
    """The viewer binds an arrow to the last slice opened on the track: that one must be the send or the receipt."""
    opened: dict[int, dict[str, Any]] = {}
    for event in events:
        if event["ph"] == "X":
            opened[event["tid"]] = event
        elif event["ph"] in "sf":
            way = "send" if event["ph"] == "s" else "recv"
            name = opened[event["tid"]]["name"]
            assert name.startswith(f"{way} {event['name']}")


def test_the_counter_stays_within_the_pipeline(events: Events, layout: Layout) -> None:
    """Never negative, never more than n + k tokens, full at times, and nothing is left at the end."""
    counts = [event["args"]["tokens"] for event in phase(events, "C")]
    assert min(counts) >= 0
    assert max(counts) == layout.capacity
    assert counts[-1] == 0


def test_a_rejection_empties_the_pipeline_and_is_marked(events: Events) -> None:
    """One mark a rejection, with what was rejected."""
    marks = phase(events, "i")
    assert [(m["args"]["sequence"], m["args"]["position"]) for m in marks] == [(0, 3), (0, 6), (1, 1)]
    assert [m["name"] for m in marks] == ["rejection of 3", "rejection of 6", "rejection of 1"]


def test_a_clock_that_starts_anew_is_another_process(tmp_path: Path) -> None:
    """Replications each count from 0; drawn on one track they would lie on each other."""
    trace = play(Layout(2), "AAR")
    again = play(Layout(2), "AAR")
    trace.begin_sequence()
    for span in again.spans():
        site = trace.site_id(again.sites[next(i for i, s in enumerate(again.sites) if _is_of(s, span))])
        trace.record(site, span.cycle, span.position, span.start_s, span.end_s)
    events = events_of(trace, tmp_path)
    assert {event["pid"] for event in events} == {1, 2}
    assert sum(event["name"] == "thread_name" for event in events) == 6


def _is_of(site: Any, span: Any) -> bool:
    keys = ("worker", "op", "peer", "bytes", "accepted")
    return all(getattr(site, key) == getattr(span, key) for key in keys)


def test_the_file_is_the_same_every_time(trace: Trace, tmp_path: Path) -> None:
    """Same trace, same bytes."""
    write_perfetto(trace, tmp_path / "a.json")
    write_perfetto(trace, tmp_path / "b.json")
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


def test_nothing_is_written_where_the_directory_is_missing(tmp_path: Path) -> None:
    """An InputError, as for any file."""
    with pytest.raises(InputError, match="does not exist"):
        write_perfetto(play(Layout(2), "A"), tmp_path / "nowhere" / "trace.json")


@pytest.mark.parametrize("num_kept", [0, 1, 30])
def test_messages_of_a_trace_cut_short_are_left_out(num_kept: int) -> None:
    """A send without its receipt has no arrow, nor a receipt without its send."""
    whole = play(Layout(3), "AR")
    cut = whole.select(0, 1)
    for column in (cut.site, cut.cycle, cut.position, cut.start_s, cut.end_s):
        del column[num_kept:]
    found = list(pairs(cut))
    assert found == [(a, b) for a, b in pairs(whole) if a < num_kept and b < num_kept]
