"""What the executor reaches on CPUs: two stages against one process, the cost of orchestration, memory. Prints tables.

    python benchmarks/executor.py [decoding] [orchestration] [memory] [--rounds 3] [--hidden-size 1024] [--layers 40]
                                 [--dtype float32]

All that is compared runs in turn within each round, in floats of one kind; figures are medians over rounds, ratios are
medians of ratios within a round. So a busy machine moves both sides. Run it on an idle machine with two cores.

decoding: a small Llama with random weights, two stages as processes over gloo, drafts forced right (p = 1), one
thread each. "unpipelined" is plain decoding over the same two processes; `transformers` runs the same weights.
Free drafts are forced right, too, and no module runs: a draft that costs nothing, and one more token in flight.
Beside it, how many times as fast two processes multiply by such weights as one does, at moments of their own: about
what a pipeline of two can gain over one process. Over the same stages in turn it can be more, for those pay for hops.
orchestration: n = 8 stages of 5 ms each, emulated, drafts of 1 ms.
memory: resident bytes while 4,000 tokens are decoded.
"""

import argparse
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import torch

# This file has the name of the package, and Python looks for it here first.
sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != Path(__file__).resolve().parent]

from executor import memory  # noqa: E402
from executor.events import Event, TokenVerified  # noqa: E402
from executor.launch.processes import launch  # noqa: E402
from executor.model.small import small_config, write_model  # noqa: E402
from executor.plan import JobResult  # noqa: E402
from executor.planning import Request, plan_run, this_place  # noqa: E402

NEW_TOKENS = 48
PROFILE = """
format: spd-profile
version: 1
origin: assumed
source: chosen for this benchmark
forward: 5e-3
draft: 1e-3
verify: 0.0
"""


def main() -> None:
    """Print the tables that were asked for; all of them without a name."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", help="decoding, orchestration, memory; all without a name")
    parser.add_argument("--rounds", type=int, default=3, help="rounds (default 3)")
    parser.add_argument("--hidden-size", type=int, default=1024, help="of the small Llama (default 1024)")
    parser.add_argument("--layers", type=int, default=40, help="of the small Llama (default 40)")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32", help="(default float32)")
    options = parser.parse_args()
    print(f"Python {sys.version.split()[0]}, torch {torch.__version__}, medians of {options.rounds} rounds")
    parts: dict[str, Callable[[argparse.Namespace], None]] = {
        "decoding": decoding, "orchestration": orchestration, "memory": memory_of_tokens,
    }  # fmt: skip
    for name in options.parts or parts:
        parts[name](options)


# Decoding.


def decoding(options: argparse.Namespace) -> None:
    """Compare the pipeline with the same two stages in turn, with one process, and with transformers."""
    with tempfile.TemporaryDirectory() as directory:
        model = Path(directory) / "model"
        config = small_config(options.hidden_size, options.layers, num_heads=8, num_kv_heads=4)
        write_model(model, config, seed=0)
        rounds, bounds = [], []
        for _ in range(options.rounds):
            bounds.append(_scaling(options.hidden_size, options.dtype))
            rounds.append(dict(_round(model, options.dtype)))
    bound = f"{median(bounds):.2f} times as fast as one"
    print(f"\ntwo processes multiply by weights {bound}: about what memory allows over one process")
    print(f"\nhidden {options.hidden_size}, {options.layers} layers, {options.dtype}: ms a token")
    for name in rounds[0]:
        print(f"  {name:58} {median(each[name] for each in rounds) * 1e3:8.1f}")
    for pipelined, plain, targets in (
        ("two stages, pipelined", "two stages, unpipelined", (1.6, 1.3, 1.5)),
        ("two stages, pipelined, lag 1", "two stages, unpipelined, lag 1", (None, 1.3, 1.5)),
        ("two stages, pipelined, lag 1, free drafts", "two stages, unpipelined, lag 1, free drafts", (1.9, 1.3, 1.5)),
    ):
        over = (
            plain,
            "one process, 1 thread",
            "transformers, 1 thread",
            "one process, 2 threads",
            "transformers, 2 threads",
        )
        print(f"{pipelined}: times as fast as")
        for other, target in zip(over, (*targets, None, None), strict=True):
            ratio = median(each[other] / each[pipelined] for each in rounds)
            print(f"  {other:58} {ratio:8.2f}" + (f"   target {target}" if target else ""))


def _round(model: Path, dtype: str) -> Iterator[tuple[str, float]]:
    """Seconds a token of everything that is compared."""
    pipeline = {
        "model": str(model),
        "stages": 2,
        "draft": "forced:p=1",
        "draft_layers": 1,
        "anchors": "2",
        "threads": 1,
        "dtype": dtype,
    }
    alone, together = _run(backend="gloo", **pipeline)
    yield "two stages, unpipelined", _token_s(alone)
    yield "two stages, pipelined", _token_s(together)
    for name, changes in (("lag 1", {}), ("lag 1, free drafts", {"draft": "free:p=1"})):
        alone, together = _run(backend="gloo", **pipeline | changes, verification_lag=1)
        yield f"two stages, unpipelined, {name}", _token_s(alone)
        yield f"two stages, pipelined, {name}", _token_s(together)
    for threads in (1, 2):
        plural = "s" if threads > 1 else ""
        yield (
            f"one process, {threads} thread{plural}",
            _token_s(_run(model=str(model), stages=1, threads=threads, dtype=dtype)[0]),
        )
        yield f"transformers, {threads} thread{plural}", _transformers_token_s(model, threads, dtype)


def _scaling(hidden_size: int, dtype: str) -> float:
    """How many times as fast two processes read weights as one."""
    context = multiprocessing.get_context("spawn")
    rates: list[float] = []
    for count in (1, 2):
        barrier, rate_of = context.Barrier(count), context.SimpleQueue()
        processes = [
            context.Process(target=_multiply, args=(hidden_size, dtype, barrier, rate_of)) for _ in range(count)
        ]
        for process in processes:
            process.start()
        rates.append(sum(rate_of.get() for _ in processes))
        for process in processes:
            process.join()
    return rates[1] / rates[0]


def _multiply(hidden_size: int, dtype: str, barrier: Any, rate_of: Any) -> None:
    """Multiply one row by many matrices, as decoding does, and tell how many passes a second that were."""
    torch.set_num_threads(1)
    kind = getattr(torch, dtype)
    weights = [torch.randn(4 * hidden_size, hidden_size).to(kind) for _ in range(40)]
    row = torch.randn(1, hidden_size).to(kind)
    barrier.wait()
    start_s = time.perf_counter()
    for _ in range(10):
        for weight in weights:
            torch.nn.functional.linear(row, weight)
    rate_of.put(10.0 / (time.perf_counter() - start_s))


def _run(**options: Any) -> Sequence[JobResult]:
    """Decode one sequence and return the results: plain decoding, and speculation where there are stages."""
    request = Request(prompt_ids="1,2,3,4", max_new_tokens=NEW_TOKENS, ignore_end_tokens=True, **options)
    run = plan_run(request, this_place())
    return launch(run.plan, run.jobs, lambda _: None).results


def _token_s(result: JobResult) -> float:
    return (result.end_s - result.first_token_s) / (len(result.tokens) - 1)


def _transformers_token_s(directory: Path, threads: int, dtype: str) -> float:
    from transformers import LlamaForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    torch.set_num_threads(threads)
    model: Any = LlamaForCausalLM.from_pretrained(directory, dtype=getattr(torch, dtype))
    prompt = torch.tensor([[1, 2, 3, 4]])

    def seconds(new_tokens: int) -> float:
        start_s = time.perf_counter()
        model.generate(
            prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=new_tokens, do_sample=False,
            eos_token_id=None, pad_token_id=0,
        )  # fmt: skip
        return time.perf_counter() - start_s

    seconds(2)
    # The prefill and what is set up once are in both.
    return (seconds(NEW_TOKENS) - seconds(1)) / (NEW_TOKENS - 1)


# Orchestration.


def orchestration(options: argparse.Namespace) -> None:
    """Print what a cycle takes beyond its slowest stage."""
    print("\nn = 8, emulated stages of 5 ms, drafts forced right: ms a cycle beyond the stage")
    with tempfile.TemporaryDirectory() as directory:
        profile = Path(directory) / "profile.yaml"
        profile.write_text(PROFILE)
        for backend, target in (("local", 0.3), ("socket", 1.0), ("gloo", 1.0)):
            for head, lag in (("draft_rank", 0), ("last_stage", 0), ("draft_rank", 1)):
                extra = [_overhead_s(str(profile), backend, head, lag) for _ in range(options.rounds)]
                name = f"{backend}, LM head on the {head.replace('_', ' ')}, lag {lag}"
                print(f"  {name:58} {median(extra) * 1e3:8.3f}   target {target}")


def _overhead_s(profile: str, backend: Any, head: Any, lag: int) -> float:
    request = Request(
        stages=8, emulate=profile, draft="forced:p=1", prompt_tokens=4, max_new_tokens=200, lm_head=head,
        verification_lag=lag, backend=backend, anchors="3", ignore_end_tokens=True,
    )  # fmt: skip
    run = plan_run(request, this_place())
    result = launch(run.plan, run.jobs, lambda _: None).results[-1]
    return (result.end_s - result.first_token_s) / result.num_cycles - 5e-3


# Memory.


def memory_of_tokens(_: argparse.Namespace) -> None:
    """Print resident bytes as tokens are decoded; all rows of the KV caches are there from the start."""
    cpu = torch.device("cpu")
    seen: dict[int, int] = {}

    def watch(event: Event) -> None:
        if isinstance(event, TokenVerified) and event.job == 1:
            seen[len(seen)] = 0 if len(seen) % 500 else memory.held_bytes(cpu)

    request = Request(
        stages=2, draft="forced:p=0.8", prompt_ids="1,2,3,4", max_new_tokens=4001, ignore_end_tokens=True, threads=1
    )
    run = plan_run(request, this_place())
    launch(run.plan, run.jobs, watch)
    print("\nresident memory while 4,000 tokens are decoded by speculation, after as many of plain decoding, MB")
    print("  " + "  ".join(f"{token}: {held / 1e6:.1f}" for token, held in seen.items() if held))
    print(f"  bytes a token from 500 to 4,000: {(seen[4000] - seen[500]) / 3500:.1f}")


if __name__ == "__main__":
    main()
