"""JSON that means one thing only: bytes in, plain Python values out, or a refusal.

Invariants: one UTF-8 document, no duplicate keys, no NaN or Infinity, no fractions, integers of 64 bits, bounded
depth and number of values, and no text that cannot go on to Docker as it is (NUL, lone surrogates). The size in bytes
is bounded where it is read. One document is parsed at a time: together, what they take in memory and keep from other
threads would add up.
"""

from __future__ import annotations

import json
import re
import threading
from typing import Any, NoReturn

from hubwarden_agent.gateway.refusals import GatewayRefusal

MAX_DEPTH = 8
"""Nested objects and arrays; a create body of DockerSpawner's has five."""

MAX_VALUES = 4096
"""Roughly: brackets that open, and commas. A create body of DockerSpawner's has some fifty."""

MAX_INTEGER = 2**63 - 1
_MAX_DIGITS = 20

# Possessive, and the closing quote optional: it never goes back, so a body made to make it cannot hold up the agent.
_STRINGS = re.compile(rb'"(?:[^"\\]|\\.)*+"?', re.DOTALL)
_BRACKETS = re.compile(rb"[\[\]{}]")
_one_at_a_time = threading.Lock()
_UNFIT = re.compile("[\x00\ud800-\udfff]")


def loads(data: bytes) -> Any:
    """Parse one document.

    Raises:
        GatewayRefusal: 400, without a word of the document in it.
    """
    with _one_at_a_time:
        _check_shape(data)
        try:
            return json.loads(
                data.decode("utf-8"),
                object_pairs_hook=_unique,
                parse_int=_integer,
                parse_float=_refuse_number,
                parse_constant=_refuse_number,
            )
        except (ValueError, RecursionError) as error:
            raise _malformed("is not one valid JSON document") from error


def text_is_fit(text: str) -> bool:
    """Whether Docker can be given this text as it is."""
    return not _UNFIT.search(text)


def _malformed(why: str) -> GatewayRefusal:
    return GatewayRefusal(f"hubwarden: the request body {why}")


def _check_shape(data: bytes) -> None:
    """Before parsing, so that the parser never recurses deeper than this, nor makes more of it."""
    structure = _STRINGS.sub(b"", data)
    if sum(map(structure.count, (b"[", b"{", b","))) > MAX_VALUES:
        raise _malformed(f"holds more than {MAX_VALUES} values")
    depth = 0
    for bracket in _BRACKETS.findall(structure):
        depth += 1 if bracket in b"[{" else -1
        if depth > MAX_DEPTH:
            raise _malformed(f"is nested deeper than {MAX_DEPTH}")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    unique = dict(pairs)
    if len(unique) != len(pairs):
        raise _malformed("has the same key twice")
    if not all(text_is_fit(key) for key in unique):
        raise _malformed("has a key that holds NUL or a lone surrogate")
    return unique


def _integer(digits: str) -> int:
    if len(digits) > _MAX_DIGITS or abs(int(digits)) > MAX_INTEGER:
        raise _malformed("has a number of more than 64 bits")
    return int(digits)


def _refuse_number(_: str) -> NoReturn:
    raise _malformed("has a number that is not an integer")
