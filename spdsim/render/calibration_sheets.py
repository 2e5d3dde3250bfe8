"""The tables of a calibration as text, cell by cell: held-out runs, figures of the profile, probes."""

from collections.abc import Sequence

from spdsim.acceptance_fit import AcceptanceFit
from spdsim.acceptance_fit.families import LABELS
from spdsim.calibration.fit import Figure
from spdsim.calibration.proof import Cell
from spdsim.evidence import Probe
from spdsim.render.acceptance import acceptance_sentence
from spdsim.render.comparison_sheets import signed
from spdsim.render.look import Look, significant
from spdsim.render.sheet import Sheet

_WITHIN = {True: "yes", False: "no"}


def proof_sheet(cells: Sequence[Cell], look: Look) -> Sheet:
    """Return the held-out runs: predicted, measured, and the errors."""
    heads = ("n", "p", "cycle", "meas.", "error", "p95", "token", "meas.", "error", "whole", "within")
    note = (
        "cycle and token: predicted with the run's own verdicts, in ms; p95: error of the cycle's; whole: error of "
        "the time per token with other coins of the same acceptance; within: intervals of the mean cycles meet"
    )
    rows = tuple(_cell(cell, look) for cell in cells)
    return Sheet("Runs that the fit has not seen", heads, rows, num_left=0, note=note)


def profile_sheet(figures: Sequence[Figure], curve: Sequence[float], look: Look) -> Sheet:
    """Return the figures of the profile, and what workers that compute at a time do to each other."""
    heads = ("figure", "follows", "mean", "+- 95 %", "samples")
    rows = tuple(
        (figure.key, figure.family, look.time(figure.mean), look.time(1.96 * figure.std_error), f"{figure.count:,}")
        for figure in figures
    )
    return Sheet("What tasks and messages take", heads, rows, num_left=2, note=_contention(curve))


def acceptance_sheet(fits: Sequence[AcceptanceFit], look: Look) -> Sheet:
    """Return the acceptance of a module's own drafts, by stages: its family, and whether that family fits."""
    heads = ("n", "drafts", "accepted", "95 %", "family", "p-value")
    rows = tuple(
        (
            str(fit.verdicts.num_stages), f"{fit.overall.count:,}", look.number(fit.overall.fraction),
            "{:.3f} to {:.3f}".format(*fit.overall.interval), LABELS[fit.chosen.kind],
            look.number(fit.goodness.p_value),
        )
        for fit in fits
    )  # fmt: skip
    fitted = (f"n = {fit.verdicts.num_stages}, {acceptance_sentence(fit.chosen)}" for fit in fits)
    note = f"{'; '.join(fitted)}. p-value: whether that family could have given these verdicts"
    return Sheet("Acceptance of the draft module's own drafts", heads, rows, num_left=0, note=note)


def probe_sheet(probes: Sequence[Probe], look: Look) -> Sheet:
    """Return what single operations take; of a case what tells it from the others of its operation."""
    rows = tuple((probe.what.replace("_", " "), _case(probe, probes), *_spread(probe, look)) for probe in probes)
    return Sheet("What single operations take", ("operation", "case", "median", "5 to 95 %"), rows, num_left=2)


def _cell(cell: Cell, look: Look) -> tuple[str, ...]:
    cycle, p95 = cell.comparison.figure("cycle_mean_s"), cell.comparison.figure("cycle_p95_s")
    token = cell.comparison.figure("time_per_token_mean_s")
    return (
        str(cell.config.stages), "1" if cell.config.acceptance is None else f"{cell.config.acceptance:g}",
        *_pair(cycle.predicted, cycle.measured, look), signed(cycle.error_fraction), signed(p95.error_fraction),
        *_pair(token.predicted, token.measured, look), signed(token.error_fraction),
        signed(cell.whole.time_per_token_error), look.none if cycle.is_within is None else _WITHIN[cycle.is_within],
    )  # fmt: skip


def _pair(predicted_s: float | None, measured_s: float | None, look: Look) -> tuple[str, ...]:
    return tuple(look.none if value is None else f"{1e3 * value:.2f}" for value in (predicted_s, measured_s))


def _contention(curve: Sequence[float]) -> str:
    if not curve:
        return "Workers that compute at a time do not slow each other down."
    steps = ", ".join(f"{count} workers {speed:.2f}" for count, speed in enumerate(curve[1:], start=2))
    return f"What workers of a node get done together, over one alone: {steps}."


def _case(probe: Probe, probes: Sequence[Probe]) -> str:
    alike = [other.params for other in probes if other.what == probe.what]
    telling = (key for key, value in probe.params.items() if any(other.get(key) != value for other in alike))
    return ", ".join(f"{key.replace('_', ' ')} {probe.params[key]}" for key in telling)


def _spread(probe: Probe, look: Look) -> tuple[str, str]:
    if probe.unit == "s":
        return look.time(probe.median), look.time(probe.p05, probe.p95)
    factor, unit = (1e-9, " GB/s") if probe.unit == "bytes/s" else (1.0, "")
    median, low, high = (significant(factor * value) for value in (probe.median, probe.p05, probe.p95))
    return f"{median}{unit}", f"{low} to {high}{unit}"
