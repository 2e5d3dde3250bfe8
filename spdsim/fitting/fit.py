"""Fitting three parameters to published speedups and breakdowns: Gauss-Newton on the engine's own cycles.

Observations: the logarithm of every calibration row's wall speedup, and of each breakdown's stage pass.
A row of one data set has the variance of its rounding plus a scatter that is common to all observations, chosen
so that chi-squared is as large as the degrees of freedom. Deterministic; sampling is not fitted where no row has it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import log, sqrt
from typing import TYPE_CHECKING

import numpy as np

from spdsim.errors import InputError
from spdsim.evidence import Breakdown, Row
from spdsim.evidence.table import ROUNDING_STD
from spdsim.fitting.mechanisms import Parameters, profile_of, profiled_forward_s
from spdsim.fitting.reading import Readings, read_off
from spdsim.prediction import Case, Predictor, case_of
from spdsim.scenario.profile import Profile

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

CALIBRATE = "calibrate"
"""The rows that may be fitted."""

_FIRST = Parameters(stage_fixed_s=0.3e-3, profiler_factor=1.1, sampling_s=1e-3)
_STEPS = Parameters(1e-5, 1e-3, 1e-5)
"""Where the search begins, and how far a finite difference reaches."""

_LEAST = Parameters(stage_fixed_s=0.0, profiler_factor=0.5, sampling_s=0.0)
_MOST = Parameters(stage_fixed_s=1e3, profiler_factor=4.0, sampling_s=1e3)
"""Where the search must stay. A cost may be held at nothing; a factor at either end fits nothing."""

_FACTOR = Parameters._fields.index("profiler_factor")

_MAX_ROUNDS, _CLOSE = 24, 1e-7
_WORST_RESIDUAL, _WORST_SCATTER, _WORST_CONDITION = 0.7, 0.2, 1e10
"""Beyond, what is left over is no scatter, and parameters cannot be told apart."""

_LEAST_SCATTER = 1e-4


@dataclass(frozen=True, slots=True)
class Parameter:
    """A fitted parameter and its standard error; the error is None where nothing says anything of it."""

    name: str
    value: float
    std: float | None


@dataclass(frozen=True, slots=True)
class Fit:
    """A fit: parameters, covariance of those that were fitted, what was left over.

    residuals: observed over fitted, less 1, one an observation. scatter_fraction: the common standard deviation.
    held: parameters that the evidence would have below nothing, held there; they are not among `names`.
    """

    parameters: Parameters
    names: tuple[str, ...]
    covariance: "Floats"
    readings: Readings
    reference: Case
    profile: Profile
    rows: tuple[Row, ...]
    breakdowns: tuple[Breakdown, ...]
    residuals: "Floats"
    scatter_fraction: float
    num_rounds: int
    held: tuple[str, ...] = ()

    @property
    def estimates(self) -> tuple[Parameter, ...]:
        """Every parameter with its standard error."""
        std = dict(zip(self.names, np.sqrt(np.diag(self.covariance)).tolist(), strict=True))
        return tuple(Parameter(name, value, std.get(name)) for name, value in self.parameters._asdict().items())


def calibration_rows(rows: Sequence[Row]) -> tuple[Row, ...]:
    """Return the rows that carry evidence for a fit: marked calibrate, of one data set, with a wall speedup."""
    return tuple(row for row in rows if row.use == CALIBRATE and not row.is_mean and row.wall_speedup is not None)


def fit_profile(rows: Sequence[Row], breakdowns: tuple[Breakdown, ...], source: str, where: str = "the table") -> Fit:
    """Return the fit to the calibration rows among `rows` and to `breakdowns`.

    where: what holds the rows, for errors. Raises InputError where there is too little to fit, or nothing fits it.
    """
    used = calibration_rows(rows)
    if all(row.is_sampled for row in used):
        raise InputError(
            f"{where}: has no greedy row to fit: must have rows of method spd at temperature 0, "
            "of a single data set, with use calibrate and a wall_speedup"
        )
    if len(used) + len(breakdowns) < len(Parameters._fields) + 1:
        raise InputError(f"{where}: has {len(used)} rows to fit: must have at least 3")
    with np.errstate(all="ignore"):
        return _Search(used, breakdowns, source, where).run()


class _Search:
    """The least-squares problem of one fit."""

    def __init__(self, rows: tuple[Row, ...], breakdowns: tuple[Breakdown, ...], source: str, where: str) -> None:
        self._rows, self._breakdowns, self._source, self._where = rows, breakdowns, source, where
        self._readings, self._reference = read_off(breakdowns), _reference(rows)
        is_fitted = (True, True, any(row.is_sampled for row in rows))
        self._free = [index for index, free in enumerate(is_fitted) if free]
        self._observed = np.log(
            [row.wall_speedup or 1.0 for row in rows] + [breakdown["last_stage_forward"] for breakdown in breakdowns]
        )
        self._rounding = np.array([_rounding(row) for row in rows] + [0.0] * len(breakdowns))

    def run(self) -> Fit:
        """Search until nothing moves any more. Raises InputError where nothing is found, or what is fits nothing."""
        parameters = _FIRST if len(self._free) == len(_FIRST) else _FIRST._replace(sampling_s=0.0)
        scatter, num_rounds, is_close = 0.01, 0, False
        while not is_close and num_rounds < _MAX_ROUNDS:
            num_rounds += 1
            residuals, slopes = self._linearised(parameters)
            step, _, _ = self._step(parameters, residuals, slopes, scatter)
            scatter = self._scatter(residuals - slopes @ step)
            before, parameters = parameters, self._moved(parameters, step)
            moved = np.abs(np.array(parameters) - np.array(before))
            is_close = bool(np.all(moved <= _CLOSE * np.abs(np.array(parameters))))
        residuals, slopes = self._linearised(parameters)
        is_at_an_end = parameters[_FACTOR] in (_LEAST[_FACTOR], _MOST[_FACTOR])
        is_far = not np.all(np.abs(residuals) <= _WORST_RESIDUAL)
        if not is_close or is_at_an_end or is_far or not scatter <= _WORST_SCATTER:
            raise self._no_fit(residuals)
        _, covariance, held = self._step(parameters, residuals, slopes, scatter)
        free = [index for index in self._free if index not in held]
        return Fit(
            parameters, tuple(Parameters._fields[index] for index in free), covariance, self._readings,
            self._reference, self._profile(parameters), self._rows, self._breakdowns, np.expm1(residuals),
            scatter, num_rounds, tuple(Parameters._fields[index] for index in held),
        )  # fmt: skip

    def _step(
        self, parameters: Parameters, residuals: "Floats", slopes: "Floats", scatter: float
    ) -> "tuple[Floats, Floats, list[int]]":
        """Return the least-squares step, the covariance of the parameters that may move, and which are held.

        A parameter at its least that would go below is held there, and the others are fitted without it.
        """
        variances = self._variances(scatter)
        step, covariance = self._solved(residuals, slopes, variances)
        held = [
            index
            for index, change in zip(self._free, step.tolist(), strict=True)
            if index != _FACTOR and parameters[index] <= _LEAST[index] and change < 0.0
        ]
        if held:
            moving = [at for at, index in enumerate(self._free) if index not in held]
            part, covariance = self._solved(residuals, slopes[:, moving], variances)
            step = np.zeros(len(self._free))
            step[moving] = part
        return step, covariance, held

    def _solved(self, residuals: "Floats", slopes: "Floats", variances: "Floats") -> "tuple[Floats, Floats]":
        solved = _least_squares(residuals, slopes, variances)
        if solved is None:
            raise self._no_fit(residuals)
        return solved

    def _no_fit(self, residuals: "Floats") -> InputError:
        """The error of evidence that does not go together: what fits worst, and what to look at."""
        sizes = np.where(np.isfinite(residuals), np.abs(residuals), np.inf)
        worst = int(np.argmax(sizes))
        observed = float(np.exp(self._observed[worst]))
        predicted = float(np.exp(self._observed[worst] - residuals[worst]))
        if worst < len(self._rows):
            row = self._rows[worst]
            return InputError(
                f"{row.place}: wall_speedup is {observed:g}: fits worst of evidence that does not go together, "
                f"{predicted:.4g} would: check this row, and the units of the breakdown"
            )
        breakdown = self._breakdowns[worst - len(self._rows)]
        return InputError(
            f"{self._where}: does not go together with last_stage_forward of {breakdown.stages} stages, "
            f"{1e3 * observed:.4g} ms, where {1e3 * predicted:.4g} ms would fit: check the breakdown's units and the "
            "rows' baselines"
        )

    def _profile(self, parameters: Parameters) -> Profile:
        try:
            return profile_of(parameters, self._readings, self._reference, self._source)
        except InputError as error:
            raise InputError(f"{self._where}: {error}") from None

    def _modelled(self, parameters: Parameters) -> "Floats":
        """Logarithms of what the parameters give for every observation."""
        profile = self._profile(parameters)
        predictor = Predictor(profile)
        speedups = [predictor.speedup(row) for row in self._rows]
        num_layers = self._reference.model.num_layers
        passes_s = [profiled_forward_s(parameters, profile, -(-num_layers // b.stages)) for b in self._breakdowns]
        return np.log(speedups + passes_s)

    def _linearised(self, parameters: Parameters) -> "tuple[Floats, Floats]":
        """Residuals, and the slope of the model in each free parameter, shape (observations, free)."""
        base = self._modelled(parameters)
        columns = [
            (self._modelled(self._moved(parameters, unit * _STEPS[index])) - base) / _STEPS[index]
            for index, unit in zip(self._free, np.eye(len(self._free)), strict=True)
        ]
        return self._observed - base, np.array(columns).T

    def _moved(self, parameters: Parameters, step: "Floats") -> Parameters:
        values = list(parameters)
        for index, change in zip(self._free, step.tolist(), strict=True):
            values[index] = min(max(values[index] + change, _LEAST[index]), _MOST[index])
        return Parameters(*values)

    def _variances(self, scatter: float) -> "Floats":
        return np.asarray(self._rounding**2 + scatter**2)

    def _scatter(self, residuals: "Floats") -> float:
        """Return the scatter at which chi-squared equals the degrees of freedom, by bisection."""
        freedom = len(residuals) - len(self._free)
        return _root(lambda scatter: float((residuals**2 / self._variances(scatter)).sum()) - freedom)


def _reference(rows: Sequence[Row]) -> Case:
    """The configuration whose baseline gives the profile's layers: the first row's, at the mean of all baselines."""
    first = case_of(rows[0])
    alike = [row.token_s for row in rows if row.model == rows[0].model]
    return Case(first.model, first.stages, first.draft_layers, first.is_sampled, sum(alike) / len(alike))


def _rounding(row: Row) -> float:
    """Relative standard deviation that the rounding of both speedups leaves in a row."""
    walls = ROUNDING_STD / (row.wall_speedup or 1.0)
    return sqrt(walls**2 + (ROUNDING_STD / row.theoretical_speedup) ** 2)


def _least_squares(residuals: "Floats", slopes: "Floats", variances: "Floats") -> "tuple[Floats, Floats] | None":
    """Return the weighted least-squares step and the covariance of its parameters; None where they are not told."""
    # In units in which the columns are alike: seconds and a factor differ by three orders of magnitude.
    scale = np.sqrt((slopes**2 / variances[:, None]).sum(axis=0))
    if not (np.all(np.isfinite(residuals)) and np.all(np.isfinite(scale)) and np.all(scale > 0.0)):
        return None
    weighted = slopes / np.sqrt(variances)[:, None] / scale
    if not np.linalg.cond(weighted.T @ weighted) < _WORST_CONDITION:
        return None
    step = np.linalg.lstsq(weighted, residuals / np.sqrt(variances), rcond=None)[0] / scale
    covariance = np.linalg.pinv(weighted.T @ weighted) / np.outer(scale, scale)
    return np.asarray(step), np.asarray(covariance)


def _root(excess: Callable[[float], float]) -> float:
    """Return where a falling function of the scatter crosses zero, or the least scatter that is allowed."""
    low, high = log(_LEAST_SCATTER), log(1.0)
    if excess(_LEAST_SCATTER) <= 0.0:
        return _LEAST_SCATTER
    for _ in range(60):
        middle = (low + high) / 2.0
        low, high = (middle, high) if excess(np.exp(middle)) > 0.0 else (low, middle)
    return float(np.exp((low + high) / 2.0))


__all__ = ["CALIBRATE", "Fit", "Parameter", "Parameters", "calibration_rows", "fit_profile"]
