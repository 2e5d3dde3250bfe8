"""`spdsim-exec train-draft` as people meet it: what it prints and writes, and what it refuses."""

import json
from pathlib import Path
from typing import Any

import pytest

from executor.cli.train_draft import train_draft
from spdsim.errors import InputError
from tests.commands import spdsim_exec
from tests.training_runs import random_texts, token_lines

SIZES = ["--stages", "2", "--draft-layers", "1", "--sequence-length", "32", "--threads", "1", "--device", "cpu"]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a small model and data."""
    home = tmp_path_factory.mktemp("training")
    sizes = ["--hidden-size", "32", "--layers", "4", "--heads", "2", "--kv-heads", "1"]
    assert spdsim_exec("make-model", "model", *sizes, cwd=home).returncode == 0
    (home / "text.txt").write_text("To be, or not to be, that is the question.\n" * 20)
    (home / "empty.txt").write_text(" \n")
    (home / "bad.txt").write_bytes(b"\xff\xfe")
    (home / "bad.jsonl").write_text('{"text": "good"}\nbad\n')
    (home / "chat.jsonl").write_text('{"messages": [{"role": "user", "content": "a"}]}\n')
    token_lines(home / "tokens.jsonl", random_texts())
    return home


def test_a_run_tells_what_it_trained_and_how_good_it_is(home: Path) -> None:
    """The result on stdout, one line for each measurement on stderr; figures as JSON; the module in its directory."""
    words = ["--model", "model", "--data", "text.txt", *SIZES, "--steps", "4", "--every", "2", "--draft-vocab", "12"]
    done = spdsim_exec("train-draft", *words, "--out", "one", "--json", "one.json", cwd=home)
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    assert [line.partition(": ")[2].partition(":")[0] for line in lines] == ["step 0", "step 2 of 4", "step 4 of 4"]
    assert "model, 4 layers in 2 stages of 2 + 2" in done.stdout and max(map(len, done.stdout.splitlines())) <= 80
    assert " % of drafts would be accepted with the pipeline full" in done.stdout
    assert "covers " in done.stdout and "times the target's own forward pass" in done.stdout
    document = json.loads((home / "one.json").read_text())
    facts = json.loads((home / "one" / "draft.json").read_text())["training"]
    assert document["training"] == facts and document["status"] == "complete" and facts["complete"] is True
    assert [entry["step"] for entry in document["history"]] == [0, 2, 4] and len(facts["held_out"]["acceptance"]) == 2
    assert document["draft_vocab_size"] == 12 and 0.5 < facts["coverage"] <= 1.0 and document["notes"] == []
    assert {path.name for path in (home / "one").iterdir()} == {"draft.json", "draft.safetensors"}
    again = spdsim_exec("train-draft", *words, "--out", "one", cwd=home)
    assert (
        again.returncode == 2 and "one: has a draft module: must be another directory, or use --force" in again.stderr
    )
    forced = spdsim_exec("train-draft", *words, "--out", "one", "--force", "--quiet", "--json", "-", cwd=home)
    assert (forced.returncode, forced.stderr) == (0, "")
    assert json.loads(forced.stdout)["training"] == facts


def test_a_loss_that_is_no_number_is_one_line_and_code_1(home: Path) -> None:
    words = ["--model", "model", "--data", "text.txt", *SIZES, "--steps", "9", "--learning-rate", "1e30"]
    done = spdsim_exec("train-draft", *words, "--every", "1", "--warm-up", "0", "--out", "nan", cwd=home)
    last = done.stderr.splitlines()[-1]
    assert (done.returncode, done.stdout) == (1, "")
    assert last.startswith("spdsim-exec: error: step 2: the ") and "(text.txt:1, tokens " in last
    assert last.endswith(": what was kept before is in nan: begin anew with a smaller --learning-rate")
    assert (home / "nan" / "state.pt").exists()
    other = spdsim_exec("train-draft", *words, "--out", "nan", cwd=home)
    assert other.returncode == 2 and "has a run that was stopped: add --resume, or --force" in other.stderr


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no data": ({"data": None}, "--data is missing: must be a file with text, or JSON lines"),
    "no out": ({"out": None}, "--out is missing: must be a directory"),
    "empty": ({"data": Path("empty.txt")}, "empty.txt: is empty: must have text"),
    "no UTF-8": ({"data": Path("bad.txt")}, "bad.txt:1: is not text in UTF-8"),
    "no JSON": ({"data": Path("bad.jsonl")}, "bad.jsonl:2: is not JSON"),
    "no template": ({"data": Path("chat.jsonl")}, "has no files, and so no chat template"),
    "stages": ({"stages": 9}, "--stages: partition.stages is 9: must be at most the model's 8 layers"),
    "one stage": ({"stages": 1}, "--stages is 1: must be at least 2"),
    "vocabulary": ({"draft_vocab": 999}, "is 999: must be at most the model's vocab_size, 258"),
    "length": ({"sequence_length": 3}, "--sequence-length is 3: must be at least 16 tokens"),
    "positions": ({"sequence_length": 99999}, "must be at most the model's 32768 positions"),
    "both": ({"steps": 3, "epochs": 2.0}, "--steps is given beside --epochs"),
    "rate": ({"learning_rate": 0.0}, "--learning-rate is 0: must be greater than 0"),
    "accumulate": ({"accumulate": 0}, "--accumulate is 0: must be at least 1"),
    "warm-up": ({"warm_up": -1}, "--warm-up is -1: must be 0 or more steps"),
    "too few": ({"init_from_layers": "1"}, "must be 4 layers, one for each of --draft-layers"),
    "no list": ({"init_from_layers": "a"}, "must be layers with commas, such as 3,7"),
    "too high": ({"draft_layers": 1, "init_from_layers": "8"}, "must be layers of the target, 0 to 7"),
    "share": ({"held_out": "1.5"}, "--held-out is 1.5: must be a share between 0 and 1, or a file"),
    "held out too": ({"held_out": "text.txt"}, "is what is trained on: must be another file"),
    "none held out": ({"held_out": "empty.txt"}, "empty.txt: is empty: must have text"),
    "a file": ({"out": Path("text.txt")}, "--out is text.txt: is a file: must be a directory"),
    "below a file": ({"out": Path("text.txt/x")}, "text.txt must be a directory that can be written"),
    "no state": ({"resume": True}, "--resume: x: has no state.pt: must have the state of a run that was stopped"),
    "anew and on": ({"resume": True, "force": True}, "--resume is given beside --force: must be one of the two"),
    "no model": ({"model": "none"}, '--model is "none": no directory, and as a name it must be one of'),
}


@pytest.mark.parametrize("name", REFUSED)
def test_wrong_input_is_told_in_one_line_and_nothing_is_written(
    name: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the built-in model of 8 layers; where, value, rule."""
    monkeypatch.chdir(home)
    changes, expected = REFUSED[name]
    options: dict[str, Any] = {"data": Path("text.txt"), "out": Path("x"), "device": "cpu", "threads": 1, "quiet": True}
    with pytest.raises(InputError) as refusal:
        train_draft(**(options | changes))
    assert expected in str(refusal.value) and "\n" not in str(refusal.value)
    assert not (home / "x").exists()


def test_an_error_has_code_2_and_no_traceback(home: Path) -> None:
    done = spdsim_exec("train-draft", "--data", "none.txt", "--out", "x", cwd=home)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "spdsim-exec: error: none.txt: there is no such file\n"
    assert not (home / "x").exists()


def test_a_model_without_a_tokenizer_is_trained_on_token_ids(home: Path) -> None:
    words = [
        "--random-weights",
        "--model",
        "model/config.json",
        *SIZES,
        "--steps",
        "1",
        "--out",
        "bare",
        "--force",
        "-q",
    ]
    assert spdsim_exec("train-draft", *words, "--data", "tokens.jsonl", cwd=home).returncode == 0
