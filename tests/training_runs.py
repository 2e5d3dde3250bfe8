"""Training runs with a very small target: random weights, or one that repeats itself; without the command line."""

import json
import multiprocessing
import os
import socket
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from executor.model.architecture import read_architecture
from executor.model.small import small_config, write_model
from executor.model.weights import Checkpoint
from executor.plan import ModelPlan
from executor.training.outcome import Event, Outcome
from executor.training.plan import TrainingPlan
from executor.training.ranks import Ranks, joined
from executor.training.run import train
from executor.training.teacher import Teacher

CONFIG = {**small_config(32, 4, num_heads=2, num_kv_heads=1), "vocab_size": 64, "eos_token_id": None}
HYBRID: dict[str, Any] = {
    "model_type": "qwen3_5_text", "dtype": "float32", "hidden_size": 32, "intermediate_size": 48,
    "num_hidden_layers": 4, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 16, "vocab_size": 64,
    "linear_num_key_heads": 2, "linear_num_value_heads": 4, "linear_key_head_dim": 8, "linear_value_head_dim": 6,
    "linear_conv_kernel_dim": 4,
}  # fmt: skip
ALONE = Ranks(0, 1, torch.device("cpu"))


def token_lines(file: Path, texts: Iterable[Sequence[int]]) -> Path:
    """Write token ids, a text on each line."""
    file.write_text("".join(json.dumps({"tokens": list(text)}) + "\n" for text in texts))
    return file


def random_texts(count: int = 12, length: int = 40, vocab_size: int = 64) -> list[list[int]]:
    drawn = torch.randint(vocab_size, (count, length), generator=torch.Generator().manual_seed(4))
    texts: list[list[int]] = drawn.tolist()
    return texts


def training_plan(directory: Path, data: Path, config: dict[str, Any] = CONFIG, **changes: Any) -> TrainingPlan:
    """Return the plan of a short run; its results go to a directory of that name."""
    values: dict[str, Any] = {
        "model": ModelPlan(config, None), "model_name": "small", "home": None, "is_built_in": False,
        "layers": (2, 1, 1), "anchors": (0, 2, 3), "draft_layers": 1, "draft_vocab": None, "init_from_layers": None,
        "data": data, "held_out": 0.2, "sequence_length": 32, "steps": 4, "epochs": None, "accumulate": 1,
        "learning_rate": 1e-2, "warm_up": None, "seed": 0, "layout": "per_depth", "every": 1000, "dtype": "float32",
        "expected_acceptance": 0.75, "device": "cpu", "threads": 1, "out": directory,
    }  # fmt: skip
    return TrainingPlan(**(values | changes))


def run(
    plan: TrainingPlan,
    *,
    resume: bool = False,
    stop_after: int | None = None,
    ranks: Ranks = ALONE,
    tell: Callable[[Event], None] = lambda event: None,
) -> Outcome:
    """Train; stop_after: so many steps of this session."""
    asked = iter(range(1, 1_000_000))
    return train(plan, ranks, tell, lambda: next(asked) == stop_after, resume=resume)


def weights(directory: Path) -> dict[str, Tensor]:
    """Return what a run has trained."""
    return load_file(directory / "draft.safetensors")


def periodic_target(directory: Path) -> ModelPlan:
    """Write a target without attention: what it says depends on the last token alone, so that its text repeats.

    With these weights it goes round six of its sixteen tokens, wherever it begins.
    """
    config = {**CONFIG, "vocab_size": 16}
    write_model(directory, config, 7)
    tensors = load_file(directory / "model.safetensors")
    for name, tensor in tensors.items():
        if name.endswith("o_proj.weight"):
            tensor.zero_()
    # Decided, so that learning need not be exact.
    tensors["lm_head.weight"] *= 3.0
    save_file(tensors, directory / "model.safetensors", metadata={"format": "pt"})
    return ModelPlan(config, directory)


def periodic_texts(model: ModelPlan, length: int) -> list[list[int]]:
    """Return what a periodic target says once it repeats itself, from each of its sixteen tokens on."""
    assert model.directory is not None
    cpu = torch.device("cpu")
    teacher = Teacher(read_architecture(model.config), Checkpoint(model.directory), (0,), 1, cpu, torch.float32)
    after = [int(teacher.logits(teacher(torch.tensor([token])).hidden_TH).argmax()) for token in range(16)]
    texts = [[token] for token in range(16)]
    for text in texts:
        while len(text) < 16 + length:
            text.append(after[text[-1]])
    return [text[16:] for text in texts]


def as_rank(plan: TrainingPlan, rank: int, size: int, port: int) -> None:
    """Train as one of several processes, as torchrun starts them."""
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "RANK": str(rank), "WORLD_SIZE": str(size)}
    torch.set_num_threads(1)
    with joined(rank, size, rank, "cpu") as ranks:
        run(plan, ranks=ranks)


def in_processes(plan: TrainingPlan, size: int) -> list[int | None]:
    """Train in so many processes; return their exit codes."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.training_runs"])
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    processes = [context.Process(target=as_rank, args=(plan, rank, size, port), daemon=True) for rank in range(size)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        process.kill()
    codes = [process.exitcode for process in processes]
    for process in processes:
        process.close()
    return codes
