"""Plain JSON values to typed ones: the small decoders that the schema is made of.

Invariants: a decoder takes a value and the name of its field, and returns a typed value or refuses with that name.
Types are exact: `true` is no integer, `1` is no flag. `fields_of` is the only way into an object, and it refuses every
key that its table does not list; keys are compared byte for byte, since Go would take them in any case.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from hubwarden_agent.gateway.refusals import field_refused, kind
from hubwarden_agent.gateway.strict_json import text_is_fit

Value = TypeVar("Value")
Decoder = Callable[[object, str], Value]

_SHOWN = 64


@dataclass(frozen=True, slots=True)
class Field:
    """How one key of an object is read. Without an attribute the key is checked and has no effect."""

    decode: Decoder[Any]
    attribute: str = ""


def fields_of(table: Mapping[str, Field], value: object, field: str) -> dict[str, Any]:
    """An object's fields by attribute; null is the same as not there.

    Raises:
        GatewayRefusal: it is no object, has a key that is not in the table, or a field of it is refused.
    """
    attributes = {}
    for key, item in mapping(value, field).items():
        if key not in table:
            raise field_refused(_path(field, key), f"({kind(item)}) is not supported, whatever the policy lists")
        if item is not None:
            decoded = table[key].decode(item, _path(field, key))
            if table[key].attribute:
                attributes[table[key].attribute] = decoded
    return attributes


def mapping(value: object, field: str) -> dict[str, object]:
    """An object, its keys being the caller's to check."""
    if not isinstance(value, dict):
        raise field_refused(field or "the request body", "must be an object")
    return value


def text(value: object, field: str) -> str:
    """Any text that Docker can be given."""
    if not isinstance(value, str) or not text_is_fit(value):
        raise field_refused(field, "must be text")
    return value


def flag(value: object, field: str) -> bool:
    """`true` or `false`."""
    if not isinstance(value, bool):
        raise field_refused(field, "must be true or false")
    return value


def count(value: object, field: str) -> int:
    """An integer of at least zero, zero being Docker's "not set"."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise field_refused(field, "must be a number that is not negative")
    return value


def integer(value: object, field: str) -> int:
    """Any integer; -1 is Docker's "all" or "without limit"."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise field_refused(field, "must be a number")
    return value


def empty(value: object, field: str) -> None:
    """Only a value that asks for nothing: false, "", [] or {}."""
    never(f"({kind(value)}) is not supported, whatever the policy lists")(value, field)


def never(why: str) -> Decoder[None]:
    """As `empty`, with a reason of its own."""

    def decode_nothing(value: object, field: str) -> None:
        if value is not False and value not in ("", [], {}):
            raise field_refused(field, why)

    return decode_nothing


def items(decode: Decoder[Value], most: int) -> Decoder[tuple[Value, ...]]:
    """An array of at most so many of what `decode` takes: each entry costs the engine, outside the container."""

    def decode_items(value: object, field: str) -> tuple[Value, ...]:
        if not isinstance(value, list):
            raise field_refused(field, "must be an array")
        if len(value) > most:
            raise field_refused(field, f"has more than {most} entries")
        return tuple(decode(item, field) for item in value)

    return decode_items


def keys(pattern: re.Pattern[str], meaning: str, most: int) -> Decoder[tuple[str, ...]]:
    """An object used as a set, as Docker does: at most so many keys that match, and null or {} as every value."""

    def decode_keys(value: object, field: str) -> tuple[str, ...]:
        for key, nothing in mapping(value, field).items():
            if nothing is not None and nothing != {}:
                raise field_refused(_path(field, key), "must be null or empty")
            if not pattern.fullmatch(key):
                raise field_refused(_path(field, key), f"must be {meaning}")
        if len(mapping(value, field)) > most:
            raise field_refused(field, f"has more than {most} entries")
        return tuple(mapping(value, field))

    return decode_keys


def _path(field: str, key: str) -> str:
    """The name of a key in a message: text of the client's, so in ASCII and cut."""
    shown = key if re.fullmatch(r"[A-Za-z]{1,64}", key) else ascii(key)[:_SHOWN]
    return f"{field}.{shown}" if field else shown
