"""`spdsim-exec` as people meet it: help, errors, real runs, ends."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from spdsim import __version__
from tests.commands import ROOT, TUTORIAL, environment, spdsim, spdsim_exec, told_to_stop

HEAVY = {"torch", "transformers", "numpy", "rich", "yaml", "tokenizers"}
_WATCH = """
import sys
class Watch:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in HEAVY:
            sys.stderr.write("imported " + name)
sys.meta_path.insert(0, Watch())
from executor.cli import main
sys.argv[0] = "spdsim-exec"
main()
"""


# Start-up and help.


@pytest.mark.parametrize(
    "words",
    [
        "--help", "--version", "generate --help", "make-model --help", "export-draft --help", "acceptance --help",
        "train-draft --help", "demo-train --help",
    ],
)  # fmt: skip
def test_help_imports_nothing_heavy(words: str) -> None:
    """Not even an attempt, in a process of its own; to read the options of a command typer itself takes pydantic."""
    heavy = HEAVY if " " in words else {*HEAVY, "pydantic"}
    command = [sys.executable, "-c", f"HEAVY = {heavy}\n{_WATCH}", *words.split()]
    done = subprocess.run(command, env=environment(), cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout


def test_planning_and_refusing_need_no_torch() -> None:
    """What is wrong with a run is told before the heavy half of the program is loaded."""
    modules = "executor.cli.session, executor.cli.train_session, executor.planning, executor.planning.training, sys"
    program = f"import {modules}; print(*{{'torch', 'transformers'}} & sys.modules.keys())"
    assert subprocess.check_output([sys.executable, "-c", program], cwd=ROOT, text=True) == "\n"


def test_version_is_that_of_the_package() -> None:
    """One place says it."""
    assert spdsim_exec("--version").stdout == f"spdsim-exec {__version__}\n"


def test_help_has_the_options_in_groups() -> None:
    """In the order in which people need them, each option with a text."""
    text = spdsim_exec("generate", "--help", COLUMNS="100").stdout
    heads = [line.rstrip(":") for line in text.splitlines() if line.endswith(":") and not line.startswith(" ")]
    assert heads == [
        "Arguments", "The model", "The schedule", "Drafts", "What is decoded", "Sampling", "Where it runs", "Output",
        "Options",
    ]  # fmt: skip
    options = [line.split()[0] for line in text.partition("Arguments:")[2].splitlines() if line.startswith("  --")]
    assert len(options) == len(set(options)) > 35


# Errors.


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["generate", "missing.yaml"], "missing.yaml: there is no such file"),
        (["generate", "--eager", "--launch", "compiled"], "--eager is given beside --launch compiled"),
        (["generate", TUTORIAL, "--emulate", "scenario", "--json", "no/such.json", "--trace", "t"], "no/such.json: "),
        (["make-model", "model", "--heads", "3"], "--hidden-size is 256: must be an even number for each of --heads"),
        (["make-model", "model", "--kv-heads", "3"], "--kv-heads is 3: must divide --heads, 4"),
        (["make-model", "model", "--layers", "0"], "--layers is 0: must be at least 1"),
        (["make-model", __file__], "is a file: must be a directory"),
    ],
)
def test_wrong_input_is_one_line_and_code_2_and_writes_nothing(words: list[str], expected: str, tmp_path: Path) -> None:
    """Where, value, rule; no traceback."""
    done = spdsim_exec(*words, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("spdsim-exec: error: ")
    assert done.stderr.count("\n") == 1
    assert expected in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("rank", ["0", "1"])
def test_of_torchruns_processes_the_first_one_speaks(rank: str) -> None:
    """What is wrong with the options is wrong in all of them."""
    done = spdsim_exec("generate", "--model", "no/model", RANK=rank, WORLD_SIZE="3", LOCAL_WORLD_SIZE="3")
    assert (done.returncode, done.stdout, bool(done.stderr)) == (2, "", rank == "0")


# Real runs.


def test_an_emulated_run_is_real_but_for_the_computing(tmp_path: Path) -> None:
    """Its cycles are the simulator's, and its trace is one that `spdsim report` takes; nobody need read all it prints.

    `spdsim-exec … | head -1` is quiet, and files appear all the same.
    """
    words = f"generate {TUTORIAL} --emulate scenario --max-new-tokens 24 --json run.json --trace trace.jsonl"
    command = f"set -o pipefail; {sys.executable} -m executor {words} | head -1"
    env = {**environment(PYTHONPATH=str(ROOT)), "PATH": os.environ["PATH"]}
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("emulated: tiny, 8 layers in 4 stages of 2")
    document = json.loads((tmp_path / "run.json").read_text())
    assert (document["status"], document["origin"], document["acceptance_forced"]) == ("complete", "emulated", True)
    changes = ["--set", "workload.new_tokens=24", "--replications", "1"]
    simulated = json.loads(spdsim("simulate", TUTORIAL, *changes, "--json", "-").stdout)
    executed = json.loads(spdsim("report", tmp_path / "trace.jsonl", "--json", "-").stdout)
    for key in ("num_tokens", "num_cycles", "num_rejections", "measured_acceptance", "tokens_per_cycle"):
        assert executed[key] == simulated[key]
    assert document["num_cycles"] == simulated["num_cycles"]


def test_a_model_that_was_made_can_be_decoded(tmp_path: Path) -> None:
    """Text in, text out; drafts change nothing of what is said."""
    sizes = ["--hidden-size", "64", "--layers", "4"]
    made = spdsim_exec("make-model", "model", *sizes, cwd=tmp_path)
    assert (made.returncode, made.stdout) == (0, "")
    assert made.stderr == "spdsim-exec: wrote model; next: spdsim-exec generate --model model\n"
    again = spdsim_exec("make-model", "model", *sizes, cwd=tmp_path)
    assert again.returncode == 2 and "has a config.json: must be a new directory, or use --force" in again.stderr
    asked = ["--model", "model", "--prompt", "é", "--max-new-tokens", "12", "--threads", "1", "--ignore-end-tokens"]
    done = spdsim_exec("generate", *asked, "--draft", "forced:p=0.6", "--json", "run.json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    document = json.loads((tmp_path / "run.json").read_text())
    plain, drafted = document["sequences"]
    assert plain["tokens"] == drafted["tokens"] and plain["prompt_ids"] == [195, 169]
    assert document["differences_from_plain"] == [] and document["run"]["weights"] == "files"
    assert "forced" in done.stdout and "those of plain decoding" in done.stdout


@pytest.mark.parametrize("wish", [signal.SIGINT, signal.SIGTERM])
def test_a_wish_to_stop_leaves_no_file_and_one_line(wish: signal.Signals, tmp_path: Path) -> None:
    """In the middle of a long run, with output files reserved."""
    words = ["generate", TUTORIAL, "--emulate", "scenario", "--max-new-tokens", "100000", "--json", "run.json"]
    done = told_to_stop("executor", words, wish, tmp_path, after_s=2.0)
    assert (done.returncode, done.stderr) == (130, "spdsim-exec: stopped, nothing written\n")
    assert list(tmp_path.iterdir()) == []
