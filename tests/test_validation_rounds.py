"""Drafts in rounds with an engine's published step costs: the simulator against the closed form, and the page's table.

Costs: vLLM, Llama-3.1-8B on one H100 (SpecDecode-Bench, arXiv:2601.11580). A step takes 5.886 ms, 21.0 us for each
batched token, 39.3 ns for each cached token, and 1.207 ms of the scheduler's; a pass of the EAGLE head 2.135 ms.
"""

import re
from functools import cache
from itertools import pairwise

import pytest

from spdsim import theory
from spdsim.acceptance import Coins
from spdsim.distributions import Constant
from spdsim.engine import Request, decode_all
from spdsim.machine import Duration, Machine, Message, Worker
from spdsim.schedules import rounds
from spdsim.trace import Trace, TraceHeader, WorkerInfo
from tests.published import ROOT

STEP_S, ROW_S, CACHED_S, SCHEDULER_S, DRAFT_S = 5.886e-3, 21.0e-6, 39.3e-9, 1.207e-3, 2.135e-3
PROMPT, TOKENS = 500, 6000

PAGE = ROOT / "docs" / "explanation" / "validation.md"


def machine(drafts: int, *, draft_s: float, forward: Duration, commit_s: float = 0.0) -> Machine:
    """Return one device on which a drafter and the target take turns."""
    layout = rounds.Layout(drafts)
    free = Constant(0.0)
    here = Message(None, 0, 0, free, free)
    tasks = {
        (0, "draft"): Duration(Constant(draft_s)), (0, "commit"): Duration(Constant(commit_s)),
        (0, "prefill"): Duration(free), (1, "prefill"): Duration(free), (1, "verify"): Duration(free),
        (1, "forward"): forward, (1, "rollback"): Duration(free),
    }  # fmt: skip
    return Machine(
        layout=layout, workers=(Worker(0, "draft", 0), Worker(1, "stage", 0)), devices=("gpu",), sharing="turns",
        tasks=tasks,  # type: ignore[arg-type]
        links=(), messages={("draft", 0, 1): here, ("verdict", 1, 0): here}, prompt_tokens=PROMPT, schedule=rounds,
    )  # fmt: skip


def committed_s(made: Machine, coins: list[Coins], num_tokens: int) -> list[list[float]]:
    """Return when each token of each sequence was committed."""
    workers = tuple(WorkerInfo(w.index, w.role, made.devices[w.device]) for w in made.workers)
    found = []
    for number, each in enumerate(coins):
        trace = Trace(TraceHeader("simulator", "rounds", 1, 0, workers))
        assert list(decode_all(made, trace, [[Request(number, num_tokens, each)]], 0))
        ends = zip(trace.site, trace.end_s, strict=True)
        found.append([end_s for site, end_s in ends if trace.sites[site].op == "commit"])
    return found


def vllm(drafts: int) -> Machine:
    """Return vLLM on an H100 with rounds of so many drafts."""
    fixed_s = STEP_S + SCHEDULER_S + ROW_S * (drafts + 1)
    return machine(drafts, draft_s=DRAFT_S, forward=Duration(Constant(fixed_s), CACHED_S))


def law_s(drafts: int, acceptance: float) -> float:
    """Return seconds of a token by the closed form, at the mean context of the runs."""
    step_s = STEP_S + SCHEDULER_S + ROW_S * (drafts + 1) + CACHED_S * (PROMPT + TOKENS / 2.0)
    return (drafts * DRAFT_S + step_s) / theory.accept_length(acceptance, drafts)


def verdicts_of(drafts: int, acceptance: float) -> list[bool]:
    """Return verdicts by position with which a draft is accepted so often, whatever came before it.

    The tosses of the rounds are spread evenly (multiples of the golden ratio), so that few rounds give the mean.
    """
    found, number = [True], 0
    while len(found) <= TOKENS:
        number += 1
        toss = (number * 0.6180339887498949) % 1.0
        accepted = next((k for k in range(drafts) if toss >= acceptance ** (k + 1)), drafts)
        found += [True] * accepted + [False]
    # A round that accepts all drafts ends with a token of the target's own, whose verdict nobody asks for.
    return found + [False] * (drafts + 2)


@cache
def simulated_s(drafts: int, acceptance: float) -> float:
    """Return seconds of a token of vLLM."""
    (times,) = committed_s(vllm(drafts), [Coins(verdicts_of(drafts, acceptance))], TOKENS)
    return (times[-1] - times[0]) / (TOKENS - 1)


def table() -> list[tuple[int, float, float, float]]:
    """Return the page's table: drafts a round, acceptance, tokens/s by simulation and by the closed form."""
    text = PAGE.read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \| (0\.\d+) \| ([\d.]+) \| ([\d.]+) \| [+-][\d.]+ % \|$", text, re.MULTILINE)
    return [(int(drafts), float(p), float(ran), float(said)) for drafts, p, ran, said in rows]


def test_the_simulator_meets_the_closed_form_within_one_per_cent() -> None:
    """Few drafts and many, seldom and often accepted; and the page says what comes out."""
    shown = table()
    assert [(drafts, p) for drafts, p, _, _ in shown] == [(g, p) for g in (1, 3, 7) for p in (0.5, 0.7, 0.9)]
    for drafts, acceptance, ran, said in shown:
        token_s = simulated_s(drafts, acceptance)
        assert token_s == pytest.approx(law_s(drafts, acceptance), rel=0.01)
        assert (round(1.0 / token_s, 1), round(1.0 / law_s(drafts, acceptance), 1)) == (ran, said)


@pytest.mark.parametrize(("drafts", "accepted"), [(1, 0), (1, 1), (3, 0), (3, 2), (3, 3), (7, 4)])
def test_a_round_takes_its_drafts_and_a_step(drafts: int, accepted: int) -> None:
    """Where each round accepts as many, to the nanosecond: the draft passes, and a step at the round's context."""
    period = accepted + 1
    # Position q opens a round where q - 1 is a multiple of the tokens of one.
    verdicts = [False] + [position % period != 0 for position in range(1, 60 * period)]
    if accepted == drafts:
        verdicts = [True] * len(verdicts)
    (times,) = committed_s(vllm(drafts), [Coins(verdicts)], 30 * period + 1)
    rounds_s = [after - before for before, after in pairwise(times[::period])]
    fixed_s = drafts * DRAFT_S + STEP_S + SCHEDULER_S + ROW_S * (drafts + 1)
    expected = [fixed_s + CACHED_S * (PROMPT + number * period) for number in range(len(rounds_s))]
    assert rounds_s == pytest.approx(expected, abs=2e-7)
    assert rounds_s[-1] > rounds_s[0]
