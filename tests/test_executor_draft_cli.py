"""Checkpoints of draft modules as people meet them: made into one another, drafted with, refused."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from executor.draft.checkpoint import read, save_directory, tensor_sizes
from executor.draft.cut import Cut
from executor.draft.shape import DraftShape, draft_layer
from executor.model.architecture import read_architecture
from executor.model.dense import DenseShape
from executor.model.small import small_config, write_model
from tests.commands import spdsim_exec

CONFIG = small_config(hidden_size=32, num_layers=6)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a model, and a draft module of random weights for it."""
    home: Path = tmp_path_factory.mktemp("home")
    write_model(home / "model", CONFIG, seed=0)
    layer = read_architecture(CONFIG).layers[0]
    assert isinstance(layer, DenseShape)
    shape = DraftShape(Cut((3, 1, 2), (0, 3, 5)), draft_layer(layer), 2, 258, tuple(range(0, 258, 2)))
    generator = torch.Generator().manual_seed(0)
    state = {name: torch.randn(size, generator=generator) for name, size in tensor_sizes(shape).items()}
    save_directory(home / "draft", state, shape, {"steps": 0}, CONFIG)
    return home


def generated(home: Path, *words: str) -> tuple[dict[str, Any], str]:
    """Return the document of a run, and what it printed."""
    sizes = ("--max-new-tokens", "20", "--threads", "1", "--prompt-ids", "72,105", "--ignore-end-tokens")
    done = spdsim_exec("generate", "--model", "model", *sizes, *words, "--json", "run.json", cwd=home)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return json.loads((home / "run.json").read_text()), done.stdout


@pytest.mark.parametrize(
    ("words", "layers"),
    [
        (("--draft", "draft"), [3, 1, 2]),
        (("--draft", "module:draft/draft.safetensors", "--lm-head", "sharded", "--stages", "3"), [3, 1, 2]),
        (("--draft", "draft", "--any-stages", "--stages", "2", "--verification-lag", "1"), [3, 3]),
    ],
    ids=str,
)
def test_decoding_with_a_checkpoint_is_plain_decoding(home: Path, words: tuple[str, ...], layers: list[int]) -> None:
    """Token for token; what was run is named, and is what the checkpoint says."""
    document, text = generated(home, *words)
    run, checkpoint = document["run"], words[1].removeprefix("module:")
    assert document["differences_from_plain"] == []
    texts = {sequence["method"]: sequence["tokens"] for sequence in document["sequences"]}
    assert texts["spd"] == texts["plain"] and len(texts["spd"]) == 20
    assert (run["draft_checkpoint"], run["layers"], run["draft_layers"]) == (checkpoint, layers, 2)
    assert (run["anchors"], run["draft_vocab_size"]) == ([0, 3, 5], 129)
    assert f"drafts by {checkpoint}: 2 layers, 3 anchors" in text
    assert ("was made for 3 stages of 3 + 1 + 2 layers" in text) == ("--any-stages" in words)


def test_an_exported_checkpoint_decides_the_same_verdicts(home: Path) -> None:
    """As the authors' file, and as the directory that this becomes."""
    there = spdsim_exec("export-draft", "draft", "--out", "draft.pt", "--base-model", "org/base", cwd=home)
    assert (there.returncode, there.stdout, there.stderr) == (0, "", "spdsim-exec: wrote draft.pt\n")
    assert torch.load(home / "draft.pt", weights_only=True)["config"]["base_model_path"] == "org/base"
    back = spdsim_exec("export-draft", "draft.pt", "--out", "again", cwd=home)
    assert (back.returncode, back.stderr) == (0, "spdsim-exec: wrote again\n")
    assert read(home / "again").config.target.name == "org/base"
    runs = [generated(home, "--draft", name)[0]["sequences"] for name in ("draft", "draft.pt", "again")]
    verdicts = [[sequence["accepted"] for sequence in run] for run in runs]
    assert verdicts[0] == verdicts[1] == verdicts[2]


REFUSED = [
    ("generate --model model --draft model", "--draft is model: has no draft.json: must be a draft module's directory"),
    (
        "generate --model model --draft model/config.json",
        "model/config.json: is not a checkpoint: must be a whole file",
    ),
    ("generate --model model --draft gone.pt", "--draft is gone.pt: there is no such file: must be a checkpoint of a"),
    (
        "generate --model model --draft draft --stages 4",
        "--stages is 4: must be 3, as draft says: leave it out, or add",
    ),
    ("generate --draft draft", "--draft: partition.layers is [3, 1, 2]: must add up to the model's 8 layers, not 6"),
    ("export-draft draft", "--out is missing: must be a file FILE.pt, or a directory for a v11 file"),
    ("export-draft gone --out x.pt", "gone: there is no such file: must be a checkpoint of a draft module"),
    (
        "export-draft draft --out other",
        "--out is other: must be a file whose name ends in .pt: draft becomes a v11 file",
    ),
    ("export-draft draft --out no/x.pt", "no/x.pt: directory no does not exist: must exist"),
    ("export-draft a.pt --out x.pt", "--out is x.pt: must be a directory: a.pt is a v11 file already"),
    ("export-draft a.pt --out draft", "--out is draft: has a draft module: must be another directory"),
    ("export-draft a.pt --out a.txt", "--out is a.txt: is a file: must be a directory, or a name for a new one"),
    ("export-draft a.pt --out x", "a.pt: is not a checkpoint: must be a whole file of torch.save"),
]


@pytest.mark.parametrize(("words", "message"), REFUSED, ids=[words for words, _ in REFUSED])
def test_what_cannot_be_is_refused_in_one_line(home: Path, words: str, message: str) -> None:
    """With the exit code of wrong input; nothing is written."""
    for name in ("a.pt", "a.txt"):
        (home / name).touch()
    before = sorted(home.iterdir())
    done = spdsim_exec(*words.split(), cwd=home)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"spdsim-exec: error: {message}") and done.stderr.count("\n") == 1
    assert sorted(home.iterdir()) == before
