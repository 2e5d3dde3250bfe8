"""`spdsim fit` and `spdsim validate` as people run them."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.commands import spdsim
from tests.published import BREAKDOWN, PROFILE, ROOT, TABLE, changed_table


def assert_near(value: Any, expected: Any) -> None:
    """Assert that two documents say the same, numbers to a thousandth or a tenth of a microsecond."""
    match expected:
        case dict():
            assert value.keys() == expected.keys()
            for key in expected:
                assert_near(value[key], expected[key])
        case list():
            assert len(value) == len(expected)
            for one, other in zip(value, expected, strict=True):
                assert_near(one, other)
        case float() | int():
            assert value == pytest.approx(expected, rel=1e-3, abs=1e-7)
        case _:
            assert value == expected


def validate(*words: str | Path) -> tuple[int, str, str]:
    """Run `spdsim validate` on the published table with the shipped profile, 80 columns wide."""
    done = spdsim("validate", "--profile", PROFILE, "--table", TABLE, *words, COLUMNS="80")
    return done.returncode, done.stdout, done.stderr


def test_the_shipped_profile_is_what_the_command_writes(tmp_path: Path) -> None:
    """The documented command makes the shipped profile again, but for what another processor rounds otherwise."""
    source = next(line for line in PROFILE.read_text().splitlines() if line.startswith("source: "))
    words = source.removeprefix("source: ").strip('"')
    profile = tmp_path / "p.yaml"
    done = spdsim("fit", "--table", TABLE, "--breakdown", BREAKDOWN, "--out", profile, "--source", words)
    assert done.returncode == 0, done.stderr
    assert_near(yaml.safe_load(profile.read_text("utf-8")), yaml.safe_load(PROFILE.read_text("utf-8")))
    assert "Full cycle, profiler on" in done.stdout


def test_the_report_fits_80_columns_and_names_its_parts() -> None:
    """Grade, rows, groups, limits; no colour in a pipe."""
    code, out, err = validate()
    assert (code, err) == (0, "")
    assert max(map(len, out.splitlines())) <= 80
    for words in ("Grade A", "Errors by group", "one-line rule", "What the figures cannot say", "eagle3"):
        assert words in out
    assert "\x1b" not in out


def test_json_goes_to_stdout_alone() -> None:
    """With `-`, and nothing else beside it."""
    code, out, err = validate("--json", "-")
    assert (code, err) == (0, "")
    assert json.loads(out)["grade"] == "A"


def test_a_tolerance_that_is_missed_is_told_by_the_exit_code(tmp_path: Path) -> None:
    """1, one line on stderr, and the report is there all the same."""
    path = tmp_path / "v.json"
    code, out, err = validate("--tolerance", "0.001", "--json", path)
    assert code == 1 and "Grade A" in out and path.is_file()
    assert err.count("\n") == 1 and "the tolerance is 0.1 %" in err
    assert validate("--tolerance", "0.025")[0] == 0


@pytest.mark.parametrize("tolerance", ["nan", "inf", "-1"])
def test_a_tolerance_that_is_no_fraction_is_refused(tolerance: str) -> None:
    """One line."""
    code, out, err = validate("--tolerance", tolerance)
    assert (code, out) == (2, "")
    assert err == f"spdsim: error: --tolerance is {tolerance}: must be a fraction of at least 0, such as 0.05\n"


def test_a_tolerance_needs_something_to_hold_against_it(tmp_path: Path) -> None:
    """A table without wall speedups does not pass, nor one of plain decoding without a single device."""
    blank = changed_table(tmp_path / "t.csv", lambda cells: {**cells, "wall_speedup": ""})
    done = spdsim("validate", "--profile", PROFILE, "--table", blank, "--tolerance", "1")
    assert (done.returncode, done.stdout) == (2, "")
    assert (
        done.stderr.startswith("spdsim: error: --tolerance: nothing to hold against it")
        and done.stderr.count("\n") == 1
    )
    lines = (TABLE.parent / "plain-decoding.csv").read_text().splitlines(keepends=True)
    (tmp_path / "p.csv").write_text(lines[0] + next(line for line in lines if ",2,cuda_graph" in line))
    done = spdsim("validate", "--table", tmp_path / "p.csv", "--tolerance", "1")
    assert done.returncode == 2 and "nothing to hold against it: no row of one device" in done.stderr


def test_a_breakdown_that_is_not_used_is_refused() -> None:
    """Without --leave-one-out."""
    code, out, err = validate("--breakdown", BREAKDOWN)
    assert (code, out) == (2, "") and err.startswith(
        "spdsim: error: --breakdown is given: is used with --leave-one-out"
    )


@pytest.mark.parametrize("figure", ["forward_per_layer: 0", "forward_per_layer: 1.0e-300"])
def test_a_profile_whose_layers_take_nothing_is_refused(figure: str, tmp_path: Path) -> None:
    """A baseline cannot stretch them."""
    lines = [figure if line.startswith("forward_per_layer:") else line for line in PROFILE.read_text().splitlines()]
    (tmp_path / "p.yaml").write_text("\n".join(lines))
    done = spdsim("validate", "--profile", tmp_path / "p.yaml", "--table", TABLE)
    assert (done.returncode, done.stdout) == (2, "")
    assert "forward_per_layer is " in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.parametrize("words", [("--json", "-"), ()])
@pytest.mark.parametrize(("where", "why"), [(">&-", "is closed"), (">/dev/full", "cannot be written")])
def test_a_standard_output_that_takes_nothing_is_told_in_one_line(
    words: tuple[str, ...], where: str, why: str, tmp_path: Path
) -> None:
    """Closed, or with a full disk behind it; of the table a few rows are enough."""
    table = tmp_path / "t.csv"
    table.write_text("".join(TABLE.read_text().splitlines(keepends=True)[:4]))
    command = [sys.executable, "-m", "spdsim", "validate", "--profile", str(PROFILE), "--table", str(table), *words]
    done = subprocess.run(
        ["bash", "-c", f'"$@" {where}', "-", *command], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 2
    assert done.stderr.startswith("spdsim: error: standard output") and why in done.stderr
    assert done.stderr.count("\n") == 1


def test_leaving_out_needs_the_breakdown() -> None:
    """And then shows every configuration that was left out."""
    code, _, err = validate("--leave-one-out")
    assert code == 2 and "--leave-one-out: needs the breakdown" in err
    code, out, _ = validate("--leave-one-out", "--breakdown", BREAKDOWN)
    assert code == 0 and "left out of the fit" in out


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("format: spd-profile\nversion: 2\norigin: published\nsource: x\n",
         "p.yaml:2: version is 2: this spdsim reads version 1"),
        ("model: tiny\n", "p.yaml: format is missing: a profile file begins with format: spd-profile"),
        ("", "p.yaml: is empty: must be a mapping of keys"),
        ("format: spd-profile\nversion: 1\norigin: published\nsource: x\nfigures: {draft_fix: {}}\n",
         "p.yaml: draft_fix is no figure of this profile"),
    ],
)  # fmt: skip
def test_what_is_no_profile_is_refused_in_one_line(text: str, expected: str, tmp_path: Path) -> None:
    """Nothing on stdout, nothing written, exit code 2."""
    (tmp_path / "p.yaml").write_text(text)
    done = spdsim("validate", "--profile", "p.yaml", "--table", TABLE, "--json", "v.json", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"spdsim: error: {expected}")
    assert done.stderr.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["p.yaml"]
