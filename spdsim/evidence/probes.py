"""What single operations cost on a machine: the JSON file that `spdsim-exec probe` writes, as plain values.

Seconds, bytes per second and ratios, by what was measured and in which case.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from os import PathLike, fspath
from types import MappingProxyType
from typing import Any

from spdsim.errors import InputError
from spdsim.files import parse_json, read_text

FORMAT, VERSION = "spd-probes", 1
UNITS = ("s", "bytes/s", "ratio")
MACHINE_KEYS = ("device", "devices", "cpu", "cores", "torch", "cuda", "driver", "nccl", "python", "host_os")
RUN_KEYS = ("model", "dtype", "launch", "backend", "threads", "stages")

Param = str | int | float


@dataclass(frozen=True, slots=True)
class Probe:
    """One case of what was measured, in `unit`: how many samples (at least one), their middle and their spread.

    what: the operation ("layer"); params: what tells the case from others. median, mean, p05, p95: finite and at
    least 0, the median between the two quantiles.
    """

    what: str
    params: Mapping[str, Param]
    unit: str
    count: int
    median: float
    mean: float
    p05: float
    p95: float


@dataclass(frozen=True, slots=True)
class SkippedProbe:
    """What was not measured, and why."""

    what: str
    why: str


@dataclass(frozen=True, slots=True)
class Probes:
    """A file of probes.

    machine, run: what it was measured on, and which run's operations they are; the keys of MACHINE_KEYS and RUN_KEYS
    are there. date: when, in ISO 8601.
    """

    path: str
    machine: Mapping[str, Any]
    run: Mapping[str, Any]
    date: str
    probes: tuple[Probe, ...]
    skipped: tuple[SkippedProbe, ...]

    def of(self, what: str, **params: Param) -> list[Probe]:
        """Return the cases of an operation that have all of `params`, in the order of the file."""
        return [
            probe for probe in self.probes
            if probe.what == what and all(probe.params.get(key) == value for key, value in params.items())
        ]  # fmt: skip


def read_probes(path: str | PathLike[str]) -> Probes:
    """Return the probes in a JSON file.

    Raises InputError, one line: the file, the key, its value, the rule.
    """
    name = fspath(path)
    top = _Node(name, "", _data(name))
    top.one_of("format", (FORMAT,))
    top.one_of("version", (VERSION,))
    machine, run = top.child("machine"), top.child("run")
    machine.has(MACHINE_KEYS)
    run.has(RUN_KEYS)
    return Probes(
        name, MappingProxyType(machine.data), MappingProxyType(run.data), top.text("date"),
        tuple(_probe(node) for node in top.children("probes")),
        tuple(SkippedProbe(node.text("what"), node.text("why")) for node in top.children("skipped")),
    )  # fmt: skip


def _data(name: str) -> dict[str, Any]:
    data = parse_json(read_text(name), name)
    if not isinstance(data, dict):
        raise InputError(f"{name}: is {_show(data)}: must be a mapping of keys, as `spdsim-exec probe` writes it")
    return data


def _probe(node: "_Node") -> Probe:
    params = node.child("params")
    for key in params.data:
        params.param(key)
    found = Probe(
        node.text("what"), MappingProxyType(params.data), node.one_of("unit", UNITS), node.count("count"),
        node.number("median"), node.number("mean"), node.number("p05"), node.number("p95"),
    )  # fmt: skip
    if not found.p05 <= found.median <= found.p95:
        raise node.error("median", "must be from p05 to p95")
    return found


@dataclass(frozen=True, slots=True)
class _Node:
    """A mapping in a file and where it is, such as "probes[3].": its values, or one line for what is wrong with one."""

    file: str
    where: str
    data: dict[str, Any]

    def error(self, key: str, rule: str) -> InputError:
        """Return the error of a key whose value breaks a rule."""
        state = f"is {_show(self.data[key])}" if key in self.data else "is missing"
        return InputError(f"{self.file}: {self.where}{key} {state}: {rule}")

    def has(self, keys: tuple[str, ...]) -> None:
        """Check that all of `keys` are there."""
        for key in keys:
            if key not in self.data:
                raise self.error(key, "must be given")

    def one_of(self, key: str, allowed: tuple[Any, ...]) -> Any:
        """Return a value that must be one of a few."""
        value = self.data.get(key)
        if type(value) not in {type(each) for each in allowed} or value not in allowed:
            raise self.error(key, f"must be {' or '.join(map(str, allowed))}")
        return value

    def text(self, key: str) -> str:
        """Return a text that must not be empty."""
        value = self.data.get(key)
        if not isinstance(value, str) or not value:
            raise self.error(key, "must be a text")
        return value

    def number(self, key: str) -> float:
        """Return a finite number of at least 0."""
        value: Any = self.data.get(key)
        if not _is_number(value) or value < 0:
            raise self.error(key, "must be a finite number of at least 0")
        return float(value)

    def count(self, key: str) -> int:
        """Return a whole number of at least 1."""
        value = self.data.get(key)
        if type(value) is not int or value < 1:
            raise self.error(key, "must be a whole number of at least 1")
        return value

    def param(self, key: str) -> None:
        """Check that a value is a text or a finite number."""
        value = self.data[key]
        if not isinstance(value, str) and not _is_number(value):
            raise self.error(key, "must be a text or a finite number")

    def child(self, key: str) -> "_Node":
        """Return a mapping."""
        value = self.data.get(key)
        if not isinstance(value, dict):
            raise self.error(key, "must be a mapping")
        return _Node(self.file, f"{self.where}{key}.", value)

    def children(self, key: str) -> list["_Node"]:
        """Return a list of mappings."""
        value = self.data.get(key)
        if not isinstance(value, list):
            raise self.error(key, "must be a list")
        for index, each in enumerate(value):
            if not isinstance(each, dict):
                raise InputError(f"{self.file}: {self.where}{key}[{index}] is {_show(each)}: must be a mapping")
        return [_Node(self.file, f"{self.where}{key}[{index}].", each) for index, each in enumerate(value)]


_LARGEST = 1e300
_MOST_SHOWN = 60


def _is_number(value: Any) -> bool:
    """Whether a value is a number that arithmetic takes: true and false are none."""
    return type(value) in (int, float) and abs(value) <= _LARGEST and isfinite(value)


def _show(value: Any) -> str:
    """A value as an error shows it, in one line and not too long."""
    written = json.dumps(value)
    return written if len(written) <= _MOST_SHOWN else f"{written[:_MOST_SHOWN]}…"
