"""Types of values in `agent.toml`: closed pydantic models, text of a pattern, and mistakes as sentences.

Invariants: models refuse unknown keys and convert nothing (`1` is neither `true` nor `"1"`). A mistake names where it
is and what would be right; pydantic's own words for it never hold the value.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Strict, ValidationError

T = TypeVar("T")


class ClosedModel(BaseModel):
    """A table with exactly these keys."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)


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


Items = Annotated[tuple[T, ...], Strict(strict=False)]
"""A list, which TOML and JSON have in place of tuples; its items are as strict as elsewhere."""
SomeItems = Annotated[Items[T], AfterValidator(_not_empty)]
"""A list that is not empty."""


def mistakes(error: ValidationError) -> list[str]:
    """One sentence for each mistake, beginning with where it is; without any value."""
    found = error.errors(include_url=False, include_input=False)
    return [f"{_place(one['loc'])}: {_sentence(one['type'], one['msg'], one.get('ctx', {}))}" for one in found]


def _place(location: Sequence[int | str]) -> str:
    """`entry 2, HostConfig.Ulimits.value.Hard` for the second entry of a list."""
    parts = [f"entry {part + 1}," if isinstance(part, int) else part for part in location]
    return ".".join(parts).replace(",.", ", ").replace(".entry", ": entry").removesuffix(",")


def _sentence(kind: str, message: str, context: dict[str, object]) -> str:
    if kind.startswith("union_tag"):
        return f"field must be one of {context.get('expected_tags', 'the documented ones')}"
    return {"extra_forbidden": "unknown key", "missing": "must be set"}.get(kind, message.removeprefix("Value error, "))
