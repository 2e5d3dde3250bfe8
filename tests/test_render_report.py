"""Reports for people: what is said, in which order, and that it fits.

To accept a change on purpose: `SPDSIM_WRITE_GOLDEN=1 pytest tests/test_render_report.py`, then read the difference.
"""

import io
import re
from dataclasses import replace

import pytest
from rich.cells import cell_len
from rich.console import Console

from spdsim.analysis.report import CAUSES, STEPS, STEPS_OF_ROUNDS, Report, WaterfallStep
from spdsim.render import words
from spdsim.render.look import Look, percent, significant
from spdsim.render.losses import largest_loss
from spdsim.render.report import print_report
from tests.golden import check_golden
from tests.reports import ORIGINS, report

SIGN = Look().times


class _Ascii(io.StringIO):
    """A terminal that knows ASCII only."""

    encoding = "ascii"


def printed(report: Report, width: int, *, colour: bool = False, file: io.StringIO | None = None) -> str:
    file = file or io.StringIO()
    console = Console(
        width=width, file=file, force_terminal=colour, color_system="truecolor" if colour else None, _environ={}
    )  # fmt: skip
    print_report(
        report, console, title="h100x8.yaml", scenario_lines=["Llama-3.1-70B on 8 H100 SXM", "7 stages, lag 0"],
        origins=ORIGINS, warnings=["the acceptance is assumed"],
    )  # fmt: skip
    return file.getvalue()


ONE_TOKEN = replace(
    report(num_sequences=1), num_tokens=1, num_cycles=0, num_rejections=0, tokens_per_s=None, time_per_token_s=None,
    speedup=None, baselines=(), closed_form_speedup=None, measured_acceptance=None, break_even_acceptance=None,
    break_even_note="with one token there is nothing to speed up", tokens_per_cycle=None,
    equivalent_accept_length=None, cycle_s=None, sensitivities=(), waterfall=(), workers=(),
)  # fmt: skip


@pytest.mark.parametrize(
    ("name", "what", "width"),
    [
        ("80", report(), 80),
        ("120", report(), 120),
        ("64-stages-100", report(num_stages=64), 100),
        ("one-sequence-80", report(num_sequences=1), 80),
        ("one-token-80", ONE_TOKEN, 80),
    ],
)
def test_a_report_reads_like_this(name: str, what: Report, width: int) -> None:
    """Golden files: no escape sequence, no line wider than the terminal, no blanks at line ends."""
    text = printed(what, width)
    assert "\x1b" not in text
    assert all(cell_len(line) <= width and line == line.rstrip() for line in text.splitlines())
    check_golden(f"report-{name}.txt", text)


@pytest.mark.parametrize("width", [80, 100, 160])
@pytest.mark.parametrize("num_stages", [1, 8, 128])
def test_every_report_fits_the_terminal(num_stages: int, width: int) -> None:
    """And no figure is cut off: all causes of idle time at once, at 80 columns."""
    what = report(num_stages)
    causes = dict.fromkeys(CAUSES, 0.123)
    what = replace(what, workers=tuple(replace(worker, idle_by_cause=causes) for worker in what.workers))
    text = printed(what, width)
    assert all(cell_len(line) <= width for line in text.splitlines())
    assert "…\n" not in text
    assert text.count(" 12") >= len(CAUSES)


def test_colour_adds_nothing_that_letters_do_not_say() -> None:
    """The same text, with and without."""
    assert re.sub(r"\x1b\[[0-9;]*m", "", printed(report(), 80, colour=True)) == printed(report(), 80)


def test_plain_ascii_is_enough() -> None:
    """Frames, bars, signs and units have ASCII stand-ins."""
    assert printed(report(num_stages=64), 80, file=_Ascii()).isascii()
    assert printed(ONE_TOKEN, 80, file=_Ascii()).isascii()


def test_the_answer_comes_first() -> None:
    """Before the lines that explain it, in this order."""
    text = printed(report(), 80)
    places = [text.index(part) for part in (
        f"2.62{SIGN} over plain pipeline on these devices", "Warning: the acceptance is assumed", "compared with",
        "law's speedup", "Where the speedup goes", "What would change it", "How the workers spend their time",
        "What the numbers rest on",
    )]  # fmt: skip
    assert places == sorted(places)


def test_the_largest_loss_is_named_with_what_would_change_it() -> None:
    """The step with the smallest factor."""
    look = Look()
    assert largest_loss(report(), look).startswith(f"Largest loss: rejections ({SIGN}0.507). A draft module")
    gains = tuple(WaterfallStep(step, 7.0, 1.0) for step in STEPS)
    assert largest_loss(replace(report(), waterfall=gains), look).startswith("Nothing is lost")
    for step in STEPS:
        worst = tuple(WaterfallStep(name, 7.0, 0.5 if name == step else 1.0) for name in STEPS)
        assert words.HINTS[step] in largest_loss(replace(report(), waterfall=worst), look)


def test_every_step_and_cause_has_a_plain_name() -> None:
    """None is printed by the key of a program."""
    assert set(words.STEPS) == set(words.HINTS) == {*STEPS, *STEPS_OF_ROUNDS}
    assert tuple(words.CAUSES) == CAUSES


def test_many_workers_are_told_by_their_ends_and_extremes() -> None:
    """With how many lie between; no share of a worker left out exceeds those shown."""
    lines = printed(report(num_stages=128), 120).splitlines()
    shown = [line for line in lines if re.match(r"(draft|stage \d+) +█", line)]
    assert 8 <= len(shown) <= 14
    left_out = sum(int(match[1]) for line in lines if (match := re.match(r"… (\d+)$", line)))
    assert len(shown) + left_out == 129


def test_a_single_sequence_has_no_interval() -> None:
    """A dash, not a zero."""
    text = printed(report(num_sequences=1), 80)
    assert "106  —" in text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"), (2.405, "2.40"), (2.4, "2.40"), (24.04, "24.0"), (240.4, "240"), (1234.5, "1,230"), (12345, "12,300"),
        (9.999, "10.0"), (0.9996, "1.00"), (0.01234, "0.0123"), (0.000012345, "0.0000123"), (-2.5, "-2.50"),
        (float("inf"), "inf"), (float("nan"), "nan"),
    ],
)  # fmt: skip
def test_figures_have_three_significant_digits(value: float, text: str) -> None:
    """Never as a power of ten."""
    assert significant(value) == text


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ((1.5,), "1.50 s"), ((0.0123,), "12.3 ms"), ((1e-3,), "1.00 ms"), ((0.99999e-3,), "1.00 ms"),
        ((25e-6,), "25.0 µs"), ((0.0,), "0 µs"), ((0.0123, 0.0456), "12.3 to 45.6 ms"), ((None,), "—"),
        ((0.9e-3, 1.1e-3), "900 to 1,100 µs"), ((0.1, None), "—"),
    ],
)  # fmt: skip
def test_times_are_told_in_the_unit_that_suits_them(values: tuple[float | None, ...], text: str) -> None:
    """Two of them in one unit."""
    assert Look().time(*values) == text


def test_an_interval_is_told_in_the_unit_of_its_mean() -> None:
    """Even where it reaches below it."""
    assert Look().time(0.9e-3, 1.1e-3, like_s=1e-3) == "0.900 to 1.10 ms"


def test_what_is_not_quite_nothing_is_not_zero() -> None:
    """Shares in per cent."""
    assert [percent(share) for share in (0.0, 0.001, 0.0099, 0.42, 1.0)] == ["0", "<1", "<1", "42", "100"]


def test_a_slowdown_is_not_called_a_gain() -> None:
    """Below one the figure is red, where there is colour, and the text is the same."""
    slow = report().speedup
    assert slow is not None
    text = printed(replace(report(), speedup=replace(slow, mean=0.8)), 80, colour=True)
    assert f"\x1b[1;31m0.800{SIGN}" in text
