"""Predictions: the engine's own cycles, put together by the law, and intervals that say what is not known."""

import random
from dataclasses import replace

import pytest

from spdsim.analysis.causality import causality
from spdsim.analysis.decoding import decodings
from spdsim.errors import InputError
from spdsim.evidence import Row
from spdsim.evidence.table import NEW_TOKENS, rejections
from spdsim.prediction import Case, Predictor, case_of, cycles_of, layer_s, scenario_of
from spdsim.prediction.case import scaled_profile
from spdsim.scenario.backing import Uncertainty
from spdsim.scenario.profile_file import figure, load_profile, with_figures
from spdsim.scenario.target_files import load_model
from spdsim.simulation import simulate
from tests.published import PROFILE, breakdowns, table

KNOWN = load_profile(PROFILE)
TOKEN_S = 1.0 / 35.26


def case(stages: int, draft_layers: int, sampled: bool = False, model: str = "Qwen3.5-4B") -> Case:
    """Return a configuration with the published baseline."""
    return Case(load_model(model), stages, draft_layers, sampled, TOKEN_S)


def row(**changes: object) -> Row:
    """Return the row of eight stages on gsm8k, changed; its rejections follow."""
    found = next(row for row in table().rows if row.stages == 8 and row.dataset == "gsm8k")
    found = replace(found, **changes)  # type: ignore[arg-type]
    return replace(found, num_rejections=rejections(found.theoretical_speedup, found.stages))


@pytest.mark.parametrize(
    ("which", "share"),
    [
        (case(4, 4), 0.6), (case(8, 3), 0.0), (case(8, 3), 0.2), (case(4, 4, True), 0.2), (case(2, 4), 0.6),
        (case(3, 4), 0.2), (case(16, 3), 0.0), (case(16, 3), 0.6), (case(16, 2, True), 0.2),
    ],
    ids=str,
)  # fmt: skip
def test_the_sum_of_cycles_is_what_a_whole_run_takes(which: Case, share: float) -> None:
    """512 tokens, rejections spread at random, on the same engine: within a thousandth."""
    drafts = ["R" if toss < share else "A" for toss in (random.Random(3).random() for _ in range(NEW_TOKENS - 1))]
    # After the last token nothing is refilled.
    verdicts = "".join(drafts[:-1]) + "A"
    (window,) = decodings(trace := simulate(scenario_of(which, KNOWN, verdicts, NEW_TOKENS)), causality(trace))
    expected_s = cycles_of(which, KNOWN).decode_s(NEW_TOKENS, verdicts.count("R"))
    assert expected_s == pytest.approx(window.time_s, rel=1e-3)


def test_a_cycle_is_the_loop_that_its_phases_make() -> None:
    """Four stages, greedy: told, its layers, passed on, verified, features in, bookkeeping, control."""
    got, layer = cycles_of(case(4, 4), KNOWN), layer_s(case(4, 4), KNOWN)
    messages, control = KNOWN.messages, KNOWN.control
    stage_s = (messages.verdict.receive_s or 0.0) + 8 * layer + 123e-6
    verify_s = (KNOWN.verify_per_byte_s or 0.0) * load_model("Qwen3.5-4B").head_bytes
    control_s = control.per_cycle_s + 5 * control.per_worker_s
    full_s = stage_s + verify_s + 4 * (messages.features.receive_s or 0.0) + 186.5e-6 + control_s
    assert got.full_s == pytest.approx(full_s, rel=1e-4)
    # Fill cycles have no verdict, and features of the stages at work only: one, two, three of them.
    assert got.refill_s == pytest.approx(3 * (stage_s + control_s) + 6 * (messages.features.receive_s or 0.0), rel=1e-4)
    assert not got.is_draft_bound


def test_a_draft_that_is_longer_than_the_stages_sets_the_pace() -> None:
    """Sixteen stages, or six layers beside eight stages; not two layers more than were measured beside four."""
    assert cycles_of(case(16, 2), KNOWN).is_draft_bound
    assert cycles_of(case(8, 6), KNOWN).is_draft_bound
    assert not cycles_of(case(4, 6), KNOWN).is_draft_bound


def test_sampling_adds_to_full_cycles_only() -> None:
    """What it adds to a verification; what it adds to a draft is hidden behind four stages."""
    greedy, sampled = cycles_of(case(4, 4), KNOWN), cycles_of(case(4, 4, True), KNOWN)
    assert KNOWN.verify_sampling is not None
    assert sampled.full_s - greedy.full_s == pytest.approx(KNOWN.verify_sampling.mean_s)  # type: ignore[union-attr]
    assert sampled.refill_s == pytest.approx(greedy.refill_s)


def test_a_larger_model_pays_its_lm_head_and_keeps_its_baseline() -> None:
    """Qwen3.5-9B: the same layers, a head 1.6 times as large; plain decoding stays what the row says."""
    small, large = case(8, 3), case(8, 3, model="Qwen3.5-9B")
    head_s = (KNOWN.verify_per_byte_s or 0.0) * large.model.head_bytes
    assert large.model.head_bytes == pytest.approx(1.6 * small.model.head_bytes)
    assert 32 * layer_s(large, KNOWN) + head_s == pytest.approx(TOKEN_S)
    assert cycles_of(large, KNOWN).full_s > cycles_of(small, KNOWN).full_s


def test_the_interval_holds_the_prediction_and_widens_beyond_the_evidence() -> None:
    """A configuration that nobody measured is less sure than one that was, and the output says why."""
    predictor = Predictor(KNOWN)
    seen = predictor.predict(row())
    far = predictor.predict(row(stages=16, theoretical_speedup=4.0))
    sampled = predictor.predict(row(temperature=1.0))
    for found in (seen, far, sampled):
        assert found.low < found.wall_speedup < found.high
    assert seen.outside == ()
    assert [reason.split(":")[0] for reason in far.outside] == [
        "16 stages", "3 nodes", "the draft sets the pace", "a draft of 3 layers beside 16 stages",
    ]  # fmt: skip
    assert [reason.split(":")[0] for reason in sampled.outside] == [
        "sampling with 8 stages", "the draft is within 10 % of setting the pace",
    ]  # fmt: skip
    widths = [found.high / found.low for found in (seen, far, sampled)]
    assert widths[0] < min(widths[1:])


def test_the_broadcast_is_in_the_draft_s_own_loop() -> None:
    """A draft that sets the pace waits for its own phases, those of control among them, and for nothing else."""
    which = case(16, 3)
    assert cycles_of(which, KNOWN).is_draft_bound
    profile, control = scaled_profile(which, KNOWN), KNOWN.control
    draft_s = figure(profile, "draft_fixed") + 3 * figure(profile, "draft_per_layer")
    verify_s = (KNOWN.verify_per_byte_s or 0.0) * which.model.head_bytes
    control_s = control.per_cycle_s + 17 * control.per_worker_s + 2 * control.per_node_s
    loop_s = draft_s + verify_s + 4 * (KNOWN.messages.features.receive_s or 0.0) + 186.5e-6 + control_s
    assert cycles_of(which, KNOWN).full_s == pytest.approx(loop_s, rel=1e-4)
    phases = {b.stages: b for b in breakdowns()}[8]
    known_s = sum(phases[name] for name in ("ctrl_prepare", "ctrl_broadcast", "cycle_sync"))
    assert control.per_cycle_s + 9 * control.per_worker_s + control.per_node_s == pytest.approx(known_s, abs=2e-6)


def test_a_draft_that_grows_with_its_rows_is_another_reading_of_the_breakdowns() -> None:
    """It gives both drafts that were timed, and a longer one beside sixteen stages: so the interval spans it."""
    rows = next(other for other in KNOWN.backing.alternatives if other.draft_per_row_s)
    for stages, layers in KNOWN.range.drafts or ():
        timed = [
            figure(profile, "draft_fixed") + layers * figure(profile, "draft_per_layer")
            for profile in (KNOWN, with_figures(KNOWN, rows.figures))
        ]
        assert timed[1] + (stages + 1) * (rows.draft_per_row_s or 0.0) == pytest.approx(timed[0], rel=5e-3)
    others = [other for other in KNOWN.backing.alternatives if not other.draft_per_row_s]
    without = KNOWN.model_copy(update={"backing": KNOWN.backing.model_copy(update={"alternatives": tuple(others)})})
    far = row(stages=16, theoretical_speedup=4.0)
    found, narrow = Predictor(KNOWN).predict(far), Predictor(without).predict(far)
    assert found.low < 0.92 * narrow.low
    assert found.high == narrow.high and found.wall_speedup == narrow.wall_speedup


def test_an_error_that_only_one_side_shows_widens_the_interval() -> None:
    """Eight stages, four layers: a draft that is longer sets the pace, one that is shorter changes next to nothing."""
    error = Uncertainty(says="the draft", shifts={"draft_fixed": 2e-4})
    for sign in (1.0, -1.0):
        side = error.model_copy(update={"shifts": {"draft_fixed": sign * 2e-4}})
        widths = []
        for errors in ((), (side,)):
            backing = KNOWN.backing.model_copy(update={"uncertainty": errors, "alternatives": ()})
            found = Predictor(KNOWN.model_copy(update={"backing": backing})).predict(row(draft_layers=4))
            widths.append(found.high / found.low)
        assert widths[1] > 1.01 * widths[0]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"draft_layers": 4}, "the draft is within 10 % of setting the pace"),
        ({"draft_layers": 4}, "a draft of 4 layers beside 8 stages: timed were 4 beside 4 and 3 beside 8"),
        ({"stages": 7}, "an uneven cut, 32 layers over 7 stages"),
        ({"temperature": 0.7}, "temperature 0.7: sampling was measured at 1"),
    ],
)
def test_what_no_measurement_shows_is_named(changes: dict[str, object], expected: str) -> None:
    """A row like those that were measured has nothing of the kind: the test of the interval says so."""
    assert any(reason.startswith(expected) for reason in Predictor(KNOWN).predict(row(**changes)).outside)


def test_a_profile_that_was_never_tried_elsewhere_is_less_sure_there() -> None:
    """Without unseen_fraction an extrapolation is at least as wide as five per cent of scatter makes it."""
    backing = KNOWN.backing.model_copy(update={"unseen_fraction": None})
    untried = Predictor(KNOWN.model_copy(update={"backing": backing}))
    for changes in ({"stages": 2, "theoretical_speedup": 1.6}, {"model": "Qwen3.5-9B"}):
        tried, found = Predictor(KNOWN).predict(row(**changes)), untried.predict(row(**changes))
        assert found.low < tried.low and found.high > tried.high
        assert found.high / found.wall_speedup > 1.1
    assert untried.predict(row()) == Predictor(KNOWN).predict(row())


def test_rows_that_differ_in_their_baseline_share_what_errors_change() -> None:
    """Looked at in steps of a quarter, the interval is that of the row's own baseline nearly."""
    predictor, exact = Predictor(KNOWN), KNOWN.range.model_copy(update={"plain_token_s": (1 / 36.0, 1 / 36.0)})
    found = predictor.predict(row(baseline_tokens_per_s=36.0))
    expected = Predictor(KNOWN.model_copy(update={"range": exact})).predict(row(baseline_tokens_per_s=36.0))
    assert found.wall_speedup == expected.wall_speedup
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), rel=2e-3)


def test_a_prediction_does_not_look_at_the_wall_speedup() -> None:
    """The same with another one, and with none."""
    predictor = Predictor(KNOWN)
    expected = predictor.predict(row())
    assert predictor.predict(row(wall_speedup=99.0)) == expected
    assert predictor.predict(row(wall_speedup=None)) == expected


def test_a_faster_baseline_lowers_the_speedup() -> None:
    """What does not scale with the layers weighs more."""
    predictor = Predictor(KNOWN)
    assert predictor.speedup(row(baseline_tokens_per_s=70.0)) < predictor.speedup(row())


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"model": "Qwen3.5-4"}, 'model is "Qwen3.5-4": must be one of .*did you mean'),
        ({"stages": 33, "theoretical_speedup": 3.0}, "partition.stages is 33: must be at most the model's 32 layers"),
        ({"baseline_tokens_per_s": 5000.0}, "baseline_tokens_per_s is 5000: must be below .* the LM head alone"),
    ],
)
def test_a_row_that_cannot_be_predicted_is_named(changes: dict[str, object], expected: str) -> None:
    """File and line, column, value, rule."""
    with pytest.raises(InputError, match=f"spd_table.csv:[0-9]+: .*{expected}"):
        Predictor(KNOWN).predict(row(**changes))


def test_a_profile_without_layers_cannot_follow_a_baseline() -> None:
    """It says which figure it needs."""
    with pytest.raises(InputError, match="forward_per_layer is missing: must be given"):
        Predictor(KNOWN.model_copy(update={"forward_per_layer": None}))


def test_a_row_names_its_model_in_any_case() -> None:
    """The catalogue's name or the table's."""
    assert case_of(row(model="qwen3.5-4b")) == case_of(row(model="Qwen3.5-4B"))
