"""A profile as the text of its file: the figures with their origin and error beside them, then what backs them."""

import json
import re
from collections.abc import Iterator, Mapping
from textwrap import wrap
from typing import Any

from spdsim.fitting.backing import figure_std
from spdsim.scenario.profile import Profile

_DIGITS = 6
_WIDTH = 118

_PLAIN = re.compile(r"[A-Za-z]([\w ()./+-]*[\w()./+-])?", re.ASCII)
_WORDS = ("y", "n", "yes", "no", "on", "off", "true", "false", "null")
"""What is plain in YAML, and the words that would be read as something else."""


def profile_text(profile: Profile, head: str) -> str:
    """Return the profile as YAML with comments; `head` goes before it, a comment a line.

    Numbers have six significant digits.
    """
    data = profile.model_dump(mode="json", exclude_defaults=True, exclude={"figures", "backing", "range", "machine"})
    lines = [f"# {line}".rstrip() for line in head.splitlines()]
    lines += ["format: spd-profile", f"version: {profile.version}", f"origin: {profile.origin}"]
    lines += [f"source: {_quoted(profile.source)}", ""]
    figures = {key: value for key, value in data.items() if key not in ("format", "version", "origin", "source")}
    lines += _figures(profile, figures, ())
    if profile.machine:
        lines += ["", "# What was measured.", "machine:", *_plain(profile.machine, 1)]
    lines += ["", "# Where the figures were measured.", "range:"]
    lines += _plain(profile.range.model_dump(mode="json", exclude_none=True), 1)
    if backing := profile.backing.model_dump(mode="json", exclude_defaults=True):
        lines += ["", "# Shifts are by one standard deviation, all of one entry together; entries are independent."]
        lines += ["backing:", *_plain(backing, 1)]
    lines += ["", "figures:"]
    lines += _plain({key: entry.model_dump(mode="json") for key, entry in profile.figures.items()}, 1)
    return "\n".join(lines) + "\n"


def _figures(profile: Profile, data: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[str]:
    indent = "  " * len(path)
    for key, value in data.items():
        here = (*path, key)
        if isinstance(value, Mapping) and "kind" not in value and "mean_s" not in value:
            yield f"{indent}{key}:"
            yield from _figures(profile, value, here)
            continue
        if not isinstance(value, float | int | str) and not (isinstance(value, Mapping) and _is_one_number(value)):
            yield f"{indent}{key}:{_remark(profile, '.'.join(here))}"
            yield from _plain(value, len(here))
            continue
        number = value["mean_s"] if isinstance(value, Mapping) else value
        yield f"{indent}{key}: {_scalar(number)}{_remark(profile, '.'.join(here))}"


def _is_one_number(written: Mapping[str, Any]) -> bool:
    """Whether a duration is a constant and nothing besides."""
    return written.get("kind", "constant") == "constant" and set(written) <= {"kind", "mean_s"}


def _remark(profile: Profile, key: str) -> str:
    known = profile.figures.get(key)
    if known is None:
        return ""
    std = figure_std(profile, key)
    error = f" +- {std:.2g}" if std else ""
    return f"  #{error} {known.origin}: {known.source}"


def _plain(data: Any, depth: int) -> Iterator[str]:
    """Mappings a line each key, lists an entry a line; what is small stays on one line."""
    indent = "  " * depth
    entries = data.items() if isinstance(data, Mapping) else ((None, entry) for entry in data)
    for key, value in entries:
        start = f"{indent}- " if key is None else f"{indent}{key}: "
        flat = f"{start}{_flat(value)}"
        if isinstance(value, list) and len(flat) > _WIDTH and all(isinstance(entry, float) for entry in value):
            # Many numbers: as many on a line as fit.
            yield from wrap(flat, _WIDTH, subsequent_indent=f"{indent}  ", break_long_words=False)
            continue
        if len(flat) <= _WIDTH or not isinstance(value, Mapping | list):
            yield flat
        elif key is None:
            inner = list(_plain(value, depth + 1))
            yield start + inner[0].lstrip()
            yield from inner[1:]
        else:
            yield start.rstrip()
            yield from _plain(value, depth + 1)


def _flat(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_flat(entry)}" for key, entry in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flat, value)) + "]"
    return _scalar(value)


def _scalar(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.{_DIGITS}g}"
    if isinstance(value, bool):
        return "true" if value else "false"
    return _quoted(value) if isinstance(value, str) and not _is_plain(value) else str(value)


def _is_plain(text: str) -> bool:
    """Whether YAML reads the text as itself without quotes."""
    return bool(_PLAIN.fullmatch(text)) and text.lower() not in _WORDS


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
