"""Training in several processes, and training that is told to stop: both end where one undisturbed process would."""

import json
import signal
from dataclasses import replace
from pathlib import Path

import torch

from executor.model.small import write_model
from tests.commands import spdsim_exec, told_to_stop
from tests.training_runs import CONFIG, HYBRID, in_processes, random_texts, run, token_lines, training_plan, weights

torch.set_num_threads(1)


def test_two_processes_train_what_one_trains_that_accumulates(tmp_path: Path) -> None:
    """The same sequences in a step; only the order of sums differs. Texts of several lengths, which weigh by rows."""
    texts = [text[: 20 + 3 * number] for number, text in enumerate(random_texts(9))]
    data = token_lines(tmp_path / "data.jsonl", texts)
    alone = training_plan(tmp_path / "alone", data, HYBRID, steps=6, accumulate=2, every=4)
    outcome = run(alone)
    both = replace(alone, out=tmp_path / "both", accumulate=1)
    assert in_processes(both, 2) == [0, 0]
    theirs, ours = weights(alone.out), weights(both.out)
    for name, tensor in theirs.items():
        torch.testing.assert_close(ours[name], tensor, atol=1e-5, rtol=1e-4)
    one, other = (json.loads((out / "draft.json").read_text())["training"] for out in (alone.out, both.out))
    assert one["held_out"]["acceptance"] == other["held_out"]["acceptance"] and one["tokens"] == other["tokens"]
    assert one["steps"] == other["steps"] == outcome.step == 6
    assert one["sequences_per_step"] == other["sequences_per_step"] == 2


def test_ctrl_c_keeps_what_is_trained_and_says_how_to_go_on(tmp_path: Path) -> None:
    """With the state of the last step, and exit code 130; a run of other settings does not go on from it."""
    where = tmp_path / "run"
    where.mkdir()
    data, model = token_lines(tmp_path / "data.jsonl", random_texts()), tmp_path / "model"
    write_model(model, CONFIG, 0)
    words = [
        "train-draft", "--model", str(model), "--data", str(data), "--sequence-length", "32", "--threads", "1",
        "--device", "cpu", "--every", "20", "--steps", "100000", "--out", "out",
    ]  # fmt: skip
    kept = where / "out" / "state.pt"
    done = told_to_stop("executor", words, signal.SIGINT, where, after_s=0.0, until=kept)
    first, last = done.stderr.splitlines()[-2:]
    assert (done.returncode, first) == (130, "spdsim-exec: stopping after this step; once more stops at once")
    assert last.startswith("spdsim-exec: stopped after step ")
    assert last.endswith("what was trained is kept in out; the same command with --resume goes on")
    step = int(last.split()[4].replace(",", ""))
    assert torch.load(kept, weights_only=True)["step"] == step >= 20
    other = spdsim_exec(*words, "--resume", "--seed", "3", cwd=where)
    assert other.returncode == 2 and "--seed is 3: must be 0, as when the run in out began" in other.stderr
