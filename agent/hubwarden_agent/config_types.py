"""Types of values in `agent.toml`: closed tables, bounded text and numbers, and mistakes as sentences.

Invariants: a table refuses unknown keys, and no value is converted but text with a notation of its own (rates, sizes,
paths): `1` is neither `true` nor `"1"`. A mistake names where it is and what would be right; pydantic's own words for
it never hold the value.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from hubwarden_agent.rates import Rate, parse_rate

T = TypeVar("T")
CLOSED = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)


class Table:
    """A dataclass that pydantic reads from a table with exactly its fields as keys."""

    __slots__ = ()
    __pydantic_config__: ClassVar[ConfigDict] = CLOSED


class ClosedModel(BaseModel):
    """A table with exactly these keys that is written out again as JSON."""

    model_config = CLOSED


def matching(pattern: str, wanted: str) -> AfterValidator:
    """Text that matches a pattern as a whole."""

    def check(value: str) -> str:
        if not re.fullmatch(pattern, value):
            raise ValueError(f"must be {wanted}")
        return value

    return AfterValidator(check)


def _not_empty(items: tuple[T, ...]) -> tuple[T, ...]:
    if not items:
        raise ValueError("must hold at least one")
    return items


def _distinct(items: tuple[T, ...]) -> tuple[T, ...]:
    if any(item in items[:index] for index, item in enumerate(items)):
        raise ValueError("holds the same value twice")
    return items


def _size(value: object) -> int:
    match = re.fullmatch(r"([1-9][0-9]{0,5})([mg])", value) if isinstance(value, str) else None
    if not match:
        raise ValueError('must be a size such as "512m" or "4g"')
    return int(match[1]) * {"m": 1024**2, "g": 1024**3}[match[2]]


def _rate(value: Any) -> Rate:
    try:
        return parse_rate(value)
    except (TypeError, ValueError) as error:
        raise ValueError('must be a rate such as "3/hour" or "6/10 minutes"') from error


def _absolute(value: object) -> object:
    if not isinstance(value, str) or not PurePosixPath(value).is_absolute():
        raise ValueError("must be an absolute path")
    return value


SomeItems = Annotated[tuple[T, ...], AfterValidator(_not_empty)]
"""A list that is not empty."""
DISTINCT = AfterValidator(_distinct)
Distinct = Annotated[tuple[T, ...], DISTINCT]
"""A list, empty or not, of different values."""
Size = Annotated[int, BeforeValidator(_size)]
"""Bytes, written as `"512m"` or `"4g"`."""
RateText = Annotated[Rate, BeforeValidator(_rate)]
"""A rate, written as in `rates`."""
AbsolutePath = Annotated[Path, BeforeValidator(_absolute)]
UNSET = Path()
OptionalPath = Annotated[Path, BeforeValidator(lambda value: value if value == "" else _absolute(value))]
"""Empty text, which is the same as no key, becomes `UNSET`."""
Text = Annotated[str, matching(r"[^\x00-\x1f]{1,4096}", "text without control characters")]
Words = SomeItems[Text]
"""A command: order counts, and the same word may stand twice."""


def key_of(location: Sequence[int | str]) -> str:
    """The key of `agent.toml` that a location of pydantic's is in."""
    return ".".join(str(part) for part in location[:2])


def mistakes(error: ValidationError) -> list[str]:
    """One sentence for each mistake, beginning with its key; without any value."""
    return [
        ": ".join(filter(None, (key_of(one["loc"]), _within(one["loc"][2:]), _sentence(one))))
        for one in error.errors(include_url=False, include_input=False, include_context=False)
    ]


def _within(location: Sequence[int | str]) -> str:
    """`entry 2, HostConfig.Ulimits, value, Hard` for a place in the second entry of a list."""
    return ", ".join(f"entry {part + 1}" if isinstance(part, int) else part for part in location if part != "[key]")


_UNKNOWN = "unknown key"
_SENTENCES = {
    "unexpected_keyword_argument": _UNKNOWN,
    "extra_forbidden": _UNKNOWN,
    "missing": "must be set",
    "dataclass_type": "must be a table",
    "model_type": "must be a table",
    "model_attributes_type": "must be a table",
    "tuple_type": "must be a list",
    "union_tag_invalid": "the field is not one that can be allowed",
    "union_tag_not_found": "must have a field and a value",
}


def _sentence(error: ErrorDetails) -> str:
    words = error["msg"].removeprefix("Value error, ").replace("Input should", "must")
    sentence = _SENTENCES.get(error["type"], words)
    return "unknown table or key" if sentence == _UNKNOWN and len(error["loc"]) == 1 else sentence
