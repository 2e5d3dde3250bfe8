"""Where weights come from: checkpoints in any number of files, or random numbers that every worker agrees on."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModelForCausalLM

from executor.model.architecture import read_architecture
from executor.model.head import Head
from executor.model.small import NUM_BYTES, small_config, tensor_shapes, write_model
from executor.model.stage import StageModel
from executor.model.weights import Checkpoint, RandomWeights, Weights
from spdsim.errors import InputError

torch.set_num_threads(1)

CONFIG = small_config(hidden_size=32, num_layers=4)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A small model in one file."""
    write_model(tmp_path / "whole", CONFIG, seed=3)
    return tmp_path / "whole"


@pytest.fixture
def shards(directory: Path, tmp_path: Path) -> Path:
    """The same in many files, as transformers write it."""
    model = from_transformers(directory)
    model.save_pretrained(tmp_path / "shards", max_shard_size="20KB")
    return tmp_path / "shards"


def from_transformers(directory: Path) -> Any:
    model: Any = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32)
    return model.eval()


def stage_of(directory: Path, weights: Weights, first: int, count: int, **options: Any) -> StageModel:
    keys: dict[str, Any] = {"dtype": torch.float32, "max_rows": 64} | options
    architecture = read_architecture(directory)
    return StageModel(architecture, weights, first, count, (), first == 0, num_states=1, device="cpu", **keys)


def greedy(directory: Path, weights: Weights, num_tokens: int, dtype: torch.dtype = torch.float32) -> list[int]:
    """Return the model's greedy text after "Hi"; its logits are finite at every step."""
    architecture = read_architecture(directory)
    stage = stage_of(directory, weights, 0, architecture.num_layers, dtype=dtype, max_rows=num_tokens + 2)
    head = Head(architecture, weights, 0, architecture.vocab_size, "cpu", dtype)
    output, text = stage.prefill(torch.tensor([72, 105])), []
    for position in range(2, num_tokens + 2):
        logits = head(output.hidden_TH[-1:])
        assert logits.isfinite().all()
        text.append(int(logits.argmax()))
        output = stage.forward(torch.tensor(text[-1:]), position)
    return text


def test_a_written_model_is_read_by_transformers_and_by_us(directory: Path) -> None:
    """Both generate the same text from it, and so do the random weights that it was written with."""
    ours = greedy(directory, Checkpoint(directory), 30)
    assert ours == greedy(directory, RandomWeights(3), 30)
    ids = torch.tensor([[72, 105]])
    theirs = from_transformers(directory).generate(ids, do_sample=False, max_new_tokens=30, eos_token_id=None)
    assert ours == theirs[0, 2:].tolist()


def test_several_files_are_read_like_one(directory: Path, shards: Path) -> None:
    """Every tensor, whichever file it is in, and every slice of its rows."""
    assert len(list(shards.glob("*.safetensors"))) > 5
    checkpoint, tensors = Checkpoint(shards), load_file(directory / "model.safetensors")
    assert tensors.keys() == tensor_shapes(read_architecture(directory)).keys()
    for name, tensor in tensors.items():
        target = torch.empty_like(tensor)
        checkpoint.fill(name, target)
        assert torch.equal(target, tensor)
    table = tensors["lm_head.weight"]
    rows = torch.empty(9, 32)
    checkpoint.fill("lm_head.weight", rows, first_row=200, of_rows=len(table))
    assert torch.equal(rows, table[200:209])


def test_a_stage_reads_its_own_tensors_only(shards: Path) -> None:
    """Files of other layers may be anywhere else, and its own may not."""
    index = json.loads((shards / "model.safetensors.index.json").read_text())["weight_map"]
    own = {file for name, file in index.items() if name.startswith(("model.layers.2.", "model.layers.3."))}
    for file in set(index.values()) - own:
        (shards / file).unlink()
    stage_of(shards, Checkpoint(shards), 2, 2)
    with pytest.raises(InputError, match=r"safetensors: there is no such file, though model\.safetensors\.index\.json"):
        stage_of(shards, Checkpoint(shards), 1, 2)


def test_weights_are_converted_to_the_dtype_that_is_asked_for(directory: Path) -> None:
    """bfloat16 from float32, and back."""
    stored = load_file(directory / "model.safetensors")["model.layers.1.self_attn.q_proj.weight"]
    target = torch.empty_like(stored, dtype=torch.bfloat16)
    Checkpoint(directory).fill("model.layers.1.self_attn.q_proj.weight", target)
    assert torch.equal(target, stored.bfloat16())


def replaced(name: str, tensor: Tensor | None) -> Callable[[Path], None]:
    """A change of one tensor, None removing it."""

    def change(directory: Path) -> None:
        file = directory / "model.safetensors"
        tensors = load_file(file)
        tensors.pop(name)
        save_file(tensors | ({} if tensor is None else {name: tensor}), file)

    return change


def truncated(directory: Path) -> None:
    file = directory / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1000])


def scrambled(directory: Path) -> None:
    (directory / "model.safetensors").write_bytes(b"no tensors at all")


def removed(directory: Path) -> None:
    (directory / "model.safetensors").unlink()


def indexed(text: str) -> Callable[[Path], None]:
    """An index beside the file."""

    def change(directory: Path) -> None:
        (directory / "model.safetensors.index.json").write_text(text)

    return change


NAME = "model.layers.0.mlp.up_proj.weight"


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (replaced(NAME, None), f"has no tensor {NAME}, which the model must have"),
        (
            replaced(NAME, torch.zeros(80, 31)),
            rf"model.safetensors: {NAME} has shape \[80, 31\]: must have \[80, 32\]",
        ),
        (replaced("model.embed_tokens.weight", torch.zeros(32)), r"has shape \[32\]: must have \[258, 32\]"),
        (truncated, "model.safetensors: cannot be read as safetensors: "),
        (scrambled, "model.safetensors: cannot be read as safetensors: "),
        (removed, "has neither model.safetensors nor model.safetensors.index.json"),
        (indexed("{"), "index.json: must be JSON with a weight_map"),
        (indexed('{"weight_map": {"a": 1}}'), "index.json: must be JSON with a weight_map"),
        (
            indexed('{"weight_map": {"model.embed_tokens.weight": "b.safetensors"}}'),
            "b.safetensors: there is no such file",
        ),
        (
            indexed(json.dumps({"weight_map": {"model.embed_tokens.weight": "model.safetensors", NAME: "x"}})),
            "has no tensor model.layers.0.self_attn.q_proj.weight",
        ),
    ],
)
def test_a_bad_checkpoint_is_refused_in_one_line(
    directory: Path, break_it: Callable[[Path], None], message: str
) -> None:
    """It names the file and the tensor, and shows both shapes."""
    break_it(directory)
    with pytest.raises(InputError, match=message) as refusal:
        stage_of(directory, Checkpoint(directory), 0, 2)
    assert "\n" not in str(refusal.value)


def test_an_index_that_names_the_wrong_file_is_refused(directory: Path) -> None:
    """The file is there, the tensor is not in it."""
    replaced(NAME, None)(directory)
    indexed(json.dumps({"weight_map": dict.fromkeys(tensor_shapes(read_architecture(CONFIG)), "model.safetensors")}))(
        directory
    )
    with pytest.raises(InputError, match=f"model.safetensors: has no tensor {NAME}, though"):
        stage_of(directory, Checkpoint(directory), 0, 2)


@given(st.integers(0, 3000), st.integers(1, 3000), st.integers(0, 9))
@settings(max_examples=30, deadline=None)
def test_random_rows_do_not_depend_on_who_draws_them(first: int, count: int, seed: int) -> None:
    """A shard of a table has the rows of the table."""
    weights = RandomWeights(seed)
    whole, shard = torch.empty(6000, 96), torch.empty(count, 96)
    weights.fill("lm_head.weight", whole)
    weights.fill("lm_head.weight", shard, first, 6000)
    assert torch.equal(shard, whole[first : first + count])


def test_random_weights_differ_by_name_and_by_seed() -> None:
    """And within a tensor, from one block to the next."""
    drawn = []
    for seed, name in ((0, "a.weight"), (0, "b.weight"), (1, "a.weight")):
        drawn.append(torch.empty(4096, 128))
        RandomWeights(seed).fill(name, drawn[-1])
    blocks = [block for tensor in drawn for block in torch.split(tensor, 2048)]
    assert all(not torch.equal(a, b) for i, a in enumerate(blocks) for b in blocks[:i])
    assert all(abs(tensor.std().item() * 128**0.5 - 1.0) < 0.01 for tensor in drawn)


@pytest.mark.parametrize(
    ("family", "tied", "dtype"),
    [
        ("llama", False, torch.float32),
        ("llama", True, torch.bfloat16),
        ("qwen3", False, torch.bfloat16),
        ("qwen3", True, torch.float32),
    ],
)
def test_random_models_write_text_that_does_not_settle(
    tmp_path: Path, family: str, tied: bool, dtype: torch.dtype
) -> None:
    """Twenty-four layers deep, every step is finite, and hardly any four tokens come twice in a row."""
    config = small_config(hidden_size=64, num_layers=24) | {"model_type": family, "tie_word_embeddings": tied}
    (tmp_path / "config.json").write_text(json.dumps(config))
    text = greedy(tmp_path, RandomWeights(1), 150, dtype)
    fours = {tuple(text[i : i + 4]) for i in range(len(text) - 3)}
    assert len(fours) > 0.9 * (len(text) - 3) and len(set(text)) > 30


_PEAK = """
import sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from executor.model.architecture import read_architecture
from executor.model.stage import StageModel
from executor.model.weights import Checkpoint, RandomWeights

def kilobytes(key):
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(key))

directory = Path(sys.argv[1])
architecture, made = read_architecture(directory), []

def make(weights, layer):
    made.append(StageModel(architecture, weights, layer, 1, (), layer == 0, 8, 1, "cpu", torch.float32))

# What is loaded and set up by the first use is no part of a shard.
make(Checkpoint(directory), 1)
make(RandomWeights(0), 1)
for weights in (RandomWeights(0), Checkpoint(directory)):
    before = kilobytes("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # The peak begins anew.
    make(weights, 0)
    print(1024 * (kilobytes("VmHWM") - before))
"""


@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="needs Linux's account of memory")
def test_a_worker_never_holds_much_more_than_its_shard(tmp_path: Path) -> None:
    """At its peak a process has grown by its layers and its table, and 10 % of them: not by the tensors it reads."""
    config = small_config(hidden_size=512, num_layers=2) | {"intermediate_size": 8000}
    write_model(tmp_path, config, seed=0)
    shard = 4 * sum(
        tensor.numel()
        for name, tensor in tensor_shapes(read_architecture(config)).items()
        if name.startswith(("model.embed_tokens", "model.layers.0."))
    )  # fmt: skip
    command = [sys.executable, "-c", _PEAK, str(tmp_path)]
    root = Path(__file__).parent.parent
    done = subprocess.run(command, capture_output=True, text=True, cwd=root, check=True)
    grown = [int(line) for line in done.stdout.split()]
    assert len(grown) == 2 and all(0.99 * shard < peak < 1.1 * shard for peak in grown)


def test_a_small_model_says_what_its_tokens_are() -> None:
    """Bytes, then an end and a beginning."""
    architecture = read_architecture(small_config())
    assert architecture.vocab_size == NUM_BYTES + 2 and architecture.end_tokens == {NUM_BYTES}
