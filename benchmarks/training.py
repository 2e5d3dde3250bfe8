"""What training a draft module costs: tokens a second, beside a pass of the target over the same text. Prints a table.

    python -m benchmarks.training [--device cpu|cuda] [--model NAME] [--tokens 512] [--rounds 5] [--json FILE]

A step is the target's pass, the module's forward and backward pass, and the optimiser's step, at a full pipeline; it
is timed in turn with the target's pass alone, and figures are medians over rounds. Weights are random. On a CPU the
target is the executor's small Llama, on a GPU a shape of the catalogue, in bfloat16. Memory is that which a step adds,
beside what a stored mask of all rows of a text against all others would take.
"""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import torch

from executor.draft.cut import Cut
from executor.draft.shape import DraftShape, draft_layer
from executor.model.architecture import Architecture, read_architecture
from executor.model.small import small_config
from executor.model.weights import RandomWeights
from executor.planning.config import config_of
from executor.training.loss import distillation
from executor.training.student import Student
from executor.training.teacher import Teacher
from spdsim import load_scenario

STAGES, DRAFT_LAYERS = (2, 4, 8), 2


def main() -> None:
    """Print the table, and write it as JSON where asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="where (default cpu)")
    parser.add_argument("--model", default="qwen3-4b", help="on a GPU, of the catalogue (default qwen3-4b)")
    parser.add_argument("--tokens", type=int, help="of a text (default 512 on a CPU, 2048 on a GPU)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds (default 5)")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    options = parser.parse_args()
    device = torch.device(options.device)
    is_cuda = device.type == "cuda"
    if is_cuda and not torch.cuda.is_available():
        sys.exit("benchmarks/training.py: there is no CUDA device here: must be run where there is one")
    num_tokens = options.tokens or (2048 if is_cuda else 512)
    target = read_architecture(_config(options.model) if is_cuda else small_config(256, 8))
    dtype = torch.bfloat16 if is_cuda else torch.float32
    rows = [_measured(target, stages, num_tokens, options.rounds, device, dtype) for stages in STAGES]
    name = torch.cuda.get_device_name() if is_cuda else f"CPU, {torch.get_num_threads()} threads"
    model = options.model if is_cuda else "small Llama, hidden 256, 8 layers"
    print(f"{name}, torch {torch.__version__}; {model}; texts of {num_tokens} tokens, {DRAFT_LAYERS} draft layers")
    print(f"{'stages':>6}{'layout':>12}{'tokens/s':>12}{'step / target pass':>20}{'memory MiB':>12}{'a mask MiB':>12}")
    for figures in (each for of_stages in rows for each in of_stages):
        print(f"{figures['stages']:>6}{figures['layout']:>12}{figures['tokens_per_s']:>12,.0f}"
              f"{figures['of_target_pass']:>20.2f}{_mib(figures['memory_bytes']):>12}"
              f"{_mib(figures['mask_bytes']):>12}")  # fmt: skip
    if options.json:
        document = {"origin": "measured", "device": name, "torch": torch.__version__, "model": model,
                    "tokens": num_tokens, "draft_layers": DRAFT_LAYERS, "rounds": options.rounds,
                    "rows": [each for of_stages in rows for each in of_stages]}  # fmt: skip
        options.json.write_text(json.dumps(document, indent=2) + "\n")


def _measured(
    target: Architecture, stages: int, num_tokens: int, rounds: int, device: torch.device, dtype: torch.dtype
) -> list[dict[str, Any]]:
    """The figures of both layouts. Anchors as in the published runs: five, or one for each depth where that is less."""
    num_layers = target.num_layers
    count = min(5, stages + 1)
    anchors = tuple(round(index * num_layers / (count - 1)) for index in range(count))
    cut = Cut(tuple(num_layers * (i + 1) // stages - num_layers * i // stages for i in range(stages)), anchors)
    teacher = Teacher(target, RandomWeights(0), cut.anchors, num_tokens, device, dtype)
    layer = draft_layer(target.layers[0])
    student = Student(DraftShape(cut, layer, DRAFT_LAYERS, target.vocab_size), target.rotary, teacher.norm, device)
    student.initialise(0)
    optimizer = torch.optim.AdamW(student.parameters(), lr=1e-5)
    tokens_T = torch.randint(min(target.vocab_size, 256), (num_tokens,), device=device)

    def step(per_depth: bool) -> None:
        lesson = teacher(tokens_T)
        with torch.autocast(device.type, torch.bfloat16, enabled=dtype is torch.bfloat16):
            hidden_TH = student(lesson.features_TF, stages, per_depth)
            loss = distillation(student, hidden_TH, teacher, lesson, None, None)
        torch.autograd.backward(loss)
        optimizer.step()
        optimizer.zero_grad()

    def target_pass() -> None:
        lesson = teacher(tokens_T)
        teacher.logits(lesson.hidden_TH)

    found = []
    for per_depth in (True, False):
        step(per_depth)
        times = [(_timed(lambda: step(per_depth), device), _timed(target_pass, device)) for _ in range(rounds)]  # noqa: B023
        step_s, pass_s = (median(each) for each in zip(*times, strict=True))
        blocks = len(cut.types) if per_depth else len(set(cut.types))
        found.append({
            "stages": stages, "layout": "per depth" if per_depth else "per type", "anchors": list(cut.anchors),
            "step_s": step_s, "tokens_per_s": num_tokens / step_s, "of_target_pass": step_s / pass_s,
            "memory_bytes": _added_bytes(lambda: step(per_depth), device),  # noqa: B023
            "mask_bytes": (blocks * num_tokens) ** 2,
        })  # fmt: skip
    return found


def _timed(run: Callable[[], None], device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize()
    start_s = perf_counter()
    run()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return perf_counter() - start_s


def _added_bytes(run: Callable[[], None], device: torch.device) -> int | None:
    """The most memory that a run takes beyond what is there; None where it is not counted."""
    if device.type != "cuda":
        return None
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    run()
    return torch.cuda.max_memory_allocated() - before


def _mib(num_bytes: int | None) -> str:
    return "-" if num_bytes is None else f"{num_bytes / 2**20:,.0f}"


def _config(name: str) -> dict[str, Any]:
    return config_of(load_scenario("scenarios/h100x8.yaml", [f"model={name}"]).model)


if __name__ == "__main__":
    main()
