"""The timeline: what a cell shows, and pictures of whole windows.

To accept a change on purpose: `SPDSIM_WRITE_GOLDEN=1 pytest tests/test_timeline.py`, then read the difference.
"""

import io
import re

import pytest
from rich.cells import cell_len
from rich.console import Console
from rich.segment import Segment

from spdsim.analysis.fate import rejections
from spdsim.errors import InputError
from spdsim.render.cells import Work, runs
from spdsim.render.kinds import IDLE, KINDS, VERIFY, block
from spdsim.render.look import Look
from spdsim.render.timeline import Mode, timeline
from spdsim.render.window import Cycle, CycleStarts, default_cycles, moment_s, parse_window
from spdsim.schedules.spd import Layout
from spdsim.trace import Trace
from tests.fakes import play
from tests.golden import check_golden

VERDICTS = "AAAAARAAAAAA"
FOUR = play(Layout(4), VERDICTS)
EIGHT = play(Layout(8), "AAAAAAARAAAAAAAAAAAA")


def drawn(
    trace: Trace,
    width: int,
    *,
    mode: Mode = "time",
    colour: bool = False,
    unicode: bool = True,
    start_s: float | None = None,
    end_s: float | None = None,
) -> str:
    console = Console(
        width=width, file=io.StringIO(), force_terminal=colour, color_system="truecolor" if colour else None,
        _environ={},
    )  # fmt: skip
    with console.capture() as capture:
        console.print(
            timeline(trace, width=width, mode=mode, colour=colour, unicode=unicode, start_s=start_s, end_s=end_s)
        )
    return capture.get()


def test_the_title_names_the_cycles_that_there_is_room_for() -> None:
    """A window may hold more of them than columns."""
    for width in (40, 80):
        title, axis, *_ = drawn(EIGHT, width, mode="cycles", start_s=0.0, end_s=1e9).splitlines()
        first, *_, last = axis.removeprefix("cycle").split()
        assert title.startswith(f"Sequence 0, cycles {first} to {last} of")


def test_a_window_within_a_cycle_has_no_grid() -> None:
    """There is no column to draw."""
    begin_s, end_s = CycleStarts.of(FOUR, 0).times_s[3:5]
    step_s = (end_s - begin_s) / 4
    with pytest.raises(InputError, match="within cycle 2 of sequence 0"):
        drawn(FOUR, 80, mode="cycles", start_s=begin_s + step_s, end_s=begin_s + 2 * step_s)


@pytest.mark.parametrize(
    ("name", "trace", "width", "mode"),
    [
        ("4-stages-80", FOUR, 80, "time"),
        ("8-stages-80", EIGHT, 80, "time"),
        ("8-stages-160", EIGHT, 160, "time"),
        ("4-stages-80-cycles", FOUR, 80, "cycles"),
        ("sharded-lag-1-160-cycles", play(Layout(8, "sharded", 1), VERDICTS), 160, "cycles"),
        ("last-stage-120", play(Layout(3, "last_stage", 1), VERDICTS), 120, "time"),
        ("own-device-120", play(Layout(3, "own_device", 2), VERDICTS), 120, "time"),
        ("own-device-120-cycles", play(Layout(3, "own_device", 2), VERDICTS), 120, "cycles"),
        ("plain-80", play(Layout(1), VERDICTS), 80, "time"),
    ],
)
def test_a_timeline_without_colour_is_letters(name: str, trace: Trace, width: int, mode: Mode) -> None:
    """Golden files: no escape sequence, no line wider than the terminal, no blanks at line ends."""
    text = drawn(trace, width, mode=mode)
    assert "\x1b" not in text
    assert all(cell_len(line) <= width and line == line.rstrip() for line in text.splitlines())
    check_golden(f"timeline-{name}.txt", text)


@pytest.mark.parametrize("num_stages", [2, 16, 64, 128])
def test_every_size_fits_the_terminal(num_stages: int) -> None:
    """A row per worker, up to 128 stages."""
    trace = play(Layout(num_stages), "AAR")
    cases: tuple[tuple[int, Mode], ...] = ((40, "time"), (40, "cycles"), (80, "cycles"), (160, "time"))
    for width, mode in cases:
        lines = drawn(trace, width, mode=mode).splitlines()
        assert all(cell_len(line) <= width for line in lines)
        assert sum(line.startswith("stage") for line in lines) == num_stages


def test_plain_ascii_is_enough() -> None:
    """For a terminal that knows nothing else, with colours or without."""
    for colour in (False, True):
        assert drawn(FOUR, 80, colour=colour, unicode=False).isascii()
        assert drawn(FOUR, 80, colour=colour, unicode=False, mode="cycles").isascii()


def test_colours_show_the_same_cells_as_letters() -> None:
    """The rows are as wide, and every block brings its own foreground, so that any background will do."""
    with_colour, without = drawn(FOUR, 80, colour=True), drawn(FOUR, 80)
    plain = re.sub(r"\x1b\[[0-9;]*m", "", with_colour)
    assert [line.split()[:2] for line in plain.splitlines()[:3]] == [
        line.split()[:2] for line in without.splitlines()[:3]
    ]
    for background in re.findall(r"\x1b\[([0-9;]*48;2;[0-9;]*)m", with_colour):
        assert "38;2;" in background


def test_every_block_reads_on_its_background() -> None:
    """The contrast of text and block is at least 3 to 1 (the rule for bold and graphical text)."""
    console = Console(color_system="truecolor", force_terminal=True)
    for kind in KINDS:
        for name in kind.styles:
            style = console.get_style(name)
            if style.bgcolor is None or style.color is None:
                continue
            light, dark = sorted((_luminance(c.get_truecolor()) for c in (style.color, style.bgcolor)), reverse=True)
            assert (light + 0.05) / (dark + 0.05) >= 3, name


def _luminance(colour: tuple[int, int, int]) -> float:
    red, green, blue = ((c / 255 / 12.92) if c <= 10 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in colour)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_cells_share_out_the_time_of_a_worker() -> None:
    """Each run is as wide as its piece is long, to a cell, and together they fill the row."""
    starts = CycleStarts.of(EIGHT, 0)
    work = Work.of(EIGHT, 0)
    num_cells = 1000
    end_s = starts.times_s[-1]
    for worker in range(9):
        found = runs(work, worker, 0.0, end_s, num_cells)
        assert sum(run.width for run in found) == num_cells
        for kind in range(1, len(KINDS)):
            mine = (work.worker == worker) & (work.kind == kind)
            expected = float((work.end_s - work.start_s)[mine].sum()) / end_s * num_cells
            shown = sum(run.width for run in found if run.kind == kind)
            assert shown == pytest.approx(expected, abs=float(mine.sum()) + 1)


def test_a_verification_is_never_hidden() -> None:
    """However short beside the rest of its cell, as long as cycles are a few cells wide."""
    trace = play(Layout(4), VERDICTS, durations_s={
        "prefill": 1e-3, "forward": 1e-3, "draft": 1e-3, "verify": 1e-5, "combine": 0.0, "commit": 0.0, "rollback": 0.0,
    })  # fmt: skip
    first, last = default_cycles(trace, 0, 72)
    starts = CycleStarts.of(trace, 0)
    found = runs(Work.of(trace, 0), 0, starts.at(first), starts.at(last), 72)
    num_verified = sum(s.op == "verify" and first <= s.cycle < last for s in trace.spans())
    assert sum(run.kind == VERIFY for run in found) == num_verified


def test_a_rejection_is_marked_where_it_happens() -> None:
    """The mark stands above the cell of its time, with the position that was rejected."""
    lines = drawn(FOUR, 160).splitlines()
    marks = next(line for line in lines if line.startswith("rejected"))
    driver = next(line for line in lines if line.startswith("draft"))
    assert marks.count("▼") == len(rejections(FOUR)) == 1
    assert "▼6" in marks
    # The commit that rejects ends where the mark stands, and the corrected token is drafted on.
    assert driver[marks.index("▼") - 1] in "hV"


def test_the_default_window_holds_a_rejection_and_its_refill() -> None:
    """From before the first rejection until the pipeline is full again."""
    (_, rejected, _, _), *_ = rejections(EIGHT)
    first, last = default_cycles(EIGHT, 0, 150)
    assert first < rejected - 2
    assert last > rejected + 8


def test_without_a_rejection_the_window_begins_with_decoding() -> None:
    """Cycle 0 shows the first fill."""
    assert default_cycles(play(Layout(4), "AAAA"), 0, 72)[0] == 0


def test_a_window_is_what_was_asked_for() -> None:
    """Seconds on the trace's clock; one end alone keeps the usual length."""
    starts = CycleStarts.of(FOUR, 0)
    console = Console(width=100, file=io.StringIO())

    def title(start_s: float | None, end_s: float | None) -> str:
        (first, *_) = timeline(FOUR, width=100, start_s=start_s, end_s=end_s, colour=False).renderables
        return "".join(segment.text for segment in console.render(first) if isinstance(segment, Segment)).strip()

    assert title(starts.at(2), starts.at(6)).startswith("Sequence 0, cycles 2 to 5 of 17,")
    assert title(starts.at(-1), starts.at(1)).startswith("Sequence 0, cycles -1 to 0 of 17,")
    assert title(starts.at(3), None).startswith("Sequence 0, cycles 3 to ")
    assert "to 17 of 17" in title(None, 1e9)


@pytest.mark.parametrize(("start_s", "end_s"), [(2.0, 3.0), (3e-3, 3e-3), (5e-3, 4e-3), (None, -1.0)])
def test_a_window_that_shows_nothing_is_refused(start_s: float | None, end_s: float | None) -> None:
    """One line that says what there is."""
    with pytest.raises(InputError, match="is empty: sequence 0 is 0 ms to") as error:
        timeline(FOUR, width=80, start_s=start_s, end_s=end_s)
    assert "\n" not in str(error.value)


def test_a_sequence_that_is_not_there_is_refused() -> None:
    """With how many there are."""
    with pytest.raises(InputError, match="sequence is 1: must be less than 1"):
        timeline(FOUR, width=80, sequence=1)


def test_a_later_sequence_is_drawn_on_the_clock_of_the_trace() -> None:
    """Sequences follow each other."""
    trace = play(Layout(2), "AR", "AAAR")
    first = CycleStarts.of(trace, 1).times_s[0]
    assert first == max(trace.end_s[: trace.sequence_starts[1]])
    assert timeline(trace, width=80, sequence=1)


def test_one_token_has_a_timeline() -> None:
    """K = 1: there is a prefill and nothing else."""
    assert "prefill" in drawn(play(Layout(3), ""), 80)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("0.5s", 0.5), ("12ms", 12e-3), ("12.5 ms", 12.5e-3), (".5ms", 0.5e-3), ("80us", 80e-6), ("80µs", 80e-6),
        ("0s", 0.0), ("cycle 40", Cycle(40)), ("c40", Cycle(40)), (" c 40 ", Cycle(40)), ("c-1", Cycle(-1)),
    ],
)  # fmt: skip
def test_a_moment_is_a_time_or_a_cycle(text: str, moment: float | Cycle) -> None:
    """With its unit."""
    read = parse_window(text)
    assert read == (pytest.approx(moment) if isinstance(moment, float) else moment)


@pytest.mark.parametrize(
    "text", ["", "40", "-3ms", "1e3s", "c", "c-2", "cycle forty", "12 min", "nan s", "1ms\n2", "c" + "9" * 99]
)
def test_what_is_no_moment_is_refused(text: str) -> None:
    """One line with the rule."""
    with pytest.raises(InputError, match=r"must be a time \(0\.5s, 12ms, 80us\) or a cycle \(c40\)") as error:
        parse_window(text)
    assert "\n" not in str(error.value)


def test_a_cycle_has_a_beginning_and_an_end() -> None:
    """By worker 0; the last cycle ends with the sequence."""
    starts = CycleStarts.of(FOUR, 0)
    assert moment_s(FOUR, 0.25) == 0.25
    assert moment_s(FOUR, Cycle(-1)) == 0.0
    assert moment_s(FOUR, Cycle(3), is_end=True) == moment_s(FOUR, Cycle(4)) == starts.at(4)
    assert moment_s(FOUR, Cycle(starts.last), is_end=True) == max(FOUR.end_s)
    with pytest.raises(InputError, match="cycle is 900: must be -1 to 17 in sequence 0"):
        moment_s(FOUR, Cycle(900))


@pytest.mark.parametrize("colour", [False, True])
@pytest.mark.parametrize("kind", range(len(KINDS)))
@pytest.mark.parametrize("width", [1, 2, 3, 4, 9])
def test_a_block_is_as_wide_as_its_time(kind: int, width: int, colour: bool) -> None:
    """Whatever its position is called."""
    for position in (-1, 0, 7, 123, 12345):
        text = block(kind, position, width, Look(colour))
        assert cell_len(text.plain) == width
        if width >= 5 and position >= 0 and KINDS[kind].letter in "FxDda":
            assert str(position) in text.plain
    assert kind != IDLE or set(text.plain) == {"·" if colour else "."}
