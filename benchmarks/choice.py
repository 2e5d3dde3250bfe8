"""How long it takes to be told which method, and which cut: `spdsim compare` and `spdsim plan`. Prints a table.

    python benchmarks/choice.py [--repeats 3]

Each command is a process of its own, start-up included; figures are medians. The intervals are those that the
comparison reports, half of the widest over its time per token.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter

ROOT = Path(__file__).resolve().parent.parent
H100X8 = ROOT / "scenarios" / "h100x8.yaml"
TARGETS = "targets: compare at most 10 s with intervals within 1 %, plan at most 60 s"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Measure the commands that compare.")
    parser.add_argument("--repeats", type=int, default=3, help="repeats of each row (default 3)")
    repeats = parser.parse_args().repeats
    with TemporaryDirectory() as directory:
        document = Path(directory) / "compare.json"
        seconds = wall_s(["compare", str(H100X8), "--quiet", "--json", str(document)], repeats)
        rows = json.loads(document.read_text())["methods"]
    times_s = [(row["time_per_token_s"], row["time_per_token_s_high"]) for row in rows]
    widest = max((high_s or mean_s) / mean_s - 1 for mean_s, high_s in times_s)
    print(f"compare h100x8, {len(rows)} methods and crossovers: {seconds:.1f} s, intervals within {widest * 100:.2f} %")
    print(f"plan h100x8, 8 devices: {wall_s(['plan', str(H100X8), '--devices', '8', '--quiet'], repeats):.1f} s")
    print(TARGETS)


def wall_s(words: Sequence[str], repeats: int) -> float:
    """Return the median wall time of a command of spdsim."""
    seconds = []
    for _ in range(repeats):
        begin_s = perf_counter()
        subprocess.run([sys.executable, "-m", "spdsim", *words], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        seconds.append(perf_counter() - begin_s)
    return median(seconds)


if __name__ == "__main__":
    main()
