"""What acceptance depends on: modules that differ in one thing each, on the model of `make demo-train`. Prints a table.

    python -m benchmarks.drafts DEMO [--steps 600] [--jobs 2] [--json FILE]

DEMO: the directory of `spdsim-exec demo-train`: its model, text and prompts. Each module is trained for as many steps
of 256 tokens, one thread each, `--jobs` at a time; then all are measured on the model's own continuations of the
prompts, offline, which for greedy decoding gives the verdicts of the pipeline. What is trained is kept beside the demo.
"""

import argparse
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
    if options.json:
        document = {"origin": "measured", "steps": options.steps, "tokens": tokens, "rows": rows}
        options.json.write_text(json.dumps(document, indent=2) + "\n")


def measured(case: Case, demo: Path, steps: int) -> list[dict[str, Any]]:
    """Return the rows of a case."""
    home = demo / "experiments" / f"{case.name.replace(', ', '-').replace(' ', '-')}-{steps}-steps"
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
