"""`spdsim sweep` as a program: figures, files, errors, and going on after an interruption."""

import csv
import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.commands import ROOT, TUTORIAL, environment, told_to_stop
from tests.commands import spdsim as run

SHORT = ("--set", "workload.new_tokens=16", "--replications", "6", "--jobs", "1")


def test_a_sweep_prints_its_best_point_and_writes_all_of_them(tmp_path: Path) -> None:
    """The same figures in every form; stdout is the same twice, and nothing is left beside the files."""
    words = (
        "sweep", TUTORIAL, "--vary", "partition.stages=2,4,9", "--vary", "acceptance.p=0.5..0.9:3", *SHORT,
        "--metric", "speedup", "--csv", "a.csv", "--json", "a.json",
    )  # fmt: skip
    done, again = run(*words, cwd=tmp_path), run(*words, cwd=tmp_path)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    assert "Best speedup: partition.stages = 4, acceptance.p =" in done.stdout
    assert "3 of 9 points without figures" in done.stdout and done.stdout == again.stdout
    document = json.loads((tmp_path / "a.json").read_text())
    rows = list(csv.DictReader((tmp_path / "a.csv").read_text().splitlines()))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.csv", "a.json"]
    assert len(rows) == len(document["points"]) == 9
    for row, point in zip(rows, document["points"], strict=True):
        assert row["partition.stages"] == str(point["values"]["partition.stages"])
        assert (row["error"] or None) == point["error"]
        figure = point["time_per_token_s"]
        assert row["time_per_token_s"] == ("" if figure is None else repr(figure["mean"]))
        assert row["speedup_low"] == ("" if figure is None else repr(point["speedup"]["low"]))
    assert document["points"][document["best"]]["values"] == {"partition.stages": 4, "acceptance.p": 0.9}
    assert document["scenario"]["workload"]["new_tokens"] == 16 and document["origins"]
    assert document["varied"][0] == {"key": "partition.stages", "values": [2, 4, 9]}


def test_json_on_stdout_is_alone_there() -> None:
    """For a pipe."""
    done = run("sweep", TUTORIAL, "--vary", "seed=0..1", *SHORT, "--precision", "0.5", "--json", "-")
    document = json.loads(done.stdout)
    assert document["precision"] == 0.5 and document["max_replications"] == 6
    assert [point["num_sequences"] for point in document["points"]] == [6, 6]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "--vary is not given"),
        (("--vary", "partition.stagse=1..2"), "is not a known key: did you mean `partition.stages`?"),
        (("--vary", "partition.stages=9,0"), "none of the 2 points can be simulated:\n  --vary partition.stages: "),
        (("--vary", "partition.stages=9"), "none of the 1 points can be simulated: --vary partition.stages: "),
        (("--vary", "seed=0..1", "--precision", "0"), "--precision is 0: must be a fraction greater than 0"),
        (("--vary", "seed=0..1", "--replications", "0"), "--replications is 0: must be at least 1"),
        (("--vary", "seed=0..1", "--plot", "a.pdf"), "--plot is a.pdf: must end in .svg or .png"),
        (("--vary", "seed=0..1", "--resume"), "--resume is given: what is done is kept beside --csv"),
        (("--vary", "seed=0..1", "--set", "nonsense"), "--set nonsense: must be KEY=VALUE"),
    ],
)
def test_bad_input_is_told_and_writes_nothing(options: tuple[str, ...], said: str, tmp_path: Path) -> None:
    """Exit code 2, no traceback, no file; a sweep without any figure tells every reason."""
    files = () if "--resume" in options else ("--csv", "a.csv")
    done = run("sweep", TUTORIAL, *options, *files, "--jobs", "1", cwd=tmp_path)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("spdsim: error: ") and said in done.stderr and "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("wish", "jobs"), [(signal.SIGINT, "2"), (signal.SIGTERM, "1")])
def test_what_is_done_survives_ctrl_c_and_the_rest_is_added(wish: signal.Signals, jobs: str, tmp_path: Path) -> None:
    """The files of a sweep that was interrupted are, byte for byte, those of one that was not."""
    words = [
        "sweep", TUTORIAL, "--vary", "partition.stages=2..9", "--vary", "acceptance.p=0.5..0.9:3",
        "--replications", "8", "--csv", "a.csv", "--json", "a.json",
    ]  # fmt: skip
    (stopped := tmp_path / "stopped").mkdir()
    (whole := tmp_path / "whole").mkdir()
    state = stopped / "a.csv.partial"
    done = told_to_stop("spdsim", [*words, "--jobs", jobs], wish, stopped, 0.0, until=state)
    assert done.returncode == 130, done.stderr
    assert "points are kept in a.csv.partial: go on with --resume" in done.stderr and "Traceback" not in done.stderr
    assert [path.name for path in stopped.iterdir()] == ["a.csv.partial"]
    num_kept = len(state.read_text().splitlines()) - 1
    assert 0 < num_kept < 24
    refused = run(*words, cwd=stopped)
    assert refused.returncode == 2 and "holds what an interrupted sweep has done" in refused.stderr
    for place, more in ((stopped, ["--resume"]), (whole, [])):
        assert run(*words, *more, "--jobs", "1", "--quiet", cwd=place).returncode == 0
    assert sorted(path.name for path in stopped.iterdir()) == ["a.csv", "a.json"]
    for name in ("a.csv", "a.json"):
        assert (stopped / name).read_bytes() == (whole / name).read_bytes()


def test_one_process_needs_no_joblib_and_a_table_needs_no_matplotlib() -> None:
    """Nor pandas, torch or pyarrow."""
    words = ["spdsim", "sweep", TUTORIAL, "--vary", "partition.stages=2,4", *SHORT]
    program = f"""
import sys
sys.argv = {words!r}
from spdsim.cli import main
try:
    main()
except SystemExit as end:
    assert not end.code
print(sorted({{"joblib", "matplotlib", "pyarrow", "pandas", "torch"}} & set(sys.modules)), file=sys.stderr)
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment(PYTHONPATH=str(ROOT)),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == "[]\n" and "Best time per token" in done.stdout


def test_a_key_is_varied_or_set_but_not_both(tmp_path: Path) -> None:
    """Which of the two was meant nobody knows."""
    words = ["sweep", TUTORIAL, "--vary", "acceptance.p=0.5,0.6", "--set", "acceptance.p=0.7"]
    done = run(*words, cwd=tmp_path)
    assert done.returncode == 2
    assert "acceptance.p is varied too" in done.stderr
