"""Draft-then-verify, and plain decoding cut over devices: closed forms that their schedules reproduce."""

from itertools import product

import pytest

from spdsim.acceptance import Bernoulli, ByFillDepth
from spdsim.schedules import plain_pipeline, plain_tensor, rounds
from spdsim.schedules.grid import Script
from tests.rivals import decode_s, machine, num_cycles, run, scripts

NUM_TOKENS = 3000
VERIFY_S = 0.0625


def tokens_of_a_round(acceptance: float, draft_tokens: int) -> float:
    """Mean tokens, the target's own included: (1 - a^(g + 1)) / (1 - a)."""
    if acceptance == 1.0:
        return draft_tokens + 1.0
    return float((1.0 - acceptance ** (draft_tokens + 1)) / (1.0 - acceptance))


@pytest.mark.parametrize("draft_tokens", [1, 2, 3, 5])
def test_a_round_ends_at_its_first_rejection_or_with_a_token_of_the_targets_own(draft_tokens: int) -> None:
    """Counted by hand for every string of verdicts; tokens asked for may end a round early."""
    for length in range(9):
        for letters in product("AR", repeat=length):
            left, expected = "".join(letters), 0
            while left:
                looked_at = left[:draft_tokens]
                rejected_at = looked_at.find("R")
                left = left[draft_tokens + 1 :] if rejected_at < 0 else left[rejected_at + 1 :]
                expected += 1
            layout = rounds.Layout(draft_tokens)
            assert num_cycles(rounds, layout, Script("".join(letters))) == expected


@pytest.mark.parametrize("one_pass", [False, True])
@pytest.mark.parametrize("num_stages", [1, 3])
def test_a_round_takes_its_drafts_then_its_stages_then_its_verification(one_pass: bool, num_stages: int) -> None:
    """One pass is one draft however many tokens it gives; stages work one after another; each message is a hop."""
    layout = rounds.Layout(3, one_pass, reads_features=False, num_stages=num_stages)
    times_s = {"draft": 0.25, "forward": 1.0, "verify": VERIFY_S, "commit": 0.0}
    hop_s = 0.5
    drafts_s = 0.25 * (1 if one_pass else 3)
    # The drafts to the first stage, hidden states between stages, the verdict back.
    round_s = drafts_s + num_stages * 1.0 + VERIFY_S + (num_stages + 1) * hop_s
    for script in scripts(5):
        time_s = decode_s(machine(rounds, layout, hop_s, **times_s), script)
        assert time_s == num_cycles(rounds, layout, script) * round_s


def test_features_come_after_the_verdict_and_delay_the_next_drafts() -> None:
    """A head that reads the target's hidden states cannot draft without them."""
    layout, script = rounds.Layout(2, reads_features=True), Script("AAAAAAAAAAA")
    times_s = {"draft": 0.25, "forward": 1.0}
    both = [decode_s(machine(rounds, rounds.Layout(2, reads_features=reads), 0.5, **times_s), script)
            for reads in (False, True)]  # fmt: skip
    assert num_cycles(rounds, layout, script) == 4
    # They follow the verdict over the same link: every round waits for a message more, the first for the prompt's.
    assert both[1] - both[0] == (1 + 4) * 0.5


@pytest.mark.parametrize("acceptance", [0.0, 0.5, 0.8, 1.0])
@pytest.mark.parametrize(("draft_tokens", "one_pass"), [(1, False), (4, False), (4, True)])
def test_the_long_run_speedup_is_the_closed_form(acceptance: float, draft_tokens: int, one_pass: bool) -> None:
    """S = tau / (g c + v), and tau / (c + v) in one pass (arXiv:2211.17192); c and v in target steps."""
    one = machine(rounds, rounds.Layout(draft_tokens, one_pass), draft=0.125, forward=1.0, verify=VERIFY_S)
    report = run(one, NUM_TOKENS, Bernoulli(acceptance))
    assert report.speedup is not None and report.measured_acceptance is not None
    # The run's own acceptance, so that what is left of chance is little.
    assert report.measured_acceptance == pytest.approx(acceptance, abs=0.03)
    tau = tokens_of_a_round(report.measured_acceptance, draft_tokens)
    round_s = 0.125 * (1 if one_pass else draft_tokens) + 1.0 + VERIFY_S
    assert report.speedup.mean == pytest.approx(tau / round_s, rel=0.01)
    assert report.tokens_per_cycle == pytest.approx(tau, rel=0.01)


def test_acceptance_may_fall_with_the_place_in_a_round() -> None:
    """The place of a draft is what a fill depth is in a pipeline: mean tokens are 1 + p1 + p1 p2 + p1 p2 p3."""
    p = (0.9, 0.6, 0.3)
    report = run(machine(rounds, rounds.Layout(3), draft=0.125, forward=1.0), NUM_TOKENS, ByFillDepth(p))
    assert report.tokens_per_cycle == pytest.approx(1.0 + p[0] + p[0] * p[1] + p[0] * p[1] * p[2], rel=0.03)


@pytest.mark.parametrize("num_stages", [2, 3, 5])
def test_a_plain_pipeline_is_as_slow_as_one_device_and_pays_its_hops(num_stages: int) -> None:
    """A token takes all stages, a hop between each two, and one with which the last tells the first: T + n hop."""
    layout, script = plain_pipeline.Layout(num_stages), Script("A" * 6)
    stage_s = 0.25
    one = machine(plain_pipeline, layout, 0.125, forward=stage_s, verify=VERIFY_S)
    assert decode_s(one, script) == 6 * (num_stages * stage_s + VERIFY_S + num_stages * 0.125)


@pytest.mark.parametrize("num_workers", [2, 4])
def test_plain_tensor_parallel_is_its_shards_and_its_reductions(num_workers: int) -> None:
    """All shards work at once; a token waits for the reductions of its layers and that of its LM head."""
    layout, script = plain_tensor.Layout(num_workers), Script("A" * 6)
    one = machine(plain_tensor, layout, 0.125, forward=0.25, verify=VERIFY_S)
    assert decode_s(one, script) == 6 * (0.25 + 0.125 + VERIFY_S + 0.125)
