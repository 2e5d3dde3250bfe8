"""What a tree of drafts brings and what it costs, against a chain. Prints tables.

    python benchmarks/trees.py [acceptance] [cycles] [--tokens 1500] [--rounds 5]

acceptance: an invented source of text, whose next token depends on the last one and its place, and a draft that knows
its logits but for Gaussian errors. The executor's own bookkeeping grows and prunes the tree; cycles are the law's.
Greedily a draft is right if it is the likeliest token. Sampled, a chain is drawn and verified by the rejection rule,
which accepts sum min(p, q); a tree proposes the tokens that are likeliest with the noise by which the target draws.
"late" chooses a level after the verdict of its cycle, as a draft rank with the LM head does; "early" before it.
Nothing here says how often drafts of a trained module on real text are right.

cycles: a small Llama on this CPU, all workers in one process, drafts forced right: what a cycle takes with rows of
padding beside the right node, over what it takes with a chain. All widths run in turn within each round.
"""

import argparse
import sys
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from statistics import median

import numpy as np

# A file beside this one has the name of the package, and Python looks for it here first.
sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != Path(__file__).resolve().parent]

from executor.draft.tree import Child, Tree  # noqa: E402
from executor.planning import Request, plan_run, this_place  # noqa: E402
from executor.rank import run_local  # noqa: E402
from spdsim.theory import cycles  # noqa: E402

VOCAB, SHARPNESS = 64, 3.0
STAGES, WIDTHS = (2, 4, 8), (1, 2, 4, 8)


class Source:
    """Text in which a position and its token decide the next one's law, and a draft whose logits are off by `noise`."""

    def __init__(self, error: float, temperature: float) -> None:
        self._error, self._scale = error, 1.0 / (temperature or 1.0)
        self.is_greedy = temperature == 0.0
        self._laws = lru_cache(maxsize=4096)(self._new_laws)

    def _new_laws(self, before: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return log p, log q, and the noise by which a token is drawn, which the place alone decides."""
        rng = np.random.default_rng((7, *before))
        target = SHARPNESS * rng.standard_normal(VOCAB)
        draft = target + self._error * rng.standard_normal(VOCAB)
        p, q = (_log_softmax(self._scale * logits) for logits in (target, draft))
        noise = np.random.default_rng((9, before[0])).gumbel(size=VOCAB)
        return p, q, 0.0 * noise if self.is_greedy else noise

    def choose(self, before: tuple[int, int]) -> int:
        """Return what the target says next."""
        p, _, noise = self._laws(before)
        return int((p + noise).argmax())

    def children(self, before: tuple[int, int], count: int) -> list[Child]:
        """Return the tokens that the draft has for the likeliest, as `executor.worker.tree_roles` finds them."""
        _, q, noise = self._laws(before)
        scores = _log_softmax(q + noise)
        return [(float(scores[token]), int(token)) for token in np.argsort(-scores, kind="stable")[:count]]

    def accepts_chain(self, before: tuple[int, int]) -> float:
        """Return with which probability a draft of a chain is accepted."""
        p, q, _ = self._laws(before)
        return float(q.argmax() == p.argmax()) if self.is_greedy else float(np.minimum(np.exp(p), np.exp(q)).sum())


def main() -> None:
    """Print the tables that were asked for; both without a name."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", help="acceptance, cycles; both without a name")
    parser.add_argument("--tokens", type=int, default=1500, help="of each acceptance (default 1500)")
    parser.add_argument("--rounds", type=int, default=5, help="of cycles (default 5)")
    options = parser.parse_args()
    for part in options.parts or ("acceptance", "cycles"):
        {"acceptance": acceptance, "cycles": cycle_times}[part](options)


def acceptance(options: argparse.Namespace) -> None:
    """Print acceptance and tokens per cycle of chains and trees."""
    print(
        "temperature  draft's error  stages   acceptance: chain"
        + _heads("tree")
        + "   tokens per cycle: chain"
        + _heads("tree")
    )
    for temperature, error, stages in [(t, e, s) for t in (0.0, 1.0) for e in (1.0, 2.0) for s in STAGES]:
        source, accepted, speeds = Source(error, temperature), [], []
        for width in WIDTHS:
            p, speed = (chain if width == 1 else tree)(source, stages, width, options.tokens)
            accepted.append(p)
            speeds.append(speed)
        rows = "".join(f"{p:>9.3f}" for p in accepted), "".join(f"{speed:>9.2f}" for speed in speeds)
        print(f"{temperature:>11}  {error:>13}  {stages:>6}   {'':>12}{rows[0]}   {'':>17}{rows[1]}")
    print("\nthe level chosen before the verdict of its cycle (early) or after it (late), greedy, error 1, acceptance")
    for stages in STAGES:
        found = [tree(Source(1.0, 0.0), stages, 4, options.tokens, is_late=is_late)[0] for is_late in (False, True)]
        print(f"stages {stages}, width 4: early {found[0]:.3f}, late {found[1]:.3f}")


def _heads(what: str) -> str:
    return "".join(f"{f'{what} {width}':>9}" for width in WIDTHS[1:])


def chain(source: Source, stages: int, width: int, num_tokens: int) -> tuple[float, float]:
    """Return acceptance and tokens per cycle of a chain: each draft is verified given the right text before it."""
    rng, before, accepted = np.random.default_rng(1), (0, 1), []
    for _ in range(num_tokens):
        accepted.append(bool(rng.random() < source.accepts_chain(before)))
        # The text has the target's law whether its tokens were drafted or not.
        before = (before[0] + 1, source.choose(before))
    return _figures(accepted, stages)


def tree(source: Source, stages: int, width: int, num_tokens: int, *, is_late: bool = True) -> tuple[float, float]:
    """Return acceptance and tokens per cycle of a tree, grown and pruned as the executor does it."""
    grown, before = Tree(width), (0, 1)
    accepted: list[bool] = []
    grown.begin(before[1])
    contexts = [[before] * width]
    while len(accepted) < num_tokens:
        children = [source.children(each, width) for each in contexts[-1]]
        if is_fill := len(contexts) < stages or not is_late:
            contexts.append(_grow(grown, children, contexts[-1]))
        if is_fill and len(contexts) <= stages:
            continue
        token = source.choose(before)
        right = [node for node in grown.alive[1] if grown.levels[1].tokens[node] == token]
        before = (before[0] + 1, token)
        accepted.append(bool(right))
        if right:
            grown.keep(right[0])
            del contexts[0]
            if is_late:
                contexts.append(_grow(grown, children, contexts[-1]))
        else:
            grown.begin(token)
            contexts = [[before] * width]
    return _figures(accepted, stages)


def _grow(
    grown: Tree, children: Sequence[Sequence[Child]], contexts: Sequence[tuple[int, int]]
) -> list[tuple[int, int]]:
    level = grown.grow(children)
    nodes = zip(level.tokens, level.parents, strict=True)
    return [(contexts[parent][0] + 1, token) if parent >= 0 else (0, 0) for token, parent in nodes]


def _figures(accepted: Sequence[bool], stages: int) -> tuple[float, float]:
    rejections = len(accepted) - sum(accepted)
    return sum(accepted) / len(accepted), len(accepted) / cycles(len(accepted) + 1, rejections, stages)


def cycle_times(options: argparse.Namespace) -> None:
    """Print how long a cycle of the executor takes, over that of a chain."""
    seconds: dict[int, list[float]] = {width: [] for width in WIDTHS}
    for _ in range(options.rounds):
        for width in WIDTHS:
            request = Request(
                stages=4, draft="forced:p=1", draft_width=width, max_new_tokens=48, prompt_tokens=16, threads=1,
                backend="local",
            )  # fmt: skip
            run = plan_run(request, this_place())
            result = run_local(run.plan, run.jobs, lambda event: None).results[1]
            seconds[width].append((result.end_s - result.first_token_s) / result.num_cycles)
    print(f"\na cycle of all workers in turn, 4 stages, the built-in model, medians of {options.rounds} rounds")
    for width in WIDTHS:
        ratios = [own / one for own, one in zip(seconds[width], seconds[1], strict=True)]
        print(f"width {width}: {1e3 * median(seconds[width]):.2f} ms, {median(ratios):.2f} times a chain's")


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits - logits.max()
    return np.asarray(shifted - np.log(np.exp(shifted).sum()))


if __name__ == "__main__":
    main()
