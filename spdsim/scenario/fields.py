"""The kinds of value that a scenario is made of: numbers with their ranges, and choices between shapes.

A choice carries tags that begin with "@", so that an error's place can be told from the way it was reached.
"""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Discriminator, Field

Count = Annotated[int, Field(strict=True, ge=1)]
Index = Annotated[int, Field(strict=True, ge=0)]
# More than a million seconds is a mistake of units, and sums of squares would overflow far beyond.
Seconds = Annotated[float, Field(strict=True, ge=0, le=1e6)]
Positive = Annotated[float, Field(strict=True, gt=0)]
Spread = Annotated[float, Field(strict=True, ge=0, le=100)]
Fraction = Annotated[float, Field(strict=True, gt=0, le=1)]
Probability = Annotated[float, Field(strict=True, ge=0, le=1)]


class Part(BaseModel):
    """A mapping in a scenario: unknown keys refused, every number finite, nothing changed afterwards."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def base_serves(schema: dict[str, Any]) -> None:
    """Say in a JSON Schema that with `base` no other key is required."""
    required = schema.pop("required", [])
    if required:
        schema["anyOf"] = [{"required": ["base"]}, {"required": required}]
    for key in required:
        schema["properties"][key]["description"] += " Needed without `base`."


def is_number(value: object) -> bool:
    """Whether `value` is a number; true and false are not."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def by_shape() -> Discriminator:
    """Return a choice by what was written: "@a name", "@a number", "@a list" or "@a mapping"."""
    return Discriminator(_shape)


def by_kind(default: str | None = None) -> Discriminator:
    """Return a choice by the key `kind`, with tags such as "@normal"."""

    def tag(value: Any) -> str:
        kind = value.get("kind", default) if isinstance(value, Mapping) else getattr(value, "kind", None)
        return f"@{kind}"

    return Discriminator(tag)


def _shape(value: Any) -> str:
    match value:
        case str():
            return "@a name"
        case int() | float() if is_number(value):
            return "@a number"
        case list() | tuple():
            return "@a list"
        case dict() | BaseModel():
            return "@a mapping"
        case _:
            return "@something else"
