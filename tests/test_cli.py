"""The command line as people meet it: results, errors, files, start-up."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from spdsim import __version__
from tests.commands import TUTORIAL, environment, spdsim, spdsim_alone, told_to_stop

PROMISED = (
    "schema_version", "tool_version", "scenario", "seed", "tokens_per_s", "time_to_first_token_s", "time_per_token_s",
    "speedup", "baselines", "closed_form_speedup", "tokens_per_cycle", "equivalent_accept_length", "cycle_s",
    "waterfall", "workers",
)  # fmt: skip


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with everything that one run can write."""
    directory = tmp_path_factory.mktemp("saved")
    files = {name: directory / name for name in ("run.json", "trace.jsonl", "perfetto.json", "timeline.svg")}
    done = spdsim(
        "simulate", TUTORIAL, "--quiet", "--json", files["run.json"], "--trace", files["trace.jsonl"],
        "--perfetto", files["perfetto.json"], "--svg", files["timeline.svg"],
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert sorted(directory.iterdir()) == sorted(files.values())
    return directory


def strict(text: str) -> Any:
    """Parse JSON and refuse what only Python reads."""

    def refuse(name: str) -> Any:
        raise AssertionError(name)

    return json.loads(text, parse_constant=refuse)


# Results.


def test_version_is_that_of_the_package() -> None:
    """One place says it."""
    assert spdsim_alone("--version").stdout == f"spdsim {__version__}\n"


def test_json_on_stdout_stands_alone_and_has_every_promised_key() -> None:
    """stdout can go straight into another program."""
    document = strict(spdsim("simulate", TUTORIAL, "--json", "-").stdout)
    assert [key for key in PROMISED if key not in document] == []
    assert document["tool_version"] == __version__
    assert {"mean", "low", "high"} <= document["time_per_token_s"].keys() & document["speedup"].keys()
    assert {"p50", "p95", "p99"} <= document["time_per_token_s"].keys()
    assert document["speedup"]["over"] == document["baselines"][0]["name"]


def test_same_seed_same_bytes_and_another_seed_others() -> None:
    """For the document and for what people read; interpreters of their own, for each hashes in its own way."""
    for words in (["--json", "-"], ["--timeline", "cycles"]):
        first, again = (spdsim_alone("simulate", TUTORIAL, *words).stdout for _ in range(2))
        assert first == again != spdsim("simulate", TUTORIAL, *words, "--seed", "7").stdout


def test_a_single_token_has_no_decode_figures() -> None:
    """At K = 1 nothing is decoded after the prefill: null, and no failure."""
    document = strict(spdsim("simulate", TUTORIAL, "--set", "workload.new_tokens=1", "--json", "-").stdout)
    assert [document[key] for key in ("tokens_per_s", "time_per_token_s", "speedup", "cycle_s")] == [None] * 4
    # The law is the scenario's, not the run's.
    assert document["closed_form_speedup"] == pytest.approx(2.5)
    printed = spdsim("simulate", TUTORIAL, "--set", "workload.new_tokens=1")
    assert (printed.returncode, "Traceback" in printed.stderr) == (0, False)


def test_json_file_is_what_stdout_would_show(saved: Path) -> None:
    """The two ways give the same bytes."""
    assert (saved / "run.json").read_text() == spdsim("simulate", TUTORIAL, "--json", "-").stdout


def test_options_for_seed_and_replications_are_settings() -> None:
    """`--seed 5` is `--set seed=5`, and the last word counts."""
    short = spdsim("simulate", TUTORIAL, "--set", "seed=1", "--seed", "5", "--replications", "2", "--json", "-")
    long = spdsim("simulate", TUTORIAL, "--set", "seed=5", "--set", "replications=2", "--json", "-")
    assert short.stdout == long.stdout
    assert (strict(short.stdout)["seed"], strict(short.stdout)["replications"]) == (5, 2)


def test_a_saved_trace_gives_the_report_of_its_replication(saved: Path) -> None:
    """`report` on the trace of replication 0 equals a run of one replication, but for what only a scenario knows."""
    from_trace = strict(spdsim("report", saved / "trace.jsonl", "--json", "-").stdout)
    run = strict(spdsim("simulate", TUTORIAL, "--replications", "1", "--json", "-").stdout)
    unknown = {"scenario", "seed", "replications", "origins", "closed_form_speedup"}
    assert {key: from_trace[key] for key in from_trace.keys() - unknown} == {
        key: run[key] for key in run.keys() - unknown
    }


def test_the_perfetto_file_is_strict_json(saved: Path) -> None:
    """The viewer refuses anything else."""
    assert strict((saved / "perfetto.json").read_text())["traceEvents"]


def test_a_saved_trace_can_be_drawn_in_every_way(saved: Path, tmp_path: Path) -> None:
    """By time and by cycle, with a window and as a picture."""
    for words in ([], ["--timeline", "cycles"], ["--from", "c2", "--to", "c9"], ["--svg", str(tmp_path / "t.svg")]):
        done = spdsim("timeline", saved / "trace.jsonl", *words)
        assert (done.returncode, done.stderr) == (0, "")
        assert "stage 0" in done.stdout
    assert (tmp_path / "t.svg").read_text().startswith("<svg")


def test_the_schedule_grid_is_that_of_the_paper() -> None:
    """Cycles 0 to 5 of four stages with a rejection at position 3."""
    lines = spdsim("schedule", "--stages", "4", "--verdicts", "AAR").stdout.splitlines()
    assert lines[-1].split() == ["5", "D6", "V3", "F5", "F4", "F3", "F2", "reject"]


def test_schema_is_a_json_schema() -> None:
    """Editors use it."""
    assert "partition" in strict(spdsim("schema").stdout)["properties"]


def test_init_writes_a_scenario_that_runs_and_spares_one_that_is_there(tmp_path: Path) -> None:
    """A second time only with --force."""
    path = tmp_path / "my.yaml"
    assert spdsim("init", path).returncode == 0
    assert spdsim("simulate", path, "--replications", "1", "--no-timeline").returncode == 0
    path.write_text("mine")
    refused = spdsim("init", path)
    assert (refused.returncode, path.read_text()) == (2, "mine")
    assert refused.stderr.startswith(f"spdsim: error: {path}: exists")
    assert spdsim("init", path, "--force").returncode == 0
    assert path.read_text() != "mine"


# What the screen gets.


def test_the_report_fits_the_columns_and_has_no_colour_without_a_terminal() -> None:
    """COLUMNS is respected; escape codes belong to terminals."""
    for columns in (80, 160):
        printed = spdsim("simulate", TUTORIAL, COLUMNS=str(columns)).stdout
        assert max(map(len, printed.splitlines())) <= columns
        assert "\x1b" not in printed


def test_no_timeline_and_quiet_leave_out_what_they_say() -> None:
    """The whole is the report with the timeline in it, before what the numbers rest on; quiet is nothing."""
    whole = spdsim("simulate", TUTORIAL).stdout
    report_only = spdsim("simulate", TUTORIAL, "--no-timeline").stdout
    before, heading, after = report_only.partition("What the numbers rest on")
    assert heading and whole.startswith(before) and whole.endswith(heading + after)
    assert "stage 3" in whole[len(before) : -len(heading + after)]
    assert spdsim("simulate", TUTORIAL, "--quiet").stdout == ""


# Errors.


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["simulate", "missing.yaml"], "missing.yaml: "),
        (["simulate", TUTORIAL, "--set", "partition.stages=0"], "partition.stages"),
        (["simulate", TUTORIAL, "--set", "partition.stagse=2"], "stages"),
        (["simulate", TUTORIAL, "--set", "acceptance.p=1.5"], "acceptance.p"),
        (["simulate", TUTORIAL, "--from", "soon"], "--from is 'soon'"),
        (["simulate", TUTORIAL, "--to", "3"], "--to is '3'"),
        (["simulate", TUTORIAL, "--from", "c999999"], "cycle is 999999"),
        (["simulate", TUTORIAL, "--from", "c20", "--to", "c10"], "is empty"),
        (["simulate", TUTORIAL, "--sequence", "99"], "sequence is 99"),
        (["simulate", TUTORIAL, "--trace", "-"], "-: stands for standard output"),
        (["simulate", TUTORIAL, "--json", "no/such/dir.json"], "no/such/dir.json: "),
        (["simulate", TUTORIAL, "--trace", "a", "--svg", "a"], "a: is named for two outputs"),
        (["report", "missing.jsonl"], "missing.jsonl: "),
        (["timeline", "missing.jsonl"], "missing.jsonl: "),
        (["schedule", "--stages", "0"], "num_stages is 0"),
        (["schedule", "--verdicts", "AXR"], "AXR"),
    ],
)
def test_wrong_input_is_one_line_and_code_2_and_writes_nothing(words: list[str], expected: str, tmp_path: Path) -> None:
    """Where, value, rule; no traceback, and no file even if one was asked for."""
    if words[0] == "simulate":
        words = [*words, "--perfetto", "out.json"]
    done = spdsim(*words, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("spdsim: error: ")
    assert done.stderr.count("\n") == 1
    assert expected in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_one_stage_is_called_plain_decoding() -> None:
    """It has no draft rank on which the LM head could be."""
    printed = spdsim("simulate", TUTORIAL, "--set", "partition.stages=1", "--no-timeline", COLUMNS="120").stdout
    assert "tiny on 5 devices (gpu), 1 worker; 1 stage, plain decoding\n" in printed


def test_a_trace_without_a_token_is_told_with_its_file(saved: Path, tmp_path: Path) -> None:
    """Each line is fine by itself; what is missing is told only by the whole."""
    header, *spans = (saved / "trace.jsonl").read_text(encoding="utf-8").splitlines()
    header = json.dumps({key: value for key, value in json.loads(header).items() if key != "num_spans"})
    (tmp_path / "cut.jsonl").write_text("\n".join([header, *spans[:5]]), encoding="utf-8")
    done = spdsim("report", "cut.jsonl", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "spdsim: error: cut.jsonl: sequence 0 has no commit in cycle -1: the first token is missing\n"


def test_a_report_of_a_trace_says_what_was_run(saved: Path) -> None:
    """The header of the trace holds the schedule and the machine."""
    printed = spdsim("report", saved / "trace.jsonl", COLUMNS="120").stdout
    assert "spd: 4 stages, verification lag 0; 5 workers on 5 devices" in printed


def test_a_window_outside_the_run_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    """Known only after the run; the files of the run must not appear either."""
    done = spdsim("simulate", TUTORIAL, "--from", "c999999", "--trace", "trace.jsonl", cwd=tmp_path)
    assert (done.returncode, list(tmp_path.iterdir())) == (2, [])
    assert done.stderr.startswith("spdsim: error: ")


@pytest.mark.parametrize("wish", [signal.SIGINT, signal.SIGTERM])
def test_a_wish_to_stop_leaves_no_file_and_one_line(wish: signal.Signals, tmp_path: Path) -> None:
    """In the middle of a long run, with output files reserved."""
    words = ["simulate", TUTORIAL, "--replications", "1000000", "--trace", "t.jsonl"]
    done = told_to_stop("spdsim", words, wish, tmp_path, after_s=0.5)
    assert (done.returncode, done.stderr) == (130, "spdsim: stopped, nothing written\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "words", ["schema", f"simulate {TUTORIAL} --trace t.jsonl", f"simulate {TUTORIAL} --json - --trace t.jsonl"]
)
def test_a_reader_that_goes_away_is_no_error(words: str, tmp_path: Path) -> None:
    """`spdsim … | head -1` is quiet, and files appear all the same."""
    command = f"set -o pipefail; {sys.executable} -m spdsim {words} | head -1 | wc -l"
    done = subprocess.run(
        ["bash", "-c", command], cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "1", "")
    assert (tmp_path / "t.jsonl").exists() == ("--trace" in words)


def test_an_output_may_be_a_pipe() -> None:
    """Process substitution: `--trace >(gzip > trace.gz)`."""
    command = f"{sys.executable} -m spdsim simulate {TUTORIAL} --quiet --trace >(head -c 10 >&2)"
    done = subprocess.run(["bash", "-c", command], env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0


# Start-up.

_WATCH = """
import sys
class Watch:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"torch", "transformers", "numba"}:
            sys.stderr.write("imported " + name)
sys.meta_path.insert(0, Watch())
"""
_RUN = _WATCH + "from spdsim.cli import main; sys.argv[0] = 'spdsim'; main()"


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["simulate", TUTORIAL, "--json", "run.json", "--trace", "t.jsonl", "--perfetto", "p.json", "--svg", "t.svg"],
        ["timeline", "trace.jsonl"],
        ["report", "trace.jsonl"],
        ["schedule"],
        ["schema"],
        ["init", "my.yaml"],
    ],
    ids=lambda words: words[0],
)
def test_no_command_imports_torch_transformers_or_numba(words: list[str], saved: Path, tmp_path: Path) -> None:
    """Not even an attempt, in a process of its own."""
    (tmp_path / "trace.jsonl").write_bytes((saved / "trace.jsonl").read_bytes())
    command = [sys.executable, "-c", _RUN, *words]
    done = subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "imported" not in done.stderr


@pytest.mark.parametrize("code", ["import spdsim", "import spdsim.cli.app"])
def test_import_and_help_load_no_heavy_dependency(code: str) -> None:
    """Dependencies are imported by the commands that use them."""
    heavy = {"numpy", "simpy", "pydantic", "rich", "yaml"}
    program = f"{code}\nimport sys\nprint(*{heavy} & sys.modules.keys())"
    assert subprocess.check_output([sys.executable, "-c", program], text=True) == "\n"
