"""How well a fitted profile is known: independent errors, other readings of the same evidence, and its range."""

from collections.abc import Iterator
from dataclasses import replace
from math import sqrt
from types import MappingProxyType

import numpy as np

from spdsim.evidence import Breakdown
from spdsim.fitting.fit import Fit
from spdsim.fitting.leave_out import LeftOut
from spdsim.fitting.mechanisms import Parameters, profile_of
from spdsim.fitting.reading import line, read_off
from spdsim.prediction import case_of
from spdsim.prediction.case import num_nodes
from spdsim.scenario.backing import MOST_SCATTER, Alternative, Backing, Range, Uncertainty
from spdsim.scenario.hardware import Provenance
from spdsim.scenario.profile import Profile
from spdsim.scenario.profile_file import figure

READING_STD_S = 0.01e-3 / sqrt(3.0)
"""Phases shorter than 0.4 ms were read off a picture, to about 0.01 ms."""

_LEAST = 1e-6
"""What was met by chance alone is not known without error."""

FIGURES = (
    "forward_per_layer", "draft_per_layer", "draft_fixed", "draft_sampling", "verify_per_byte_s",
    "verify_sampling", "commit", "prefill_per_layer", "control.per_cycle_s", "control.per_worker_s",
    "control.per_node_s", "messages.hidden.post_s", "messages.hidden.inter_node_post_s",
    "messages.features.receive_s", "messages.verdict.receive_s", "messages.draft.receive_s",
)  # fmt: skip
"""The figures that a fit makes."""

_PROFILER = "cycle breakdown, without what the profiler adds"
_READ = "cycle breakdown"
_SOURCES: dict[str, tuple[str, str]] = {
    "forward_per_layer": ("published", "baseline less LM head, over the layers"),
    "messages.verdict.receive_s": (
        "published",
        "fit to rows and breakdown: what a stage takes once a cycle beside its layers",
    ),
    "messages.draft.receive_s": ("published", "the same, in a cycle without a verdict"),
    "draft_per_layer": ("published", f"pdm_forward of the {_PROFILER}"),
    "draft_fixed": ("published", f"post_recv and pdm_forward of the {_PROFILER}"),
    "draft_sampling": ("assumed", "a third of verify_sampling: hidden behind the stages in every row"),
    "verify_per_byte_s": ("published", f"verify of the {_PROFILER}, over the bytes of the LM head"),
    "verify_sampling": ("published", "fitted to the calibration rows with sampling"),
    "commit": ("published", f"driver_update of the {_READ}"),
    "prefill_per_layer": ("assumed", "a short prompt costs what a token costs, in eager mode"),
    "control.per_cycle_s": ("published", f"ctrl_prepare, ctrl_broadcast and cycle_sync of the {_READ}"),
    "control.per_worker_s": ("assumed", "half of what ctrl_prepare and cycle_sync grow by between the breakdowns"),
    "control.per_node_s": ("assumed", "the other half"),
    "messages.hidden.post_s": ("published", f"send_hidden of the {_READ} on one node"),
    "messages.hidden.inter_node_post_s": ("published", f"send_hidden of the {_READ} on two nodes"),
    "messages.features.receive_s": ("published", f"recv_features of the {_READ}, over its four tensors"),
}


def backed(fit: Fit, left_out: tuple[LeftOut, ...]) -> Profile:
    """Return the fitted profile with what its figures rest on."""
    backing = Backing(
        scatter_fraction=fit.scatter_fraction,
        unseen_fraction=_unseen(left_out),
        # What no figure follows from, such as a phase of a breakdown between two others, is no error of a figure.
        uncertainty=tuple(error for error in _uncertainty(fit) if error is not None),
        alternatives=tuple(_alternatives(fit)),
    )
    figures = {key: Provenance.model_validate({"origin": o, "source": s}) for key, (o, s) in _SOURCES.items()}
    return fit.profile.model_copy(update={"backing": backing, "figures": figures, "range": _range(fit)})


def figure_std(profile: Profile, key: str) -> float:
    """Return the standard error of a figure: its shifts by all independent errors together."""
    return sqrt(sum(error.shifts.get(key, 0.0) ** 2 for error in profile.backing.uncertainty))


def _unseen(left_out: tuple[LeftOut, ...]) -> float | None:
    """The root mean square of the errors that were made for calibration rows of configurations left out."""
    errors = [error for out in left_out if (error := out.calibration_error) is not None]
    if not errors:
        return None
    return min(MOST_SCATTER, max(_LEAST, sqrt(sum(error**2 for error in errors) / len(errors))))


def _uncertainty(fit: Fit) -> Iterator[Uncertainty | None]:
    """Independent errors: of the fit, along the covariance's Cholesky factor; of the breakdown's readings."""
    columns = np.linalg.cholesky(fit.covariance).T
    for number, column in enumerate(columns, 1):
        shifts = dict(zip(fit.names, column.tolist(), strict=True))
        moved = Parameters(*(value + shifts.get(name, 0.0) for name, value in fit.parameters._asdict().items()))
        profile = profile_of(moved, fit.readings, fit.reference, fit.profile.source)
        yield _shift(fit.profile, profile, f"the fitted parameters, direction {number} of {len(columns)}")
    for index, breakdown in enumerate(fit.breakdowns):
        for phase, std_s in (
            ("pdm_forward", fit.scatter_fraction * breakdown["pdm_forward"]),
            ("cycle_sync", sqrt(2.0) * READING_STD_S),
        ):
            others = (*fit.breakdowns[:index], _changed(breakdown, phase, std_s), *fit.breakdowns[index + 1 :])
            profile = profile_of(fit.parameters, read_off(others), fit.reference, fit.profile.source)
            name = "ctrl_prepare and cycle_sync" if phase == "cycle_sync" else phase
            which = f"{breakdown.stages} stages"
            if sum(other.stages == breakdown.stages for other in fit.breakdowns) > 1:
                which += f" and {breakdown.draft_layers} draft layers"
            yield _shift(fit.profile, profile, f"{name} with {which}")


def _changed(breakdown: Breakdown, phase: str, by_s: float) -> Breakdown:
    phases = {**breakdown.phases, phase: breakdown[phase] + by_s}
    return replace(breakdown, phases=MappingProxyType(phases))


def _shift(base: Profile, moved: Profile, says: str) -> Uncertainty | None:
    shifts = {key: figure(moved, key) - figure(base, key) for key in FIGURES}
    # What arithmetic alone moves is no error of a figure.
    shifts = {key: by for key, by in shifts.items() if abs(by) > 1e-9 * abs(figure(base, key))}
    return Uncertainty(says=says, shifts=shifts) if shifts else None


def _alternatives(fit: Fit) -> Iterator[Alternative]:
    """What the evidence does not decide: what control grows with, what a draft does, what sampling adds to it."""
    readings, low = fit.readings, fit.breakdowns[0]
    if readings.growth_per_worker_s > 0.0 and readings.growth_per_node_s > 0.0:
        nodes = num_nodes(low.stages)
        for says, worker_s, node_s in (
            ("control grows with the ranks alone", readings.growth_per_worker_s, 0.0),
            ("control grows with the nodes alone", 0.0, readings.growth_per_node_s),
        ):
            cycle_s = readings.control_s + (readings.control_per_worker_s - worker_s) * (low.stages + 1)
            cycle_s = max(0.0, cycle_s + (readings.control_per_node_s - node_s) * (nodes - 1))
            figures = {
                "control.per_cycle_s": cycle_s, "control.per_worker_s": worker_s, "control.per_node_s": node_s,
            }  # fmt: skip
            yield Alternative(says=says, figures=figures)
    yield from _rows(fit)
    if fit.parameters.sampling_s > 0.0:
        yield Alternative(says="sampling costs a draft nothing", figures={"draft_sampling": 0.0})
        yield Alternative(
            says="sampling costs a draft what it costs a verification",
            figures={"draft_sampling": fit.parameters.sampling_s},
        )


def _rows(fit: Fit) -> Iterator[Alternative]:
    """A draft that grows with its rows: no two breakdowns tell depth from rows, so a layer is as one of the target."""
    layer_s, factor = figure(fit.profile, "forward_per_layer"), fit.parameters.profiler_factor
    rest = [(rows, took_s / factor - layers * layer_s) for layers, rows, took_s in fit.readings.drafts]
    if len({rows for rows, _ in rest}) < 2:
        return
    row_s, fixed_s = line(rest)
    if row_s > 0.0:
        figures = {"draft_per_layer": layer_s, "draft_fixed": max(0.0, fit.readings.post_recv_s + fixed_s)}
        says = "a draft grows with its rows, and its layers cost what the target's do"
        yield Alternative(says=says, figures=figures, draft_per_row_s=row_s)


def _range(fit: Fit) -> Range:
    stages = sorted({row.stages for row in fit.rows} | {b.stages for b in fit.breakdowns})
    layers = sorted({row.draft_layers for row in fit.rows} | {b.draft_layers for b in fit.breakdowns})
    nodes = [num_nodes(count) for count in stages]
    tokens_s = [row.token_s for row in fit.rows]
    return Range(
        models=tuple(sorted({row.model for row in fit.rows})),
        stages=(stages[0], stages[-1]),
        sampled_stages=tuple(sorted({row.stages for row in fit.rows if row.is_sampled})),
        draft_layers=(layers[0], layers[-1]),
        drafts=tuple(dict.fromkeys((b.stages, b.draft_layers) for b in fit.breakdowns)),
        even_cuts=all(case_of(row).model.num_layers % row.stages == 0 for row in fit.rows),
        nodes=(nodes[0], nodes[-1]),
        launch=("eager",),
        plain_token_s=(min(tokens_s), max(tokens_s)),
    )
