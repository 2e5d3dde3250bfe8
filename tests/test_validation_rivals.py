"""Rows of other methods: what is fitted, from which rows alone, and how well the others come out."""

from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from spdsim import theory
from spdsim.acceptance import Bernoulli, Coins, toss
from spdsim.analysis.causality import causality
from spdsim.analysis.decoding import decodings
from spdsim.distributions import Constant
from spdsim.errors import InputError
from spdsim.evidence import Row, read_table
from spdsim.evidence.table import NEW_TOKENS
from spdsim.fitting import fit_rivals, with_rivals
from spdsim.machine import Duration
from spdsim.prediction import Case, RivalPredictor, case_of, cycles_of, scenario_of
from spdsim.prediction.rivals import accept_length, draft_share
from spdsim.scenario.profile import Profile
from spdsim.scenario.profile_file import figure, load_profile, with_figures
from spdsim.simulation import simulate
from spdsim.validation import validate_table, validation_document
from tests.published import PROFILE, Cells, changed_table, table
from tests.test_validation_rounds import committed_s, machine

KNOWN = load_profile(PROFILE)
ROWS = table().rivals


def bare() -> Profile:
    """Return the shipped profile without what it has of other methods."""
    backing = KNOWN.backing
    kept = tuple(error for error in backing.uncertainty if not any(key.startswith("rivals.") for key in error.shifts))
    figures = {key: entry for key, entry in KNOWN.figures.items() if not key.startswith("rivals.")}
    return KNOWN.model_copy(update={
        "rivals": type(KNOWN.rivals)(), "figures": figures, "backing": backing.model_copy(update={"uncertainty": kept}),
    })  # fmt: skip


@cache
def errors(method: str, use: str) -> list[float]:
    """Return predicted over published, less 1, of every row of a method and a use, means too."""
    predictor = RivalPredictor(KNOWN)
    rows = [row for row in ROWS if row.method == method and row.use == use and row.wall_speedup]
    return [predictor.speedup(row) / (row.wall_speedup or 1.0) - 1.0 for row in rows]


@pytest.mark.parametrize("method", ["ppsd", "eagle3"])
def test_rows_that_were_not_fitted_come_out_within_four_per_cent(method: str) -> None:
    """Every one of them; those that were fitted within one."""
    assert len(errors(method, "validate")) == len(errors(method, "calibrate")) == 4
    assert max(map(abs, errors(method, "validate"))) < 0.04
    assert max(map(abs, errors(method, "calibrate"))) < 0.01


def test_the_shipped_profile_has_what_the_fit_finds() -> None:
    """Value, standard error, and where it holds."""
    found = fit_rivals(ROWS, bare())
    assert [(each.key, each.sizes) for each in found] == [("rivals.early_exit_s", (4,)), ("rivals.round_token_s", (3,))]
    for each in found:
        assert figure(KNOWN, each.key) == pytest.approx(each.value_s, rel=1e-4)
        assert KNOWN.figures[each.key].origin == "published"
    assert (KNOWN.range.early_exit_stages, KNOWN.range.round_drafts) == ((4,), (3,))


def test_rows_to_validate_with_and_means_do_not_touch_the_fit() -> None:
    """Nor do sampled ones."""

    def changed(row: Row) -> Row:
        is_used = row.use == "calibrate" and not row.is_mean
        return row if is_used else replace(row, wall_speedup=9.9)

    sampled = [replace(row, temperature=1.0, wall_speedup=9.9) for row in ROWS]
    assert fit_rivals([*map(changed, ROWS), *sampled], bare()) == fit_rivals(ROWS, bare())


def test_an_exit_pays_for_itself_in_every_cycle() -> None:
    """In series with the first stage, which is where its device is: there is none besides those of the stages."""
    own = next(row for row in ROWS if row.method == "ppsd" and row.stages == 8)
    case = replace(case_of(own), has_early_exit=True)
    scenario = scenario_of(case, KNOWN)
    assert scenario.devices.count == 8 and scenario.draft.placement == "stage_0"
    short, long = (cycles_of(case, with_figures(KNOWN, {"rivals.early_exit_s": exit_s})) for exit_s in (2e-3, 3e-3))
    assert long.full_s - short.full_s == pytest.approx(1e-3)
    assert long.refill_s - short.refill_s == pytest.approx(7e-3)


@pytest.mark.parametrize(("stages", "share"), [(4, 0.45), (8, 0.2)])
def test_the_cycles_of_an_exit_are_those_of_a_whole_run(stages: int, share: float) -> None:
    """512 tokens on the same engine: within a thousandth."""
    own = next(row for row in ROWS if row.method == "ppsd" and row.stages == stages)
    case: Case = replace(case_of(own), has_early_exit=True)
    coins = toss(Bernoulli(1.0 - share), 3, 0, NEW_TOKENS)
    verdicts = "".join("A" if coins.accepts(position, 1) else "R" for position in range(1, NEW_TOKENS - 1)) + "A"
    (window,) = decodings(trace := simulate(scenario_of(case, KNOWN, verdicts, NEW_TOKENS)), causality(trace))
    assert cycles_of(case, KNOWN).decode_s(NEW_TOKENS, verdicts.count("R")) == pytest.approx(window.time_s, rel=1e-3)


@pytest.mark.parametrize("row", [row for row in ROWS if row.method == "eagle3"], ids=lambda row: row.place)
@pytest.mark.parametrize("draft_layers", [0.0, 1.0])
def test_the_law_of_rounds_is_what_a_simulated_run_takes(row: Row, draft_layers: float) -> None:
    """Acceptance from the theoretical speedup, whatever a draft takes: within one per cent."""
    layer_s, drafts = row.token_s / 32, row.draft_layers
    tokens = row.theoretical_speedup * (1.0 + draft_layers * drafts / 32)
    assert draft_layers == 0.0 or tokens == pytest.approx(accept_length(row, 32))
    acceptance = theory.acceptance_of_accept_length(tokens, drafts)
    made = machine(
        drafts, draft_s=draft_layers * layer_s, forward=Duration(Constant(row.token_s)),
        commit_s=KNOWN.rivals.round_token_s or 0.0,
    )  # fmt: skip
    verdicts, number = [True], 0
    while len(verdicts) < 2000:
        number += 1
        toss_ = (number * 0.6180339887498949) % 1.0
        verdicts += [toss_ < acceptance ** (at + 1) for at in range(drafts) if toss_ < acceptance**at] or [False]
        verdicts += [False] if toss_ < acceptance**drafts else []
    (times,) = committed_s(made, [Coins(verdicts)], 1900)
    wall = 1899 * row.token_s / (times[-1] - times[0])
    assert wall == pytest.approx(RivalPredictor(KNOWN).speedup(row), rel=0.01)


def test_the_other_reading_of_the_theoretical_speedup_misses_eight_stages() -> None:
    """As tokens a cycle, as with SPD: then an exit takes half as long, and eight stages come out 5 to 7 % low."""
    read = [replace(row, theoretical_speedup=row.theoretical_speedup / (1.0 + draft_share(row, 32)))
            for row in ROWS if row.method == "ppsd"]  # fmt: skip
    (found,) = fit_rivals(read, bare())
    assert 0.8e-3 < found.value_s < 1.0e-3
    predictor = RivalPredictor(with_rivals(bare(), [found]))
    for row in read:
        if row.use == "validate":
            assert -0.07 < predictor.speedup(row) / (row.wall_speedup or 1.0) - 1.0 < -0.045


def test_more_drafts_and_stages_than_in_the_table_come_out_as_the_page_says() -> None:
    """Theoretical and wall speedups of MT-Bench, GSM8K and HumanEval in the authors' full table."""
    predictor = RivalPredictor(KNOWN)
    rounds, exits = (next(row for row in ROWS if row.method == method) for method in ("eagle3", "ppsd"))
    more = [replace(rounds, draft_layers=15, theoretical_speedup=s, wall_speedup=w)
            for s, w in ((1.81, 1.30), (2.73, 1.72), (2.63, 1.83))]  # fmt: skip
    deep = [replace(exits, stages=16, theoretical_speedup=s, wall_speedup=w)
            for s, w in ((1.18, 0.75), (1.36, 0.86), (1.65, 1.04))]  # fmt: skip
    high = [predictor.speedup(row) / (row.wall_speedup or 1.0) - 1.0 for row in more]
    low = [predictor.speedup(row) / (row.wall_speedup or 1.0) - 1.0 for row in deep]
    assert 0.075 < min(high) < max(high) < 0.195
    assert -0.055 < min(low) < max(low) < -0.04


@pytest.mark.parametrize(("draft_s", "least", "most"),
                         [(0.18e-3, 0.0, 0.02), (0.93e-3, -0.085, -0.04), (2.135e-3, -0.19, -0.12)])  # fmt: skip
def test_tokens_a_round_need_a_draft_of_their_own(draft_s: float, least: float, most: float) -> None:
    """The other reading for EAGLE-3, one cost of each token fitted to three drafts: seven as the page says."""
    own = [row for row in ROWS if row.method == "eagle3" and not row.is_mean]

    def law(row: Row) -> float:
        return (1.0 + row.draft_layers * draft_s / row.token_s) / row.theoretical_speedup

    used = [row for row in own if row.use == "calibrate"]
    besides = sum(1.0 / (row.wall_speedup or 1.0) - law(row) for row in used) / len(used)
    for row in own:
        if row.use == "validate":
            assert least <= 1.0 / (law(row) + besides) / (row.wall_speedup or 1.0) - 1.0 <= most


def test_a_cost_of_each_round_fits_its_rows_worse_than_one_of_each_token() -> None:
    """Which of the two is decided by rows to fit: what is left over of the round's cost is several times as much."""
    used = [row for row in ROWS if row.method == "eagle3" and row.use == "calibrate" and not row.is_mean]
    by_token = [1.0 / (row.wall_speedup or 1.0) - 1.0 / row.theoretical_speedup for row in used]
    by_round = [cost * row.theoretical_speedup for cost, row in zip(by_token, used, strict=True)]
    spread = [max(costs) / min(costs) - 1.0 for costs in (by_token, by_round)]
    assert spread[0] < 0.07 and spread[1] > 0.17


def test_a_profile_without_times_of_a_method_skips_its_rows() -> None:
    """And says so."""
    found = validate_table(bare(), table(), name="p.yaml")
    assert sum(line.status == "skipped" for line in found.lines) == 16
    assert found.limits[-1] == (
        "Skipped, for the profile has no times of the method: 8 rows of eagle3, 8 rows of ppsd."
    )


def test_what_was_not_measured_is_beyond_the_evidence(tmp_path: Path) -> None:
    """Sampling, another model, another number of drafts, an exit of two layers, another baseline."""

    def change(cells: Cells) -> Cells:
        if cells["method"] == "eagle3":
            return {**cells, "temperature": "1", "model": "Qwen3.5-9B"}
        if cells["method"] == "spd":
            return cells
        return {**cells, "draft_layers_or_steps": "2", "baseline_tokens_per_s": "20"}

    found = validate_table(KNOWN, read_table(changed_table(tmp_path / "t.csv", change)), name="p.yaml")
    told = " ".join(reason for line in found.lines if line.row and line.row.method != "spd" and line.prediction
                    for reason in line.prediction.outside)  # fmt: skip
    for words in ("eagle3 with sampling", "Qwen3.5-9B: the profile", "7 drafts", "exit of 2 layers", "a baseline more"):
        assert words in told


def test_groups_of_other_methods_have_no_rule() -> None:
    """Nor do they count with those of SPD."""
    document = validation_document(validate_table(KNOWN, table(), name="p.yaml"))
    groups = {(group["by"], group["value"]): group for group in document["groups"]}
    assert groups["all", "all"]["num_rows"] == 12
    own = groups["ppsd", "validate"]
    assert own["num_rows"] == 3 and own["rule_mean_error"] is None
    assert own["mean_absolute_error"] == pytest.approx(sum(map(abs, errors("ppsd", "validate")[1:])) / 3)
    rows = [row for row in document["rows"] if row["method"] == "eagle3"]
    assert all(row["full_cycle_s"] is None and row["rule_wall_speedup"] is None for row in rows)


def test_a_row_that_cannot_be_is_named(tmp_path: Path) -> None:
    """By the reader, and by the fit."""

    def change(cells: Cells) -> Cells:
        return {**cells, "theoretical_speedup": "4.01"} if cells["method"] == "eagle3" else cells

    with pytest.raises(InputError, match=r"t.csv:2: theoretical_speedup is 4.01: must be at most 4, all drafts"):
        read_table(changed_table(tmp_path / "t.csv", change))
    slip = [replace(row, wall_speedup=0.117) if row.place.endswith(":11") else row for row in ROWS]
    with pytest.raises(InputError, match=r"spd_table.csv:11: wall_speedup is 0.117: fits worst of the rows of ppsd"):
        fit_rivals(slip, bare())


def test_without_their_rows_a_profile_has_nothing_of_other_methods() -> None:
    """Nothing is made up; where there is one of the two, the other stays away."""
    assert with_rivals(bare(), fit_rivals([], bare())) == bare()
    only = with_rivals(bare(), fit_rivals([row for row in ROWS if row.method == "eagle3"], bare()))
    assert only.rivals.early_exit_s is None and only.range.early_exit_stages is None
    assert only.rivals.round_token_s == pytest.approx(KNOWN.rivals.round_token_s, rel=1e-4)
