"""What the executor reaches on one GPU, with random weights in bf16: bandwidth, cycles, overhead. Prints tables.

    python -m benchmarks.gpu [--json FILE] [--rounds 3] [--new-tokens 256]

plain decoding: bytes of weights read for each token over the time of a token, as a share of the bandwidth of a large
copy on the device (bytes read plus bytes written per second). Targets: 70 % at the size of 8B, 60 % at that of 4B.
speculation: all stages, the draft module and the LM head on the one GPU; the cycle over the sum of what is computed in
it (target: within 10 %), and the rest, the overhead (target: 0.15 ms). Eager mode beside it.
Figures are medians over rounds; everything that is compared runs in turn within a round.
"""

import argparse
import json
import sys
from pathlib import Path
from statistics import median
from typing import Any

import torch

from executor.launch.processes import launch
from executor.planning import Request, plan_run, this_place
from executor.worker.channels import DTYPES

MODELS = {"llama-3.1-8b": 0.70, "qwen3-4b": 0.60}
"""Catalogue name, and the share of the copy bandwidth that plain decoding is to reach."""
STAGES = 4
_GIB = 2**30


def main() -> None:
    """Print the tables, and write them as JSON where asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the figures here too")
    parser.add_argument("--rounds", type=int, default=3, help="rounds (default 3)")
    parser.add_argument("--new-tokens", type=int, default=256, help="tokens decoded in each run (default 256)")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("benchmarks/gpu.py: there is no CUDA device here: must be run where there is one")
    copy = median(copy_bytes_per_s() for _ in range(options.rounds))
    document: dict[str, Any] = {
        "origin": "measured", "device": torch.cuda.get_device_name(), "torch": torch.__version__,
        "cuda": torch.version.cuda, "python": sys.version.split()[0], "rounds": options.rounds,
        "new_tokens": options.new_tokens, "copy_bytes_per_s": copy, "models": {},
    }  # fmt: skip
    print(f"{document['device']}, torch {torch.__version__}, CUDA {torch.version.cuda}; copy {copy / 1e12:.2f} TB/s")
    for name, target in MODELS.items():
        rounds = [measure(name, options.new_tokens) for _ in range(options.rounds)]
        figures = {key: median(each[key] for each in rounds) for key in rounds[0]}
        document["models"][name] = figures
        share = figures["plain_read_bytes_per_s"] / copy
        print(f"\n{name}: plain decoding {figures['plain_token_s'] * 1e3:.2f} ms a token, "
              f"{share:.0%} of the copy bandwidth (target {target:.0%}); "
              f"eager {figures['eager_plain_token_s'] * 1e3:.2f} ms")  # fmt: skip
        for prefix, title in (("", "CUDA graphs"), ("eager_", "eager")):
            cycle, compute = figures[f"{prefix}cycle_s"], figures[f"{prefix}compute_s"]
            print(f"  {STAGES} stages, {title}: cycle {cycle * 1e3:.3f} ms, computed {compute * 1e3:.3f} ms: "
                  f"ratio {cycle / compute:.3f} (target 1.10), beside it {(cycle - compute) * 1e3:.3f} ms "
                  "(target 0.15)")  # fmt: skip
    if options.json:
        options.json.write_text(json.dumps(document, indent=2) + "\n")


def copy_bytes_per_s(num_bytes: int = 4 * _GIB, repeats: int = 10) -> float:
    """Return the bytes read and written per second by a large copy within the device."""
    source = torch.empty(num_bytes, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
    target.copy_(source)
    start.record()
    for _ in range(repeats):
        target.copy_(source)
    end.record()
    torch.cuda.synchronize()
    seconds: float = start.elapsed_time(end) * 1e-3
    return 2 * num_bytes * repeats / seconds


def measure(model: str, new_tokens: int) -> dict[str, float]:
    """Return the figures of one round."""
    figures: dict[str, float] = {}
    for launch_mode, prefix in (("cuda_graph", ""), ("eager", "eager_")):
        plain = _run(model, new_tokens, launch_mode, stages=1)
        figures[f"{prefix}plain_token_s"] = plain["token_s"]
        together = _run(model, new_tokens, launch_mode, stages=STAGES)
        figures[f"{prefix}cycle_s"], figures[f"{prefix}compute_s"] = together["cycle_s"], together["compute_s"]
        if not prefix:
            figures["plain_read_bytes_per_s"] = plain["read_bytes"] / plain["token_s"]
    return figures


def _run(model: str, new_tokens: int, launch_mode: Any, stages: int) -> dict[str, float]:
    """Decode once to warm up and once to measure; the second sequence is looked at."""
    request = Request(
        model=model, random_weights=True, stages=stages, device="cuda", backend="local", dtype="bfloat16",
        launch=launch_mode, draft="forced:p=0.8" if stages > 1 else None, prompt_tokens=128, max_new_tokens=new_tokens,
        ignore_end_tokens=True, sequences=2, is_recorded=stages > 1,
    )  # fmt: skip
    run = plan_run(request, this_place())
    torch.cuda.empty_cache()
    outcome = launch(run.plan, run.jobs, lambda _: None)
    result = outcome.results[-1]
    decode_s = result.end_s - result.first_token_s
    target = run.plan.scenario.model
    # Every weight but the embedding table, of which a token reads one row; the LM head is read even where it is tied.
    layers = sum(layer.weight_bytes for layer in target.layers)
    read_bytes = float(layers + target.vocab_size * target.hidden_size * DTYPES[run.plan.dtype].itemsize)
    compute_s = sum(
        span.end_s - span.start_s
        for report in outcome.reports if report.spans.num_sequences
        for span in report.spans.spans(report.spans.num_sequences - 1)
        if span.peer is None and span.cycle >= 0 and span.op != "commit"
    )  # fmt: skip
    cycles = max(result.num_cycles, 1)
    return {
        "token_s": decode_s / (len(result.tokens) - 1), "read_bytes": read_bytes, "cycle_s": decode_s / cycles,
        "compute_s": compute_s / cycles,
    }  # fmt: skip


if __name__ == "__main__":
    main()
