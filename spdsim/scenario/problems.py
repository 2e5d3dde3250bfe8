"""One line for what is wrong with a scenario: where, key, value, rule."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from spdsim.errors import ScenarioError
from spdsim.scenario.keys import hint
from spdsim.scenario.source import KeyPath, Source, dotted, show


@dataclass(frozen=True, slots=True)
class Problem:
    """A broken rule: key path, what the key is ("is 0"), and the rule ("must be at least 1")."""

    path: KeyPath
    state: str
    rule: str


_RULES = {
    "missing": "must be given",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "int_parsing": "must be a whole number",
    "float_type": "must be a number",
    "finite_number": "must be finite",
    "greater_than_equal": "must be at least {ge:g}",
    "greater_than": "must be greater than {gt:g}",
    "less_than_equal": "must be at most {le:g}",
    "string_type": "must be text",
    "bool_type": "must be true or false",
    "model_type": "must be a mapping",
    "dict_type": "must be a mapping",
    "tuple_type": "must be a list",
    "invalid_key": "a key must be a word",
    "literal_error": "must be {expected}",
    "string_pattern_mismatch": "must be written with A (accepted) and R (rejected)",
}


def report(problems: Sequence[Problem], source: Source) -> ScenarioError:
    """Return the error that tells the first problem, and how many more there are."""
    first = problems[0]
    where, path = source.locate(first.path)
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return ScenarioError(f"{where}: {dotted(path)} {first.state}: {first.rule}{more}")


def from_pydantic(error: ValidationError, data: Any) -> list[Problem]:
    """Return the problems that pydantic found in `data`, misspelt keys first: they explain what is missing."""
    problems = [_problem(details, data) for details in error.errors(include_url=False)]
    unknown = [problem for problem in problems if problem.state == _UNKNOWN]
    meant = {problem.rule for problem in unknown}
    others = [p for p in problems if p.state != _UNKNOWN and f"did you mean `{dotted(p.path)}`?" not in meant]
    return list(dict.fromkeys(unknown + others))


_UNKNOWN = "is not a known key"


def _problem(details: ErrorDetails, data: Any) -> Problem:
    kind, context = details["type"], details.get("ctx", {})
    path = _written_path(details["loc"], data, kind in ("missing", "extra_forbidden"))
    if kind == "extra_forbidden":
        return Problem(path, _UNKNOWN, hint(path, data))
    if kind == "missing":
        return Problem(path, "is missing", _RULES[kind])
    state = f"is {show(details['input'])}"
    if kind == "union_tag_invalid":
        return _choice(path, state, details["input"], re.findall("'@([^']*)'", context["expected_tags"]))
    if kind in ("too_short", "too_long"):
        bound = context.get("min_length", context.get("max_length"))
        word = "least" if kind == "too_short" else "most"
        return Problem(path, state, f"must have at {word} {bound} {'entry' if bound == 1 else 'entries'}")
    return Problem(path, state, _RULES.get(kind, details["msg"]).format(**context).replace("'", "`"))


def _choice(path: KeyPath, state: str, value: Any, tags: list[str]) -> Problem:
    if tags[0].startswith("a "):
        return Problem(path, state, f"must be {' or '.join(tags)}")
    if not isinstance(value, dict):
        return Problem(path, state, "must be a mapping with a `kind`: " + ", ".join(tags))
    if "kind" not in value:
        return Problem((*path, "kind"), "is missing", f"must be one of {', '.join(tags)}")
    close = get_close_matches(str(value["kind"]), tags, 1)
    meant = f" (did you mean {close[0]}?)" if close else ""
    return Problem((*path, "kind"), f"is {show(value['kind'])}", f"must be one of {', '.join(tags)}{meant}")


def _written_path(loc: tuple[str | int, ...], data: Any, keep_last: bool) -> KeyPath:
    """Return the part of pydantic's location that somebody wrote: no tags, nothing filled in on the way."""
    parts = [part for part in loc if not (isinstance(part, str) and part[:1] in ("@", "["))]
    path: list[str | int] = []
    for index, part in enumerate(parts):
        inside = isinstance(data, dict) and part in data
        inside = inside or (isinstance(data, list) and isinstance(part, int) and part < len(data))
        if not inside:
            return (*path, part) if keep_last and index == len(parts) - 1 else tuple(path)
        path.append(part)
        data = data[part]
    return tuple(path)
