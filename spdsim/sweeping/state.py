"""What is kept of a sweep while it runs, so that one that was interrupted can go on.

A file of JSON lines beside the first output, its name with `.partial` behind it: a head that says which sweep it is,
then a line for each point as it is finished. It is there from the first point on and goes when the outputs are written.
"""

import hashlib
import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

from spdsim import __version__, files
from spdsim.analysis.report import Estimate
from spdsim.errors import InputError, SpdError
from spdsim.evaluation import Evaluation
from spdsim.scenario import scenario_sha256
from spdsim.scenario.source import show
from spdsim.sweeping.points import Point, Spec
from spdsim.sweeping.run import Effort
from spdsim.sweeping.vary import Span

_FORMAT, _VERSION = "spd-sweep", 1
_ESTIMATES = ("time_per_token_s", "tokens_per_s", "time_to_first_token_s", "speedup")


def state_path(output: Path) -> Path:
    """Return where the state of a sweep with this output is kept."""
    return output.with_name(f"{output.name}.partial")


class State:
    """The file of one sweep; a context that closes it.

    Raises InputError when there is a file of an interrupted sweep and `is_resumed` is not, when the file belongs to
    another sweep, and when it cannot be read or written.
    """

    def __init__(self, path: Path, spec: Spec, effort: Effort, *, is_resumed: bool) -> None:
        self.path = path
        self._spec, self._head = spec, _head(spec, effort)
        self._file: TextIO | None = None
        self._values = list(spec.points())
        self.points = self._read() if is_resumed else []
        if not is_resumed and path.exists():
            raise InputError(
                f"{path}: holds what an interrupted sweep has done: go on with it (--resume), or remove the file"
            )

    def __enter__(self) -> "State":
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def keep(self, point: Point) -> None:
        """Write a point down, at once."""
        try:
            file = self._file = self._file or self._opened()
            file.write(_line(point))
            file.flush()
        except OSError as error:
            raise self._unwritable(error) from error

    def forget(self) -> None:
        """Remove the file: all of it is in the outputs."""
        if self._file is not None:
            self._file.close()
            self._file = None
        with suppress(OSError):
            self.path.unlink()

    def _opened(self) -> TextIO:
        """Open the file, with its head and with what was read of it, and nothing that was cut off in writing."""
        with files.atomic_writer(self.path) as fresh:
            fresh.write(json.dumps(self._head) + "\n")
            fresh.writelines(_line(point) for point in self.points)
        return self.path.open("a", encoding="utf-8", newline="\n")

    def _unwritable(self, error: OSError) -> InputError:
        return InputError(f"{self.path}: cannot be written: {error.strerror or error}")

    def _read(self) -> list[Point]:
        if not self.path.exists():
            return []
        head, *lines = files.read_text(self.path).splitlines(keepends=True) or [""]
        self._check(_data(head))
        found: dict[int, Point] = {}
        for line in lines:
            if not line.endswith("\n") or (data := _data(line)) is None:
                break  # cut off while it was written
            point = self._point(data)
            found.setdefault(point.number, point)
        return list(found.values())

    def _check(self, head: Any) -> None:
        if not isinstance(head, dict) or head.get("format") != _FORMAT:
            raise InputError(f"{self.path}: is not the state of a sweep: remove it, or name another output")
        for what, mine in self._head.items():
            if (theirs := head.get(what)) != mine:
                raise InputError(
                    f"{self.path}: belongs to another sweep: {_WORDS.get(what, what)} "
                    f"{_told(theirs, mine)}: ask for the same sweep, or remove the file"
                )

    def _point(self, data: dict[str, Any]) -> Point:
        try:
            number, error, figures = data["point"], data["error"], data["evaluation"]
            estimates = {
                name: None if figures[name] is None else Estimate(**figures[name])
                for name in _ESTIMATES if figures is not None
            }  # fmt: skip
            evaluation = None if figures is None else Evaluation(**{**figures, **estimates})
            point = Point(number, self._values[number], evaluation, error, data["scenario_sha256"],
                          tuple(data["warnings"]))  # fmt: skip
        except (KeyError, TypeError, IndexError):
            raise InputError(f"{self.path}: is not the state of a sweep: remove it, or name another output") from None
        if evaluation is not None and point.scenario_sha256 != self._sha256(point):
            raise InputError(
                f"{self.path}: belongs to another sweep: point {number} is another scenario now: "
                "restore what it was made of (a profile, a model), or remove the file"
            )
        return point

    def _sha256(self, point: Point) -> str | None:
        try:
            return scenario_sha256(self._spec.scenario(point.values))
        except SpdError:
            return None


_WORDS = {
    "tool_version": "the version of spdsim", "scenario_sha256": "the scenario", "varied": "what varies",
    "choice": "--random or the seed", "effort": "--precision or --replications",
}  # fmt: skip


def _told(theirs: Any, mine: Any) -> str:
    if isinstance(mine, str) and len(mine) == 64:
        return "is another one"
    return f"was {show(theirs)} and is {show(mine)}"


def _head(spec: Spec, effort: Effort) -> dict[str, Any]:
    base = json.dumps(spec.base.data, sort_keys=True, default=str)
    varied = [
        [each.key, asdict(each.values) if isinstance(each.values, Span) else list(each.values)] for each in spec.varied
    ]
    return {
        "format": _FORMAT,
        "version": _VERSION,
        "tool_version": __version__,
        "scenario_sha256": hashlib.sha256(base.encode()).hexdigest(),
        # As JSON reads it, so that what was written compares equal.
        "varied": json.loads(json.dumps(varied)),
        "choice": None if spec.choice is None else asdict(spec.choice),
        "effort": asdict(effort),
    }


def _line(point: Point) -> str:
    evaluation = None if point.evaluation is None else asdict(point.evaluation)
    data = {
        "point": point.number, "scenario_sha256": point.scenario_sha256, "error": point.error,
        "warnings": point.warnings, "evaluation": evaluation,
    }  # fmt: skip
    return json.dumps(data) + "\n"


def _data(line: str) -> Any:
    loads: Callable[[str], Any] = json.loads
    try:
        return loads(line)
    except ValueError:
        return None
