"""`spdsim compare-traces` as people run it, and what it prints."""

import io
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.console import Console

from spdsim import Trace, load_scenario, read_trace, simulate, write_trace
from spdsim.cli.app import app
from spdsim.comparison import compare, to_document
from spdsim.render.comparison import print_comparison
from spdsim.render.comparison_page import comparison_html, comparison_markdown
from tests.commands import TUTORIAL, spdsim

SLOW = "timing.profile.forward_per_layer=1.1e-3"


@pytest.fixture(scope="module")
def traces() -> tuple[Trace, Trace]:
    """Twelve sequences of the tutorial, and the same verdicts with a slower forward."""
    settings = ["replications=4", "workload.new_tokens=32"]
    return simulate(load_scenario(TUTORIAL, settings)), simulate(load_scenario(TUTORIAL, [*settings, SLOW]))


@pytest.fixture(scope="module")
def saved(traces: tuple[Trace, Trace], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with both as files, and one of another pipeline."""
    directory = tmp_path_factory.mktemp("traces")
    for name, trace in zip(("measured.jsonl", "simulated.jsonl"), traces, strict=True):
        write_trace(trace, directory / name)
    two = load_scenario(TUTORIAL, ["partition.stages=2", "devices.count=3", "replications=1"])
    write_trace(simulate(two), directory / "two.jsonl")
    return directory


def printed(measured: Trace, predicted: Trace, width: int, *, colour: bool = False, ascii_only: bool = False) -> str:
    file = _Ascii() if ascii_only else io.StringIO()
    console = Console(
        width=width, file=file, force_terminal=colour, color_system="truecolor" if colour else None, highlight=False,
        _environ={},
    )  # fmt: skip
    print_comparison(compare(measured, predicted), measured, predicted, console)
    return file.getvalue()


class _Ascii(io.StringIO):
    """A terminal that knows ASCII only."""

    encoding = "ascii"


# What is printed.


def test_the_answer_comes_first_and_the_evidence_after(traces: tuple[Trace, Trace]) -> None:
    """Grade, errors and culprit; figures; parts; shares; both timelines."""
    text = printed(*traces, 80)
    places = [text.index(words) for words in (
        "Grade C", "mean cycle      +8.8 %", "Timing only", "Culprit: forward of the stages", "95 % interval",
        "►  forward, stages", "all together",
        "How the workers spend their time", "Measured\nSequence 0", "Predicted, on the same scale\nSequence 0",
        "What else to know",
    )]  # fmt: skip
    assert places == sorted(places)


@pytest.mark.parametrize(
    "changes",
    [
        [], ["partition.lm_head=own_device", "devices.count=6"], ["partition.lm_head=sharded"],
        ["partition.stages=8", "devices.count=9"], ["acceptance.p=1.0"], ["workload.new_tokens=2"],
        ["links.intra_node.post_s=10e-6", "links.intra_node.receive_s=10e-6"],
    ],
    ids=str,
)  # fmt: skip
def test_a_comparison_fits_80_columns(changes: list[str]) -> None:
    """No line is wider, none is cut off, none ends in blanks, and ASCII is enough."""
    settings = ["replications=1", *changes]
    measured = simulate(load_scenario(TUTORIAL, settings))
    predicted = simulate(load_scenario(TUTORIAL, [*settings, SLOW]))
    text = printed(measured, predicted, 80)
    assert all(cell_len(line) <= 80 and line == line.rstrip() for line in text.splitlines())
    assert "…" not in text and "\x1b" not in text
    assert printed(measured, predicted, 80, ascii_only=True).isascii()


def test_colour_marks_the_grade_only(traces: tuple[Trace, Trace]) -> None:
    """Up to the timelines, which draw with colours what letters stand for, the text is the same without."""
    coloured = re.sub(r"\x1b\[[0-9;]*m", "", printed(*traces, 80, colour=True))
    before = [text[: text.index("Measured\n")] for text in (coloured, printed(*traces, 80))]
    assert before[0] == before[1]


def test_both_timelines_have_one_scale(traces: tuple[Trace, Trace]) -> None:
    """Their windows are equally long and begin in the same cycle."""
    titles = re.findall(r"cycles (\d+) to \d+ of \d+, ([\d.]+) ms to ([\d.]+) ms", printed(*traces, 80))
    (cycle, start, end), (other, other_start, other_end) = titles
    assert cycle == other
    assert float(end) - float(start) == pytest.approx(float(other_end) - float(other_start), abs=0.05)


def test_a_short_prediction_is_drawn_as_far_as_it_goes() -> None:
    """Both windows are as long as the shorter run, at most."""
    long, short = (
        simulate(load_scenario(TUTORIAL, ["replications=1", f"workload.new_tokens={k}"])) for k in (64, 2)
    )  # fmt: skip
    for pair in ((long, short), (short, long)):
        assert printed(*pair, 80).count("\nSequence 0, cycles") == 2


# Files.


def test_a_report_in_markdown_holds_the_same(traces: tuple[Trace, Trace]) -> None:
    """Tables with as many cells in every row, and the timelines as text."""
    text = comparison_markdown(compare(*traces), *traces, ("a_b.jsonl", "c.jsonl"))
    assert text.startswith("# c.jsonl, predicted, against a\\_b.jsonl, measured\n\n**Grade C**")
    tables = [part for part in text.split("\n\n") if part.startswith("|")]
    assert len(tables) == 3
    for table in tables:
        assert len({line.count(" | ") for line in table.splitlines()}) == 1
    assert text.count("```") == 4 and "| **►** | **forward, stages** |" in text
    assert "useful pred. | useful meas. | useful diff. | wasted pred." in text


def test_a_report_in_html_needs_no_other_file(traces: tuple[Trace, Trace]) -> None:
    """Well-formed, with the names as they are, and nothing fetched."""
    page = comparison_html(compare(*traces), *traces, ("<a>.jsonl", "{b}.jsonl"))

    class Tags(HTMLParser):
        def __init__(self) -> None:
            super().__init__()
            self.opened: list[str] = []

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            assert not {"src", "href"} & dict(attrs).keys()
            if tag != "meta":
                self.opened.append(tag)

        def handle_endtag(self, tag: str) -> None:
            assert self.opened.pop() == tag

    parser = Tags()
    parser.feed(page)
    assert parser.opened == []
    assert "<title>{b}.jsonl, predicted, against &lt;a&gt;.jsonl, measured</title>" in page
    assert "url(" not in page and "Culprit: forward of the stages" in page


# The command.

Called = Callable[..., tuple[int, str, str]]


@pytest.fixture
def called(saved: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Called:
    """Run a command in this process, among the saved traces; return exit code, output and errors."""
    monkeypatch.chdir(saved)
    monkeypatch.setenv("COLUMNS", "80")

    def call(*words: str | Path) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as caught:
            app(["compare-traces", *map(str, words)], prog_name="spdsim")
        out, err = capsys.readouterr()
        return int(caught.value.code or 0), out, err

    return call


def test_the_command_writes_what_the_library_finds(called: Called, tmp_path: Path) -> None:
    """JSON, a page, and what is printed at 80 columns; nothing on stderr."""
    files = tmp_path / "c.json", tmp_path / "c.html"
    words = ("measured.jsonl", "simulated.jsonl")
    code, out, err = called(*words, "--json", files[0], "--report", files[1])
    assert (code, err) == (0, "") and out.startswith("simulated.jsonl, predicted, against measured.jsonl, measured\n")
    assert max(map(len, out.splitlines())) <= 80 and "\x1b" not in out
    assert json.loads(files[0].read_text("utf-8")) == to_document(compare(*map(read_trace, words)))
    assert files[1].read_text("utf-8").startswith("<!DOCTYPE html>")
    assert called(*words, "-q", "--report", tmp_path / "c.md") == (0, "", "")
    assert (tmp_path / "c.md").read_text("utf-8").startswith("# simulated.jsonl")
    assert called(*words, "--json", "-") == (0, files[0].read_text("utf-8"), "")


def test_a_tolerance_that_is_missed_is_told_by_the_exit_code(saved: Path, tmp_path: Path) -> None:
    """1, one line on stderr, and the files are there all the same; here in a process of its own."""
    path = tmp_path / "c.json"
    words = ("compare-traces", "measured.jsonl", "simulated.jsonl", "-q", "--tolerance")
    done = spdsim(*words, "0.05", "--json", path, cwd=saved)
    assert (done.returncode, done.stdout) == (1, "") and path.is_file()
    expected = r"spdsim: mean cycle \+8.\d\d %, time per token \+8.\d\d %: the tolerance is 5 %\n"
    assert re.fullmatch(expected, done.stderr)
    assert spdsim(*words, "0.1", cwd=saved).returncode == 0


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("measured.jsonl", "two.jsonl"), "two.jsonl: num_stages is 2: must be 4, as in measured.jsonl"),
        (("measured.jsonl", "none.jsonl"), "none.jsonl: cannot be read: No such file or directory"),
        (("measured.jsonl", "two.jsonl", "--tolerance", "nan"),
         "--tolerance is nan: must be a fraction of at least 0, such as 0.05"),
        (("measured.jsonl", "two.jsonl", "--report", "c.pdf"), "--report is c.pdf: must end in .md or .html"),
        (("measured.jsonl", "two.jsonl", "--json", "two.jsonl"),
         "two.jsonl: is what the command reads: must be another file"),
    ],
)  # fmt: skip
def test_what_cannot_be_compared_is_refused_in_one_line(
    words: tuple[str, ...], expected: str, saved: Path, called: Called
) -> None:
    """Exit code 2, nothing on stdout, nothing written."""
    before = sorted(saved.iterdir())
    assert called(*words) == (2, "", f"spdsim: error: {expected}\n")
    assert sorted(saved.iterdir()) == before
