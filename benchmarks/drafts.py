"""What acceptance depends on: modules that differ in one thing each, on the model of `make demo-train`. Prints a table.

    python -m benchmarks.drafts DEMO [--steps 600] [--jobs 2] [--json FILE]

DEMO: the directory of `spdsim-exec demo-train`: its model, text and prompts. Each module is trained for as many steps
of 256 tokens, one thread each, `--jobs` at a time; then all are measured on the model's own continuations of the
prompts, offline, which for greedy decoding gives the verdicts of the pipeline. What is trained is kept beside the demo.

Where types of features serve several depths, a second table says how far a layout with one block for each type, which
costs less to train with, is from decoding: on held-out text, how often the likeliest token of both is the same, and how
far apart their logits are beside the logits' own standard deviation. What has one depth for each type has no gap.
"""

import argparse
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from executor.draft.checkpoint import read
from executor.draft.cut import Cut
from executor.draft.shape import draft_layer
from executor.model.architecture import read_architecture
from executor.model.weights import Checkpoint
from executor.training.student import Student
from executor.training.teacher import Teacher

SEQUENCE_LENGTH, LEARNING_RATE, NUM_LAYERS = 256, 3e-3, 8


@dataclass(frozen=True, slots=True)
class Case:
    """A module: the options that tell it from others, and the numbers of stages that it is measured with."""

    name: str
    stages: int
    draft_layers: int
    options: tuple[str, ...] = ()
    measured: tuple[int, ...] = ()


CASES = (
    *(Case(f"{n} stages, {layers} layer{'s' * (layers > 1)}", n, layers) for layers in (1, 2) for n in (2, 4)),
    Case("8 stages, 1 layer", 8, 1),
    Case("8 stages, 2 layers", 8, 2, measured=(2, 4, 8)),
    Case("8 stages, 2 layers, random first weights", 8, 2, ("--random-first",)),
    Case("8 stages, 2 layers, fills as published", 8, 2, ("--fills", "published")),
    Case("8 stages, 2 layers, 3 anchors, per depth", 8, 2, ("--anchors", "0,4,8")),
    Case("8 stages, 2 layers, 3 anchors, per type", 8, 2, ("--anchors", "0,4,8", "--layout", "per_type")),
)


def main() -> None:
    """Train what is not there, measure all, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("demo", type=Path, help="directory of spdsim-exec demo-train")
    parser.add_argument("--steps", type=int, default=600, help="of each module (default 600)")
    parser.add_argument("--jobs", type=int, default=2, help="modules that are trained at a time (default 2)")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    options = parser.parse_args()
    with ThreadPoolExecutor(options.jobs) as pool:
        rows = [row for of_case in pool.map(lambda case: measured(case, options.demo, options.steps), CASES)
                for row in of_case]  # fmt: skip
    tokens = options.steps * SEQUENCE_LENGTH
    print(f"each trained on {tokens:,} tokens; acceptance on the model's own continuations, with its 95 % interval\n")
    print(f"{'module':<44}{'run with':>9}{'accepted':>10}{'':>18}{'fill 1':>8}{'full':>8}{'tokens/s':>10}")
    for row in rows:
        low, high = row["interval"]
        print(f"{row['module']:<44}{row['stages']:>9}{row['accepted']:>10.1%}{f'{low:.1%} to {high:.1%}':>18}"
              f"{row['fill_1']:>8.1%}{row['full']:>8.1%}{row['tokens_per_s']:>10,.0f}")  # fmt: skip
    gaps = [gap for case in CASES if "--anchors" in case.options for gap in gaps_of(case, options.demo, options.steps)]
    print(
        f"\none block for each type, beside decoding\n{'module':<44}{'fill':>5}{'same token':>12}{'logits apart':>14}"
    )
    for gap in gaps:
        print(f"{gap['module']:<44}{gap['fill']:>5}{gap['same']:>12.1%}{gap['apart']:>14.2f}")
    if options.json:
        document = {"origin": "measured", "steps": options.steps, "tokens": tokens, "rows": rows, "gaps": gaps}
        options.json.write_text(json.dumps(document, indent=2) + "\n")


def measured(case: Case, demo: Path, steps: int) -> list[dict[str, Any]]:
    """Return the rows of a case."""
    home = home_of(case, demo, steps)
    facts, found = home / "training.json", home / "acceptance.json"
    if not facts.exists():
        given = [option for option in case.options if option != "--random-first"]
        first = (
            [0, *range(NUM_LAYERS - case.draft_layers + 1, NUM_LAYERS)] if case.draft_layers > 1 else [NUM_LAYERS - 1]
        )
        if given == list(case.options):
            given += ["--init-from-layers", ",".join(map(str, first))]
        home.parent.mkdir(exist_ok=True)
        run(
            "train-draft", "--model", demo / "model", "--data", demo / "train.jsonl", "--held-out",
            demo / "held-out.jsonl", "--stages", case.stages, "--draft-layers", case.draft_layers, "--steps", steps,
            "--every", steps, "--sequence-length", SEQUENCE_LENGTH, "--learning-rate", LEARNING_RATE, "--out", home,
            "--json", home.with_suffix(".json"), "--force", "--quiet", *given,
        )  # fmt: skip
        home.with_suffix(".json").rename(facts)
    stages = case.measured or (case.stages,)
    run(
        "acceptance", "--model", demo / "model", "--draft", home, "--prompts", demo / "prompts.jsonl", "--offline",
        "--stages", ",".join(map(str, stages)), "--max-new-tokens", 48, "--ignore-end-tokens", "--json", found,
        "--quiet",
    )  # fmt: skip
    speed = json.loads(facts.read_text())["tokens_per_s"]
    return [_row(case, result, speed) for result in json.loads(found.read_text())["results"]]


def home_of(case: Case, demo: Path, steps: int) -> Path:
    """Return the directory of a module."""
    return demo / "experiments" / f"{case.name.replace(', ', '-').replace(' ', '-')}-{steps}-steps"


@torch.inference_mode()
def gaps_of(case: Case, demo: Path, steps: int) -> list[dict[str, Any]]:
    """Return, by the number of tokens in flight, how far the layout of blocks per type is from decoding."""
    saved = read(home_of(case, demo, steps))
    architecture = read_architecture(json.loads((demo / "model" / "config.json").read_text()))
    cpu, float32, anchors = torch.device("cpu"), torch.float32, saved.config.anchors
    assert saved.config.stage_layers is not None
    shape = saved.shape_for(
        Cut(saved.config.stage_layers, anchors), draft_layer(architecture.layers[0]), architecture.vocab_size
    )
    teacher = Teacher(architecture, Checkpoint(demo / "model"), anchors, SEQUENCE_LENGTH, cpu, float32)
    student = Student(shape, architecture.rotary, teacher.norm, cpu, float32)
    student.load_state_dict(dict(saved.tensors))
    texts = [json.loads(line)["text"].encode() for line in (demo / "held-out.jsonl").read_text().splitlines()]
    lessons = [teacher(torch.tensor(list(text[:SEQUENCE_LENGTH]))) for text in texts]
    found = []
    for fill in range(1, case.stages + 1):
        exact, by_type = (
            torch.cat([student.logits(student(each.features_TF, fill, per_depth=is_exact)) for each in lessons])
            for is_exact in (True, False)
        )
        same = (exact.argmax(-1) == by_type.argmax(-1)).float().mean()
        apart = (exact - by_type).square().mean().sqrt() / exact.std(-1).mean()
        found.append({"module": case.name, "fill": fill, "same": same.item(), "apart": apart.item()})
    return found


def _row(case: Case, result: dict[str, Any], tokens_per_s: float) -> dict[str, Any]:
    depths = result["by_fill_depth"]
    return {
        "module": case.name, "stages": result["num_stages"], "accepted": result["acceptance_probability"]["mean"],
        "interval": result["interval_over_sequences"], "fill_1": depths[0]["mean"], "full": depths[-1]["mean"],
        "tokens_per_cycle": result["tokens_per_cycle"], "tokens_per_s": tokens_per_s,
    }  # fmt: skip


def run(command: str, *words: object) -> None:
    """Run a command of the executor on one thread."""
    line = [sys.executable, "-m", "executor", command, *map(str, words), "--threads", "1"]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"benchmarks/drafts.py: {' '.join(line)}:\n{done.stderr}")


if __name__ == "__main__":
    main()
