"""Values of a config.json by key, each checked for what it must be.

Raises ScenarioError of the form "key is value: rule"; who read the file puts its name in front.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, NoReturn

from spdsim.errors import ScenarioError

_REQUIRED = object()
_LONGEST = 60
_MOST = 1_000_000_000
"""No size of a model comes near it; products of sizes stay finite."""


@dataclass(frozen=True, slots=True)
class Config:
    """A mapping of a config.json. prefix: where it stands in the file ("text_config."). family: its model_type."""

    values: Mapping[str, Any]
    family: str = "model"
    prefix: str = ""

    def part(self, key: str) -> "Config | None":
        """Return a mapping inside, or None where there is none."""
        value = self.values.get(key)
        if value is None:
            return None
        if not isinstance(value, Mapping):
            self.refuse(key, "must be a mapping")
        return Config(value, self.family, f"{self.prefix}{key}.")

    def count(self, key: str, default: Any = _REQUIRED, most: int = _MOST) -> Any:
        """Return a whole number, 1 to `most`; `default` where the key is missing or null."""
        value = self._get(key, default)
        return value if value is default else self._whole(key, value, 1, most)

    def index(self, key: str, default: int) -> int:
        """Return a whole number, at least 0."""
        value = self._get(key, default)
        return value if value is default else self._whole(key, value, 0, _MOST)

    def flag(self, key: str, default: bool) -> bool:
        """Return true or false."""
        value = self._get(key, default)
        if not isinstance(value, bool):
            self.refuse(key, "must be true or false")
        return value

    def text(self, key: str, default: Any = _REQUIRED) -> Any:
        """Return a text."""
        value = self._get(key, default)
        if value is not default and not isinstance(value, str):
            self.refuse(key, "must be text")
        return value

    def list_of(self, key: str, kind: type) -> list[Any] | None:
        """Return a list of texts or of whole numbers, or None where there is none."""
        value = self.values.get(key)
        if value is None:
            return None
        if not isinstance(value, list) or not all(type(entry) is kind for entry in value):
            self.refuse(key, f"must be a list of {'whole numbers' if kind is int else 'texts'}")
        return value

    def choice(self, key: str, known: tuple[str, ...], default: Any = _REQUIRED) -> Any:
        """Return one of several texts."""
        value = self.text(key, default)
        if value is not default and value not in known:
            close = get_close_matches(value, known, 1)
            self.refuse(key, f"must be one of {', '.join(known)}" + (f" (did you mean {close[0]}?)" if close else ""))
        return value

    def refuse(self, key: str, rule: str) -> NoReturn:
        """Raise the ScenarioError that says what `key` must be."""
        raise ScenarioError(f"{self.prefix}{key} is {shown(self.values.get(key))}: {rule}")

    def missing(self, key: str) -> NoReturn:
        """Raise the ScenarioError for a key that is not there."""
        article = "an" if self.family[0] in "aeiou" else "a"
        raise ScenarioError(f"{self.prefix}{key} is missing: {article} {self.family} config must have it")

    def _get(self, key: str, default: Any) -> Any:
        value = self.values.get(key)
        if value is None and default is _REQUIRED:
            self.missing(key)
        return default if value is None else value

    def _whole(self, key: str, value: Any, least: int, most: int) -> int:
        if type(value) is not int:
            self.refuse(key, "must be a whole number")
        if value < least:
            self.refuse(key, f"must be at least {least}")
        if value > most:
            self.refuse(key, f"must be at most {most}")
        return int(value)


def shown(value: Any) -> str:
    """Return a value on one short line, as it stands in the file."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."
