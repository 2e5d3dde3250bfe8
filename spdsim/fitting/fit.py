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

_MAX_ROUNDS, _CLOSE = 12, 1e-7
_ROUNDING_STD = 0.01 / sqrt(12.0)
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

    where: what holds the rows, for errors. Raises InputError where there is too little to fit.
    """
    used = calibration_rows(rows)
    if all(row.is_sampled for row in used):
        raise InputError(
            f"{where}: has no greedy row to fit: must have rows of method spd at temperature 0, "
            "of a single data set, with use calibrate and a wall_speedup"
        )
    if len(used) + len(breakdowns) < len(Parameters._fields) + 1:
        raise InputError(f"{where}: has {len(used)} rows to fit: must have at least 3")
    return _Search(used, breakdowns, source).run()


class _Search:
    """The least-squares problem of one fit."""

    def __init__(self, rows: tuple[Row, ...], breakdowns: tuple[Breakdown, ...], source: str) -> None:
        self._rows, self._breakdowns, self._source = rows, breakdowns, source
        self._readings, self._reference = read_off(breakdowns), _reference(rows)
        is_fitted = (True, True, any(row.is_sampled for row in rows))
        self._free = [index for index, free in enumerate(is_fitted) if free]
        self._observed = np.log(
            [row.wall_speedup or 1.0 for row in rows] + [breakdown["last_stage_forward"] for breakdown in breakdowns]
        )
        self._rounding = np.array([_rounding(row) for row in rows] + [0.0] * len(breakdowns))

    def run(self) -> Fit:
        """Search until nothing moves any more."""
        parameters = _FIRST if len(self._free) == len(_FIRST) else _FIRST._replace(sampling_s=0.0)
        scatter, num_rounds, is_close = 0.01, 0, False
        while not is_close and num_rounds < _MAX_ROUNDS:
            num_rounds += 1
            residuals, slopes = self._linearised(parameters)
            step, _ = _least_squares(residuals, slopes, self._variances(scatter))
            scatter = self._scatter(residuals - slopes @ step)
            parameters = self._moved(parameters, step)
            is_close = bool(np.all(np.abs(step) <= _CLOSE * np.abs(np.array(parameters)[self._free])))
        residuals, slopes = self._linearised(parameters)
        _, covariance = _least_squares(residuals, slopes, self._variances(scatter))
        return Fit(
            parameters, tuple(Parameters._fields[index] for index in self._free), covariance, self._readings,
            self._reference, self._profile(parameters), self._rows, self._breakdowns, np.expm1(residuals),
            scatter, num_rounds,
        )  # fmt: skip

    def _profile(self, parameters: Parameters) -> Profile:
        return profile_of(parameters, self._readings, self._reference, self._source)

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
            values[index] += change
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
    walls = _ROUNDING_STD / (row.wall_speedup or 1.0)
    return sqrt(walls**2 + (_ROUNDING_STD / row.theoretical_speedup) ** 2)


def _least_squares(residuals: "Floats", slopes: "Floats", variances: "Floats") -> "tuple[Floats, Floats]":
    """Return the weighted least-squares step and the covariance of its parameters."""
    # In units in which the columns are alike: seconds and a factor differ by three orders of magnitude.
    scale = np.sqrt((slopes**2 / variances[:, None]).sum(axis=0))
    weighted = slopes / np.sqrt(variances)[:, None] / scale
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
