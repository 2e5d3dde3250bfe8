"""What a sweep found: its points as rows and as a document, and the best of them."""

import json
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from spdsim import __version__
from spdsim.analysis.report import Estimate
from spdsim.errors import SpdError
from spdsim.evaluation import Evaluation
from spdsim.scenario import Scenario, scenario_document
from spdsim.scenario.load import scenario_from
from spdsim.sweeping.points import Point, Spec
from spdsim.sweeping.run import Effort
from spdsim.sweeping.vary import Span
from spdsim.timing.origins import origins_of

SCHEMA_VERSION = 1

Metric = Literal["time_per_token", "tokens_per_s", "speedup", "time_to_first_token", "tokens_per_cycle"]
METRICS: tuple[Metric, ...] = get_args(Metric)

_FIELDS: Mapping[Metric, str] = {
    "time_per_token": "time_per_token_s", "tokens_per_s": "tokens_per_s", "speedup": "speedup",
    "time_to_first_token": "time_to_first_token_s", "tokens_per_cycle": "tokens_per_cycle",
}  # fmt: skip
_LESS_IS_BETTER = ("time_per_token", "time_to_first_token")
_ESTIMATES = ("time_per_token_s", "tokens_per_s", "time_to_first_token_s", "speedup")
_OTHERS = ("tokens_per_cycle", "measured_acceptance", "num_sequences", "path", "note")


@dataclass(frozen=True, slots=True)
class Sweep:
    """A sweep with all of its points, in their order. metric: what makes a point the best."""

    spec: Spec
    effort: Effort
    points: tuple[Point, ...]
    metric: Metric = "time_per_token"

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys that vary."""
        return tuple(varied.key for varied in self.spec.varied)

    @property
    def warnings(self) -> tuple[str, ...]:
        """Every distinct warning, in the order of the points."""
        return tuple(dict.fromkeys(warning for point in self.points for warning in point.warnings))

    @property
    def errors(self) -> tuple[str, ...]:
        """Every distinct reason why a point has no figures, in the order of the points."""
        return tuple(dict.fromkeys(point.error for point in self.points if point.error is not None))

    def ranked(self) -> list[Point]:
        """Return the points that have the metric, the best first; of equals the earlier one."""
        sign = 1.0 if self.metric in _LESS_IS_BETTER else -1.0
        known = [(figure.mean, point) for point in self.points if (figure := metric_of(point, self.metric)) is not None]
        return [point for _, point in sorted(known, key=lambda each: sign * each[0])]

    def document(self) -> dict[str, Any]:
        """Return all of it as plain data, keys in a fixed order.

        scenario: without what varies; None if it breaks a rule by itself. origins: of the figures of all points.
        """
        spec, best = self.spec, next(iter(self.ranked()), None)
        return {
            "schema_version": SCHEMA_VERSION,
            "tool_version": __version__,
            "scenario": _base_document(spec),
            "varied": [
                {"key": each.key, **(asdict(each.values) if isinstance(each.values, Span)
                                     else {"values": list(each.values)})}
                for each in spec.varied
            ],
            "random": None if spec.choice is None else asdict(spec.choice),
            **asdict(self.effort),
            "metric": self.metric,
            "best": None if best is None else best.number,
            "origins": self._origins(),
            "points": [
                {"point": point.number, "values": dict(zip(self.keys, point.values, strict=True)), "error": point.error,
                 "warnings": list(point.warnings), **_figures(point.evaluation)}
                for point in self.points
            ],
        }  # fmt: skip

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield each point as a flat row, by column: number, values, figures, error; None for what it has not.

        A value that is no number, text or truth value is told in JSON.
        """
        for point in self.points:
            yield {"point": point.number, **dict(zip(self.keys, map(_plain, point.values), strict=True)),
                   **_flat(point.evaluation), "error": point.error}  # fmt: skip

    def _origins(self) -> list[dict[str, str]]:
        found: dict[tuple[str, str, str], None] = {}
        for point in self.points:
            if point.evaluation is not None:
                known = point.origins
                origins = origins_of(self.spec.scenario(point.values)) if known is None else known
                found.update(((each.what, each.kind, each.source), None) for each in origins)
        return [{"figure": what, "origin": kind, "source": source} for what, kind, source in found]


def metric_of(point: Point, metric: Metric) -> Estimate | None:
    """Return one figure of a point; one without an interval as an estimate without."""
    figure = None if point.evaluation is None else getattr(point.evaluation, _FIELDS[metric])
    return Estimate(figure) if isinstance(figure, float) else figure


def columns(keys: Sequence[str]) -> list[str]:
    """Return the columns of `Sweep.rows`."""
    return ["point", *keys, *_flat(None), "error"]


def base_scenario(spec: Spec) -> Scenario | None:
    """Return the scenario without what varies; None if it breaks a rule by itself."""
    try:
        return scenario_from(deepcopy(spec.base))
    except SpdError:
        return None


def _base_document(spec: Spec) -> dict[str, Any] | None:
    scenario = base_scenario(spec)
    return None if scenario is None else scenario_document(scenario)


def _figures(evaluation: Evaluation | None) -> dict[str, Any]:
    return dict.fromkeys((*_ESTIMATES, *_OTHERS)) if evaluation is None else asdict(evaluation)


def _flat(evaluation: Evaluation | None) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for name in _ESTIMATES:
        estimate = None if evaluation is None else getattr(evaluation, name)
        for end, part in (("", "mean"), ("_low", "low"), ("_high", "high")):
            row[name + end] = None if estimate is None else getattr(estimate, part)
    return row | {name: None if evaluation is None else getattr(evaluation, name) for name in _OTHERS}


def _plain(value: Any) -> Any:
    return value if isinstance(value, bool | int | float | str) or value is None else json.dumps(value)
