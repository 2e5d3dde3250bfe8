"""`spdsim calibrate` as a program: real runs of the executor in, a profile and the proof of it out."""

import json
import signal
import time
from pathlib import Path

import pytest

from spdsim.scenario.profile_file import load_profile
from spdsim.tracefile import read_trace
from tests.commands import is_alive, told_to_stop
from tests.commands import spdsim as run

PROFILE = """
format: spd-profile
version: 1
origin: assumed
source: chosen for a test
forward: 5.0e-3
draft: 1.0e-3
verify: 0.0
"""


def test_emulated_stages_are_measured_fitted_and_predicted(tmp_path: Path) -> None:
    """Eight stages that the fit has not seen, over gloo; the profile is as slow as what was emulated."""
    (tmp_path / "emulated.yaml").write_text(PROFILE)
    done = run(
        "calibrate", "--emulate", "emulated.yaml", "--backend", "gloo", "--stages", "2", "--predict-stages", "8",
        "--acceptance", "0.9", "--max-new-tokens", "40", "--rounds", "1", "--out", "profile.yaml",
        "--json", "proof.json", "--report", "report.html", "--traces", "traces", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Runs that the fit has not seen" in done.stdout and "The worst: 8 stages" in done.stdout
    profile = load_profile(tmp_path / "profile.yaml")
    assert profile.origin == "measured" and profile.machine["backend"] == "gloo"
    proof = json.loads((tmp_path / "proof.json").read_text())
    figures = {figure["figure"]: figure for figure in proof["figures"]}
    # Where late processes look like contention, a little of it is taken off; what was emulated is never shorter.
    assert 4.9e-3 <= figures["forward"]["mean"] < 8e-3
    runs = (read_trace(path) for path in (tmp_path / "traces").glob("stages*.jsonl"))
    assert min(span.end_s - span.start_s for run in runs for span in run.spans() if span.op == "forward") >= 5.0e-3
    assert 1.0e-3 <= figures["draft"]["mean"] < 3e-3
    assert [cell["stages"] for cell in proof["held_out"]] == [8]
    # What others do with the machine decides how good it is; that it is one of the grades, and no nonsense, is held.
    assert proof["grade"] in "ABCDF" and proof["graded_error"] < 3.0
    assert "</html>" in (tmp_path / "report.html").read_text()
    traces = sorted(path.name for path in (tmp_path / "traces").iterdir())
    pipeline, held_out = "stages2-p0.9-layers2-0.jsonl", "stages8-p0.8-layers2-held-out-0.jsonl"
    assert traces == ["made-with.json", "plain-0.jsonl", pipeline, held_out]
    again = run("fit", "traces/plain-0.jsonl", f"traces/{pipeline}", "--out", "again.yaml", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert load_profile(tmp_path / "again.yaml").forward == profile.forward
    used = run("simulate", "traces/none.yaml", "--profile", "again.yaml", cwd=tmp_path)
    assert used.returncode == 2 and "traces/none.yaml" in used.stderr


def test_a_small_model_is_calibrated_on_the_cpu(tmp_path: Path) -> None:
    """Real stages, over gloo: everything but how good the prediction is, which a busy machine decides."""
    done = run(
        "calibrate", "--backend", "gloo", "--stages", "2", "--predict-stages", "3", "--acceptance", "0.8",
        "--max-new-tokens", "24", "--rounds", "1", "--threads", "1", "--anchors", "2", "--draft-layers", "1",
        "--report", "report.md", "--quiet", "--tolerance", "1000", "--probes", "2", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0 and not done.stdout, done.stderr
    profile = load_profile(tmp_path / "profile.yaml")
    assert profile.forward_per_layer is not None or profile.forward is not None
    assert profile.draft is not None and profile.verify is not None
    assert profile.runtime is not None and profile.runtime.receipts == "taken"
    assert profile.range.models == ("small",)
    report = (tmp_path / "report.md").read_text()
    assert "| 3 | 0.8 |" in report and "## The worst: 3 stages, p = 0.8, 1 draft layers" in report
    assert "## What single operations take" in report and "| message |" in report


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--stages", "1,2"), "--stages is '1,2': must be different whole numbers of at least 2, such as 2,4"),
        (("--stages", "2,2"), "--stages is '2,2': must be different whole numbers"),
        (("--stages", "two"), "--stages is 'two': must be different whole numbers"),
        (("--acceptance", "1.2"), "--acceptance is '1.2': must be different numbers from 0 to 1"),
        (("--predict-acceptance", ""), "--predict-acceptance is '': must be different numbers from 0 to 1"),
        (("--draft-layers", "0"), "--draft-layers is '0': must be different whole numbers of at least 1"),
        (("--rounds", "0"), "--rounds is 0: must be at least 1"),
        (("--probes", "-1"), "--probes is -1: must be at least 0 seconds"),
        (("--max-new-tokens", "1"), "--max-new-tokens is 1: must be at least 2"),
        (("--tolerance", "-1"), "--tolerance is -1: must be a fraction of at least 0"),
        (("--report", "x.pdf"), "--report is x.pdf: must end in .md or .html"),
        (("--tolerance", "0.1", "--predict-stages", ""), "--tolerance is given: nothing is held out"),
        (("--out", "no/such/place.yaml"), "directory"),
        (("--model", "no-such-model"), "spdsim-exec: "),
        (("--emulate", "no-such.yaml"), "no-such.yaml"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_cannot_be_done_is_said_in_one_line_and_writes_nothing(
    tmp_path: Path, options: tuple[str, ...], said: str
) -> None:
    """The executor's own refusals too."""
    done = run("calibrate", *options, cwd=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr and done.stderr.count("\n") == 1, done.stderr
    assert not list(tmp_path.iterdir())


def test_a_calibration_that_was_cut_short_goes_on(tmp_path: Path) -> None:
    """Here by more stages than there are layers; what was measured is kept beside the profile until that is there."""
    (tmp_path / "emulated.yaml").write_text(PROFILE)
    words = (
        "calibrate", "--emulate", "emulated.yaml", "--backend", "local", "--acceptance", "0.9",
        "--max-new-tokens", "20", "--rounds", "1", "--out", "p.yaml", "--predict-stages", "",
    )  # fmt: skip
    cut = run(*words, "--stages", "2,9", cwd=tmp_path)
    assert cut.returncode == 2 and cut.stderr.count("\n") == 1
    assert ": what was measured is kept in p.yaml.runs: go on with --resume" in cut.stderr
    done = run(*words, "--stages", "2", "--resume", cwd=tmp_path)
    assert done.returncode == 0 and done.stderr == "p.yaml.runs: 2 of the runs and probes were made before\n"
    assert load_profile(tmp_path / "p.yaml").forward is not None
    assert sorted(path.name for path in tmp_path.iterdir()) == ["emulated.yaml", "p.yaml"]


@pytest.mark.parametrize("wish", [signal.SIGINT, signal.SIGTERM])
def test_a_wish_to_stop_ends_the_executor_too(wish: signal.Signals, tmp_path: Path) -> None:
    """In the middle of a run; its own processes are gone, and no file is left."""
    profile = tmp_path / "emulated.yaml"
    profile.write_text(PROFILE)
    where = tmp_path / "here"
    where.mkdir()
    words = ["calibrate", "--emulate", str(profile), "--backend", "socket", "--max-new-tokens", "5000"]
    done = told_to_stop("spdsim", words, wish, where, after_s=6.0)
    assert (done.returncode, done.stderr) == (130, "spdsim: stopped, nothing written\n")
    assert list(where.iterdir()) == []
    deadline = time.monotonic() + 20.0
    while is_alive(str(profile)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not is_alive(str(profile))


def test_traces_and_tables_are_not_fitted_together(tmp_path: Path) -> None:
    """And nothing is not fitted at all."""
    both = run("fit", "a.jsonl", "--table", "t.csv", "--out", "p.yaml", cwd=tmp_path)
    assert both.returncode == 2 and "--table is t.csv: is given beside traces: must be one or the other" in both.stderr
    nothing = run("fit", "--out", "p.yaml", cwd=tmp_path)
    assert nothing.returncode == 2 and "nothing to fit is given: needs traces, or --table and" in nothing.stderr
