"""Fitting: it gives back what made the evidence, uses no row that it must not, and reaches the figures."""

from dataclasses import replace
from types import MappingProxyType

import pytest

from spdsim.errors import InputError
from spdsim.evidence import Breakdown, Row
from spdsim.fitting import backed, figure_std, fit_profile, leave_one_out, profile_text, profiled_cycles
from spdsim.fitting.mechanisms import Parameters, profile_of, profiled_forward_s
from spdsim.prediction import Predictor
from tests.published import BREAKDOWN, TABLE, breakdowns, fitted, table

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


def test_the_evidence_is_where_the_page_says() -> None:
    """Beside the scenarios, so that the command in the documentation can be repeated."""
    assert TABLE.is_file() and BREAKDOWN.is_file()
