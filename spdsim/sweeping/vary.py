"""What varies: "partition.stages=1..16", "acceptance.p=0.5..0.95:10", "draft.placement=own_device,stage_0"."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from spdsim.errors import InputError
from spdsim.scenario.keys import unknown_hint
from spdsim.scenario.source import parse_yaml, show

MAX_VALUES = 100_000
"""Of one key: more is a slip of the keyboard."""

_NUMBER = r"[-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?"
_RANGE = re.compile(rf"\s*({_NUMBER})\.\.({_NUMBER})(?::(x?)(\d+))?\s*")
_LIKE_A_RANGE = re.compile(r"\s*[-+.\d][^/]*\.\.[^/]*")
_GRAMMAR = "LO..HI, LO..HI:COUNT, LO..HI:xCOUNT or values with commas"
_DIGITS = 12
"""Of a value between the ends of a range: 0.55 rather than 0.5500000000000001."""


@dataclass(frozen=True, slots=True)
class Span:
    """Every number from `low` to `high`: what a range without a count is that does not begin and end with integers."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Varied:
    """A key of the scenario and what it takes."""

    key: str
    values: Sequence[Any] | Span

    @property
    def option(self) -> str:
        """The option that said so, without its values."""
        return f"--vary {self.key}"

    @property
    def is_numeric(self) -> bool:
        """Whether every value is a number."""
        return isinstance(self.values, Span | range) or all(
            isinstance(value, int | float) and not isinstance(value, bool) for value in self.values
        )


def parse_vary(text: str) -> Varied:
    """Return what "KEY=..." says.

    `lo..hi` are the integers from lo to hi; `lo..hi:N` are N values at even distances, `lo..hi:xN` at even ratios,
    integers where all of them come out as integers; anything else is a list of YAML values with commas between them.
    Raises InputError for what is neither, and for a key that no scenario has.
    """
    key, equals, values = text.partition("=")
    key = key.strip()
    if not equals or not all(key.split(".")) or not values.strip():
        raise InputError(f"--vary {text}: must be KEY=VALUES, such as partition.stages=1..16")
    option = f"--vary {key}"
    if (meant := unknown_hint(key)) is not None:
        raise InputError(f"{option}: {key} is not a known key: {meant}")
    if found := _RANGE.fullmatch(values):
        low, high, kind, count = found.groups()
        return Varied(key, _range(option, (low, high), None if count is None else int(count), is_geometric=kind == "x"))
    if _LIKE_A_RANGE.fullmatch(values):
        raise InputError(f"{option}: is {values}: must be {_GRAMMAR}")
    return Varied(key, _listed(option, values))


def _range(option: str, ends: tuple[str, str], count: int | None, *, is_geometric: bool) -> Sequence[Any] | Span:
    low, high = (float(end) if re.search(r"[.eE]", end) else int(end) for end in ends)
    said = "..".join(ends)
    if low > high:
        raise InputError(f"{option}: the range {said} is empty: must begin with the smaller number")
    if count is None:
        if isinstance(low, float) or isinstance(high, float):
            return Span(float(low), float(high))
        _check_count(option, high - low + 1)
        return range(low, high + 1)
    _check_count(option, count)
    if count < 2 and low != high:
        raise InputError(f"{option}: the range {said} has {count} values: must have at least 2, its ends")
    if is_geometric and low <= 0:
        raise InputError(f"{option}: the range {said} begins with {low}: even ratios must begin above 0")
    return _between(low, high, max(count, 1), is_geometric=is_geometric) if low != high else (low,)


def _between(low: float, high: float, count: int, *, is_geometric: bool) -> tuple[Any, ...]:
    """`count` values, the ends exactly; integers if the ends are and all of them come out as integers."""
    step = [number / (count - 1) for number in range(count)]
    raw = [low * (high / low) ** part if is_geometric else low + (high - low) * part for part in step]
    values = [float(f"{value:.{_DIGITS}g}") for value in raw]
    values[0], values[-1] = low, high
    if isinstance(low, int) and isinstance(high, int) and all(float(value).is_integer() for value in values):
        return tuple(int(value) for value in values)
    return tuple(float(value) for value in values)


def _listed(option: str, text: str) -> tuple[Any, ...]:
    values = parse_yaml(f"[{text}]", option).data
    if not isinstance(values, list) or not values:
        raise InputError(f"{option}: is {text}: must be {_GRAMMAR}")
    _check_count(option, len(values))
    seen: set[str] = set()
    for value in values:
        if repr(value) in seen:
            raise InputError(f"{option}: has {show(value)} twice: every value must be given once")
        seen.add(repr(value))
    return tuple(values)


def _check_count(option: str, count: int) -> None:
    if count > MAX_VALUES:
        raise InputError(f"{option}: has {count:,} values: must be at most {MAX_VALUES:,}")
