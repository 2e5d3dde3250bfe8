"""A comparison as plain data for JSON, keys in a fixed order."""

from dataclasses import asdict
from math import isfinite
from typing import Any

from spdsim import __version__
from spdsim.comparison.figure import Figure, Interval
from spdsim.comparison.report import Comparison, GapTimes, MessageTimes, Part, TaskTimes

SCHEMA_VERSION = 1


def to_document(comparison: Comparison) -> dict[str, Any]:
    """Return the document of a comparison; what does not exist is None."""
    return {
        "format": "spd-comparison",
        "schema_version": SCHEMA_VERSION,
        "tool_version": __version__,
        "measured": asdict(comparison.measured),
        "predicted": asdict(comparison.predicted),
        "grade": comparison.grade,
        "has_same_verdicts": comparison.has_same_verdicts,
        "figures": [_figure(figure) for figure in comparison.figures],
        "worst": comparison.worst.name,
        "shares": [
            {
                "worker": share.worker,
                "role": share.role,
                **{figure.name: _figure(figure) for figure in (share.useful, share.wasted, share.idle)},
            }
            for share in comparison.shares
        ],
        "tasks": [_part(task) for task in comparison.tasks],
        "messages": [_part(message) for message in comparison.messages],
        "gaps": [_part(gap) for gap in comparison.gaps],
        "cycle_difference_s": comparison.cycle_difference_s,
        "unexplained_s": comparison.unexplained_s,
        "culprit": None if comparison.culprit is None else asdict(comparison.culprit),
        "notes": list(comparison.notes),
    }


def _figure(figure: Figure) -> dict[str, Any]:
    return {
        "name": figure.name,
        "measured": figure.measured,
        "predicted": figure.predicted,
        "measured_interval": _interval(figure.measured_interval),
        "predicted_interval": _interval(figure.predicted_interval),
        "error_fraction": figure.error_fraction,
        "error_points": figure.error_points,
        "is_within": figure.is_within,
    }


def _interval(interval: Interval | None) -> list[float] | None:
    return None if interval is None else list(interval)


def _part(part: Part) -> dict[str, Any]:
    match part:
        case TaskTimes():
            place = {"role": part.role, "op": part.op}
        case MessageTimes():
            place = {"payload": part.payload, "leg": part.leg}
        case GapTimes():
            place = {"role": part.role}
        case _:
            place = {}
    return {
        **place,
        "name": part.name,
        "measured": part.measured and asdict(part.measured),
        "predicted": part.predicted and asdict(part.predicted),
        "explained_s": part.explained_s,
        "noise_s": part.noise_s if isfinite(part.noise_s) else None,
    }
