"""Fitting: it gives back what made the evidence, uses no row that it must not, and reaches the figures."""

from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import pytest

from spdsim.errors import InputError
from spdsim.evidence import Breakdown, Row
from spdsim.fitting import backed, figure_std, fit_profile, leave_one_out, profile_text, profiled_cycles
from spdsim.fitting.mechanisms import Parameters, profile_of, profiled_forward_s
from spdsim.prediction import Predictor
from spdsim.scenario.profile_file import load_profile
from tests.commands import spdsim
from tests.published import BREAKDOWN, TABLE, Cells, breakdowns, changed_table, fitted, table

TRUE = Parameters(stage_fixed_s=0.2e-3, profiler_factor=1.2, sampling_s=0.8e-3)


def made_of(parameters: Parameters) -> tuple[list[Row], tuple[Breakdown, ...]]:
    """Return the evidence that a profile with these parameters would leave."""
    profile = profile_of(parameters, fitted().readings, fitted().reference, "made")
    predictor = Predictor(profile)
    rows = [replace(row, wall_speedup=predictor.speedup(row)) for row in table().rows]
    passes = [
        replace(
            b, phases=MappingProxyType({
                **b.phases, "last_stage_forward": profiled_forward_s(parameters, profile, 32 // b.stages)
            })
        )
        for b in breakdowns()
    ]  # fmt: skip
    return rows, tuple(passes)


def test_a_fit_to_what_a_profile_predicts_gives_the_profile_back() -> None:
    """All three parameters, and nothing is left over."""
    fit = fit_profile(*made_of(TRUE), "made")
    assert fit.parameters == pytest.approx(TRUE, rel=1e-4)
    assert fit.scatter_fraction == pytest.approx(1e-4)


def test_a_fit_uses_neither_rows_to_validate_with_nor_means() -> None:
    """Whatever their wall speedups are."""
    poisoned = [replace(row, wall_speedup=7.0) if row.use == "validate" or row.is_mean else row for row in table().rows]
    assert fit_profile(poisoned, breakdowns(), "published").profile == fitted().profile


def test_rows_to_validate_with_leave_no_trace_in_the_profile(tmp_path: Path) -> None:
    """Poisoned validate rows and means, of other methods, too: the same file; other evidence changes it."""

    def poison(cells: Cells) -> Cells:
        is_evidence = cells["use"] == "calibrate" and cells["dataset"] != "overall"
        return cells if is_evidence else {**cells, "wall_speedup": "1.07"}

    def spoil(cells: Cells) -> Cells:
        is_spoilt = cells["use"] == "calibrate" and cells["method"] == "spd" and cells["dataset"] == "gsm8k"
        return {**cells, "wall_speedup": "2.3"} if is_spoilt else cells

    texts = []
    for change in (dict, poison, spoil):
        name = changed_table(tmp_path / "t.csv", change)
        profile = tmp_path / "p.yaml"
        done = spdsim("fit", "--table", name, "--breakdown", BREAKDOWN, "--out", profile, "--quiet")
        assert done.returncode == 0, done.stderr
        texts.append(profile.read_text("utf-8"))
    assert texts[0] == texts[1] != texts[2]


def test_a_fit_does_not_depend_on_chance() -> None:
    """The same evidence, the same file."""
    again = fit_profile(table().rows, breakdowns(), "published")
    assert profile_text(backed(again, ()), "") == profile_text(backed(fitted(), ()), "")


def test_parameters_come_with_their_errors() -> None:
    """Each is known to a tenth of itself or better, from nine rows and two breakdowns."""
    for parameter in fitted().estimates:
        assert parameter.std is not None
        assert 0.0 < parameter.std < 0.1 * parameter.value
    assert len(fitted().rows) == 9
    assert 0.002 < fitted().scatter_fraction < 0.015
    profile = backed(fitted(), ())
    assert figure_std(profile, "messages.draft.receive_s") == pytest.approx(fitted().estimates[0].std, rel=1e-3)


def test_both_full_cycles_are_met_with_the_profiler_on() -> None:
    """Within 2 %, with the one factor on what computes; the wall time itself is not fitted."""
    for cycle in profiled_cycles(fitted()):
        assert abs(cycle.error) < 0.02


def test_a_configuration_that_is_left_out_is_predicted_within_five_per_cent() -> None:
    """Without eight stages, and without four; what then is not known of sampling is told apart."""
    without = {out.stages: out for out in leave_one_out(table().rows, breakdowns(), "")}
    assert without.keys() == {4, 8}
    for out in without.values():
        assert max(abs(error) for _, error in out.errors) <= 0.05
    assert {row.temperature for row, _ in without[4].no_evidence} == {1.0}
    assert len(without[4].no_evidence) == 3
    assert without[8].no_evidence == ()


def test_without_sampled_rows_sampling_is_not_fitted() -> None:
    """It costs nothing then, and its error is not known."""
    fit = fit_profile([row for row in table().rows if not row.is_sampled], breakdowns(), "")
    assert fit.parameters.sampling_s == 0.0
    assert fit.estimates[2].std is None
    assert backed(fit, ()).range.sampled_stages == ()


@pytest.mark.parametrize("keep", ["validate", "sampled"])
def test_too_little_evidence_is_refused(keep: str) -> None:
    """No calibration rows, or none that is greedy."""
    rows = [row for row in table().rows if row.use == keep or (keep == "sampled" and row.is_sampled)]
    with pytest.raises(InputError, match=r"t\.csv: has no greedy row to fit: must have rows of method spd"):
        fit_profile(rows, breakdowns(), "", "t.csv")


@pytest.mark.parametrize(("stages", "layers"), [(16, 3), (8, 4), (6, 3), (4, 2)])
def test_more_breakdowns_make_a_profile_too(stages: int, layers: int) -> None:
    """Beyond the others, between them, or at the same number of stages: each error that is told moves a figure."""
    more = tuple(sorted([*breakdowns(), replace(breakdowns()[-1], stages=stages, draft_layers=layers)], key=_order))
    if stages == 4:
        more = tuple(replace(b, phases=breakdowns()[0].phases) if b.stages == 4 else b for b in more)
    profile = backed(fit_profile(table().rows, more, ""), ())
    assert (stages, layers) in (profile.range.drafts or ())
    assert all(error.shifts for error in profile.backing.uncertainty)


def _order(breakdown: Breakdown) -> tuple[int, int]:
    return breakdown.stages, breakdown.draft_layers


def test_a_cost_that_would_be_below_nothing_is_held_there() -> None:
    """Sampled rows as fast as greedy ones: sampling costs nothing, and the others are fitted all the same."""
    rows = [
        replace(row, wall_speedup=1.16 * row.wall_speedup) if row.is_sampled and row.wall_speedup else row
        for row in table().rows
    ]
    fit = fit_profile(rows, breakdowns(), "")
    assert fit.held == ("sampling_s",) and fit.parameters.sampling_s == 0.0
    assert fit.names == ("stage_fixed_s", "profiler_factor") and fit.covariance.shape == (2, 2)
    assert backed(fit, ()).backing.uncertainty


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"baseline_tokens_per_s": 3000.0}, r"^t.csv: verify of the breakdown takes .* must be less than a token"),
        ({"baseline_tokens_per_s": 1e-6}, r"^t.csv: does not go together with last_stage_forward of 4 stages"),
        ({"wall_speedup": 1e-6}, r"spd_table.csv:[0-9]+: wall_speedup is 1e-06: fits worst"),
        ({"wall_speedup": 1e6}, r"spd_table.csv:[0-9]+: wall_speedup is 1e\+06: fits worst"),
    ],
)
def test_evidence_that_does_not_go_together_gets_one_line(change: dict[str, float], expected: str) -> None:
    """What fits worst is named, and what to look at."""
    rows = [replace(row, **change) for row in table().rows]  # type: ignore[arg-type]
    with pytest.raises(InputError, match=expected):
        fit_profile(rows, breakdowns(), "", "t.csv")


def test_the_row_that_is_wrong_is_the_one_that_is_named() -> None:
    """One slip of a digit among nine rows."""
    rows = [replace(row, wall_speedup=0.1) if row.place.endswith(":20") else row for row in table().rows]
    with pytest.raises(InputError, match=r"spd_table.csv:20: wall_speedup is 0.1: fits worst"):
        fit_profile(rows, breakdowns(), "", "t.csv")


def test_a_row_to_validate_with_that_cannot_be_predicted_stops_no_fit() -> None:
    """It is left out of what is left out."""
    rows = [replace(row, stages=8, model="nobody") if row.use == "validate" else row for row in table().rows]
    known = [out.calibration_error for out in leave_one_out(table().rows, breakdowns(), "")]
    assert [out.calibration_error for out in leave_one_out(rows, breakdowns(), "")] == known


@pytest.mark.parametrize("source", ['a "b" \\ c: {d} # e', "null", "", "- é"])
def test_a_source_of_any_signs_is_read_back(source: str, tmp_path: Path) -> None:
    """Quotes, backslashes, words of YAML."""
    path = tmp_path / "p.yaml"
    path.write_text(profile_text(backed(fitted(), ()).model_copy(update={"source": source}), "head"), encoding="utf-8")
    assert load_profile(path).source == source


def test_a_source_with_control_characters_is_refused(tmp_path: Path) -> None:
    """One line, and nothing is written."""
    profile = tmp_path / "p.yaml"
    done = spdsim("fit", "--table", TABLE, "--breakdown", BREAKDOWN, "--out", profile, "--source", "a\nb")
    assert done.returncode == 2 and not profile.exists()
    assert done.stderr.startswith("spdsim: error: --source is 'a\\nb': must be one line of text")


def test_the_evidence_is_where_the_page_says() -> None:
    """Beside the scenarios, so that the command in the documentation can be repeated."""
    assert TABLE.is_file() and BREAKDOWN.is_file()
