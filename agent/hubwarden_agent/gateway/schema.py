"""Closed objects of a request's JSON as pydantic models, and their refusals in the gateway's words.

Invariants: a model lists every key that may be there, compared byte for byte, since Go would take them in any case.
Types are exact: `true` is no integer, `1` is no flag. Null is the same as not there. A refusal names the field and the
sort of its value, never the value.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BeforeValidator, FailFast, Field, Strict, ValidationError, model_validator
from pydantic_core import ErrorDetails

from hubwarden_agent.config_types import ClosedModel
from hubwarden_agent.gateway.refusals import GatewayRefusal, field_refused, kind
from hubwarden_agent.gateway.strict_json import text_is_fit

T = TypeVar("T")
Model = TypeVar("Model", bound="Object")
UNSUPPORTED = "is not supported, whatever the policy lists"
_SHOWN = 64


class Object(ClosedModel):
    """An object with no other keys than its fields."""

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, value: Any) -> Any:
        """Of unknown keys only the first is kept: one is reported, and each would take time."""
        if not isinstance(value, dict):
            return value
        keys = {field.alias or name for name, field in cls.model_fields.items()}
        unknown = next((key for key in value if key not in keys), None)
        return {key: item for key, item in value.items() if key == unknown or (key in keys and item is not None)}


def _fit(value: str) -> str:
    if not text_is_fit(value):
        raise ValueError("must be text")
    return value


def _nothing(value: object) -> object:
    if value is not False and value not in ("", [], {}):
        raise ValueError(f"({kind(value)}) {UNSUPPORTED}")
    return value


def _empty(value: object) -> object:
    if value is not None and value != {}:
        raise ValueError("must be null or empty")
    return value


Text = Annotated[str, AfterValidator(_fit)]
"""Any text that Docker can be given."""
Count = Annotated[int, Field(ge=0)]
"""At least zero, zero being Docker's "not set"."""
Nothing = Annotated[Any, AfterValidator(_nothing)]
"""Only a value that asks for nothing: false, "", [] or {}."""
Empty = Annotated[Any, AfterValidator(_empty)]
"""What an object that Docker uses as a set has for every key."""
Items = Annotated[tuple[T, ...], Strict(strict=False), FailFast()]
"""An array, read up to its first mistake."""


def at_most(most: int) -> BeforeValidator:
    """An array or object of so many entries, counted before any of them is read."""

    def check(value: Any) -> Any:
        if isinstance(value, list | dict) and len(value) > most:
            raise ValueError(f"has more than {most} entries")
        return value

    return BeforeValidator(check)


def read(model: type[Model], document: object) -> Model:
    """Read a parsed document.

    Raises:
        GatewayRefusal: 400 that names the field.
    """
    try:
        return model.model_validate(document)
    except ValidationError as error:
        raise _refusal(error.errors(include_url=False)[0]) from None


def _refusal(error: ErrorDetails) -> GatewayRefusal:
    return field_refused(_path(error["loc"]) or "the request body", _why(error))


def _why(error: ErrorDetails) -> str:
    sort = error["type"]
    if sort == "extra_forbidden":
        return f"({kind(error['input'])}) {UNSUPPORTED}"
    words = {
        "string": "text",
        "bool": "true or false",
        "int": "a number",
        "tuple": "an array",
        "dict": "an object",
        "missing": "set",
    }
    words |= {"model": "an object", "greater": "a number that is not negative"}
    known = words.get(sort.partition("_")[0])
    return f"must be {known}" if known else error["msg"].removeprefix("Value error, ").replace("Input should", "must")


def _path(location: Sequence[int | str]) -> str:
    """Where it is. A key may be the client's, so it is shown in ASCII and cut."""
    parts = [part for part in location if isinstance(part, str) and part != "[key]"]
    return ".".join(part if re.fullmatch(r"[A-Za-z]{1,64}", part) else ascii(part)[:_SHOWN] for part in parts)
