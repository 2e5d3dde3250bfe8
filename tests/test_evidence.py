"""Published tables: what is read from them, and the one line for each thing that may be wrong with one."""

from pathlib import Path

import pytest

from spdsim import theory
from spdsim.errors import InputError
from spdsim.evidence import read_breakdown, read_table
from spdsim.evidence.table import NEW_TOKENS, rejections
from tests.published import BREAKDOWN, breakdowns, table

HEAD = (
    "model,temperature,method,stages,draft_layers_or_steps,dataset,baseline_tokens_per_s,"
    "theoretical_speedup,wall_speedup,use\n"
)
GOOD = HEAD + "Qwen3.5-4B,0,spd,4,4,gsm8k,35.26,2.61,2.24,calibrate\n"

# What is written in the place of what, and the line that it gives.
CHANGES = {
    "a column that is missing": (
        ",use\n", ",usage\n", "t.csv:1: column use is missing: must be among the columns (is it 'usage'?)"
    ),
    "text for a number": ("2.61", "two", "t.csv:2: theoretical_speedup is 'two': must be a number"),
    "a comma for a point": ("2.61", '"2,61"', "t.csv:2: theoretical_speedup is '2,61': must be a number"),
    "not a number": ("2.61", "nan", "t.csv:2: theoretical_speedup is nan: must be finite"),
    "no stages": (",4,4,", ",,4,", "t.csv:2: stages is missing: must be given"),
    "one stage": (",4,4,", ",1,4,", "t.csv:2: stages is 1: must be at least 2"),
    "half a stage": (",4,4,", ",4.5,4,", "t.csv:2: stages is 4.5: must be a whole number"),
    "no draft layers": (",4,4,", ",4,0,", "t.csv:2: draft_layers_or_steps is 0: must be at least 1"),
    "a baseline of nothing": ("35.26", "0", "t.csv:2: baseline_tokens_per_s is 0: must be greater than 0"),
    "a wall speedup below zero": ("2.24", "-1", "t.csv:2: wall_speedup is -1: must be greater than 0"),
    "a speedup above what accepts all": (
        "2.61", "4", "t.csv:2: theoretical_speedup is 4: must be 1.00 to 3.98 with 4 stages and 512 tokens"
    ),
    "a speedup below what rejects all": (
        "2.61", "0.9", "t.csv:2: theoretical_speedup is 0.9: must be 1.00 to 3.98 with 4 stages and 512 tokens"
    ),
    "stages that overflow": (",4,4,", ",1e308,4,", "t.csv:2: stages is 1e308: must be at most 10000"),
    "draft layers by the thousand": (
        ",4,4,", ",4,1001,", "t.csv:2: draft_layers_or_steps is 1001: must be at most 1000"
    ),
    "a baseline of next to nothing": (
        "35.26", "1e-8", "t.csv:2: baseline_tokens_per_s is 1e-8: must be at least 1e-06"
    ),
    "a wall speedup beyond all": ("2.24", "1e300", "t.csv:2: wall_speedup is 1e300: must be at most 1e+06"),
    "a use of another name": (
        "calibrate", "Calibration", "t.csv:2: use is 'Calibration': must be calibrate, validate or empty"
    ),
    "digits of another script": ("2.61", "\u0662.61", "t.csv:2: theoretical_speedup is '\u0662.61': must be a number"),
    "a control character": (
        "gsm8k", "gsm\x1b8k", "t.csv:2: has the cell 'gsm\\x1b8k': must be text without control characters"
    ),
    "a column of the report": (
        ",use\n", ",status,use\n", "t.csv:1: column status is a figure of the report: must have another name"
    ),
    "semicolons": (
        HEAD, HEAD.replace(",", ";"),
        "t.csv:1: has semicolons between its columns' names: the separator must be a comma",
    ),
    "tabs": (
        HEAD, HEAD.replace(",", "\t"), "t.csv:1: has tabs between its columns' names: the separator must be a comma"
    ),
    "the same configuration twice": (
        ",calibrate\n", ",calibrate\nqwen3.5-4B,0,SPD,4,4,GSM8K,35,2.6,,\n",
        "t.csv:3: gives the same configuration as t.csv:2: must be another model, temperature, stages, draft layers "
        "or dataset",
    ),
    "a cell too few": (",calibrate", "", "t.csv:2: has 9 cells: must have 10, one for each column"),
    "no lines": (
        GOOD.removeprefix(HEAD), "", "t.csv: is empty: must have a line for each measurement below the columns' names"
    ),
    "an open quote": ("gsm8k", '"gsm8k', "t.csv:2: is not CSV: unexpected end of data"),
    "text for a number in a line that is skipped": (
        "spd,4,4,gsm8k,35.26,2.61,2.24", "eagle3,,3,gsm8k,35.26,fast,2.24",
        "t.csv:2: theoretical_speedup is 'fast': must be a number",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CHANGES)
def test_a_bad_table_gets_one_line(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """File and line, column, value, rule."""
    old, new, expected = CHANGES[case]
    assert old in GOOD
    monkeypatch.chdir(tmp_path)
    Path("t.csv").write_text(GOOD.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(InputError) as raised:
        read_table("t.csv")
    assert str(raised.value) == expected


def test_a_repeated_column_is_named(tmp_path: Path) -> None:
    """Beside all those that are needed."""
    path = tmp_path / "t.csv"
    path.write_text(GOOD.replace(",use\n", ",use,use\n").replace("calibrate", "calibrate,x"))
    with pytest.raises(InputError, match="column use is given 2 times: must be once"):
        read_table(path)


@pytest.mark.parametrize(
    ("raw", "rule"),
    [(b"\xff\xfe", ":1: is not text in UTF-8"), (b"", ": is empty"), (None, ": there is no such file")],
)
def test_a_file_that_is_no_table_is_refused(raw: bytes | None, rule: str, tmp_path: Path) -> None:
    """Whatever its bytes are."""
    path = tmp_path / "t.csv"
    if raw is not None:
        path.write_bytes(raw)
    with pytest.raises(InputError, match=rule):
        read_table(path)
    with pytest.raises(InputError, match="is a directory: must be a file"):
        read_table(tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("verify,0.423", "verify,1e300", "b.csv:7: duration_ms is 1e300: must be at most 100000"),
        ("cycle_wall,9.25", "cycle_wall,0", "b.csv:14: duration_ms is 0: must be greater than 0"),
        ("4,4,draft,ctrl_prepare", "1e308,4,draft,ctrl_prepare", "b.csv:2: stages is 1e308: must be at most 10000"),
    ],
)
def test_a_breakdown_out_of_bounds_gets_one_line(old: str, new: str, expected: str, tmp_path: Path) -> None:
    """File and line, column, value, rule."""
    path, text = tmp_path / "b.csv", BREAKDOWN.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(InputError) as raised:
        read_breakdown(path)
    assert str(raised.value) == f"{tmp_path}/{expected}"


def test_method_and_means_are_named_in_any_case(tmp_path: Path) -> None:
    """SPD and Overall."""
    path = tmp_path / "t.csv"
    path.write_text(GOOD.replace("spd,4,4,gsm8k", "SPD,4,4,Overall"))
    (row,) = read_table(path).rows
    assert row.is_mean


def test_a_breakdown_without_a_phase_is_refused(tmp_path: Path) -> None:
    """The phase is named, and so is the configuration."""
    path = tmp_path / "b.csv"
    lines = BREAKDOWN.read_text().splitlines(keepends=True)
    path.write_text("".join(line for line in lines if not line.startswith("8,3,draft,verify")))
    with pytest.raises(InputError, match="phase verify of 8 stages and 3 draft layers is missing: must be given"):
        read_breakdown(path)
    path.write_text("".join([*lines, lines[-1]]))
    with pytest.raises(InputError, match="phase is 'cycle_wall': is given twice"):
        read_breakdown(path)


def test_the_published_figures_are_read() -> None:
    """Sixteen rows of this method among the lines of three."""
    assert len(table().lines) == 32
    assert len(table().rows) == 16
    assert [(b.stages, b.draft_layers, b["cycle_wall"]) for b in breakdowns()] == [(4, 4, 9.25e-3), (8, 3, 5.41e-3)]


@pytest.mark.parametrize("stages", [2, 3, 8, 16])
@pytest.mark.parametrize("num_rejections", [0, 1, 37, 510])
def test_rejections_follow_from_the_theoretical_speedup(stages: int, num_rejections: int) -> None:
    """The law, there and back; what rounding leads beyond its ends stays at them."""
    speedup = stages * NEW_TOKENS / theory.cycles(NEW_TOKENS, num_rejections, stages)
    assert rejections(speedup, stages) == pytest.approx(num_rejections, abs=1e-6)
    assert 0 <= rejections(round(speedup, 2), stages) <= NEW_TOKENS - 2
