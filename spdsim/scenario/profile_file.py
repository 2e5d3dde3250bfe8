"""A profile by itself: read from its file, and with some of its figures changed."""

from collections.abc import Mapping
from os import PathLike, fspath
from typing import Any

from pydantic import ValidationError

from spdsim.errors import InputError, ScenarioError
from spdsim.scenario.durations import EmpiricalDraw
from spdsim.scenario.fields import Part
from spdsim.scenario.files import PROFILE, read_profile
from spdsim.scenario.model import Scenario
from spdsim.scenario.problems import from_pydantic, report
from spdsim.scenario.profile import Profile
from spdsim.scenario.source import Source
from spdsim.scenario.times import ProfileTimes

MOST_S = 1e6
"""The most seconds that a figure may have."""


class _InScenario(Part):
    """A profile where a scenario has it, so that hints at misspelt keys are the same."""

    timing: ProfileTimes


def load_profile(path: str | PathLike[str]) -> Profile:
    """Return the profile in a YAML file.

    Raises ScenarioError, one line: file and line, key, value and rule.
    """
    written = read_profile(fspath(path))
    data = {"timing": {"kind": "profile", "profile": written.data}}
    source = Source(written.name, data, included=[(PROFILE, written)])
    try:
        profile = _InScenario.model_validate(data).timing.profile
    except ValidationError as error:
        raise report(from_pydantic(error, data), source) from None
    for key in _named(profile):
        try:
            figure(profile, key)
        except KeyError:
            raise ScenarioError(f"{written.name}: {key} is no figure of this profile: must be the dotted key of a "
                                "number in it") from None  # fmt: skip
    return profile


def made_profile(data: Mapping[str, Any]) -> Profile:
    """Return the profile that a fit has made. Raises InputError, one line, for a figure out of its range."""
    try:
        return Profile.model_validate(data)
    except ValidationError as error:
        key = ".".join(str(word) for word in error.errors()[0]["loc"] if not str(word).startswith("@"))
        raise InputError(f"the evidence gives a profile that cannot be: {key} is out of its range: "
                         "check the units of the breakdown and of the baselines") from None  # fmt: skip


def with_profile(scenario: Scenario, profile: Profile) -> Scenario:
    """Return `scenario` with the times of `profile`."""
    return scenario.model_copy(update={"timing": ProfileTimes(kind="profile", profile=profile)})


def figure(profile: Profile, key: str) -> float:
    """Return the number at a dotted key: seconds, the mean of a duration that is drawn.

    Raises KeyError where there is none.
    """
    found: Any = profile
    for word in key.split("."):
        if not isinstance(found, Part) or word not in type(found).model_fields:
            raise KeyError(key)
        found = getattr(found, word)
    if isinstance(found, EmpiricalDraw):
        return sum(found.samples_s) / len(found.samples_s)
    found = getattr(found, "mean_s", found)
    if isinstance(found, bool) or not isinstance(found, int | float):
        raise KeyError(key)
    return float(found)


def with_figures(profile: Profile, figures: Mapping[str, float]) -> Profile:
    """Return the profile with the numbers at some dotted keys changed; none below zero or beyond a million seconds.

    A duration that is drawn becomes the constant. Raises KeyError where there is no such key.
    """
    data = profile.model_dump(exclude_unset=True)
    for key, value in figures.items():
        *parents, last = key.split(".")
        node = data
        for word in parents:
            node = node.setdefault(word, {})
        node[last] = min(max(0.0, value), MOST_S)
    return Profile.model_validate(data)


def _named(profile: Profile) -> list[str]:
    """The keys that the profile itself speaks of."""
    backing = profile.backing
    changed = [*(error.shifts for error in backing.uncertainty), *(other.figures for other in backing.alternatives)]
    return [*profile.figures, *(key for figures in changed for key in figures)]
