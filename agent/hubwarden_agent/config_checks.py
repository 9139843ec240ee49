"""Checks of values in `agent.toml`: what a TOML value has to be, and what would be right if it is not.

Invariants: pure. A check returns what the agent uses or raises ValueError; each of its arguments completes "KEY: ".
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from hubwarden_agent.rates import Rate, parse_rate

_RATES = 'a rate such as "3/hour" or "6/10 minutes"'

Check = Callable[[Any], Any]
"""Turns a TOML value into what the agent uses, or raises ValueError with what would be right."""


@dataclass(frozen=True, slots=True)
class Key:
    """One key: the default as TOML would give it, and its check."""

    default: Any
    check: Check


def text(pattern: str, wanted: str) -> Check:
    """Text that matches a pattern as a whole."""

    def check(value: Any) -> str:
        if not isinstance(value, str) or not re.fullmatch(pattern, value):
            raise ValueError(f"must be {wanted}")
        return value

    return check


def number(low: float, high: float, kind: type[int | float] = int) -> Check:
    """A number within bounds, both included."""

    def check(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | kind) or not low <= value <= high:
            raise ValueError(f"must be a number from {low} to {high}")
        return kind(value)

    return check


def flag(value: Any) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise ValueError("must be true or false")  # noqa: TRY004 - a mistake in a file, reported with all the others
    return value


def several(check: Check) -> Check:
    """A list, empty or not, of different values."""

    def check_all(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise ValueError("must be a list")  # noqa: TRY004 - as in flag
        items = tuple(check(item) for item in value)
        if len(set(items)) != len(items):
            raise ValueError("holds the same value twice")
        return items

    return check_all


def at_least_one(check: Check) -> Check:
    """A list of different values, not empty."""

    def check_all(value: Any) -> tuple[Any, ...]:
        items: tuple[Any, ...] = several(check)(value)
        if not items:
            raise ValueError("must hold at least one")
        return items

    return check_all


def empty_or(check: Check) -> Check:
    """Empty text, which turns something off, or a value."""
    return lambda value: "" if value == "" else check(value)


def rate(value: Any) -> Rate:
    """A rate in the notation of `rates`."""
    try:
        return parse_rate(value)
    except (TypeError, ValueError) as error:
        raise ValueError(f"must be {_RATES}") from error


def size(value: Any) -> int:
    """A size in bytes."""
    match = re.fullmatch(r"([1-9][0-9]{0,5})([mg])", value) if isinstance(value, str) else None
    if not match:
        raise ValueError('must be a size such as "512m" or "4g"')
    return int(match[1]) * {"m": 1024**2, "g": 1024**3}[match[2]]


def path(value: Any) -> Path:
    """An absolute path."""
    if not isinstance(value, str) or not PurePosixPath(value).is_absolute():
        raise ValueError("must be an absolute path")
    return Path(value)


def words(check: Check) -> Check:
    """A list in which order counts, and the same may stand twice."""

    def check_all(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list) or not value:
            raise ValueError("must be a list of at least one")
        return tuple(check(item) for item in value)

    return check_all


template = text(r"[^\x00-\x20]{1,200}", "a template such as 'jupyterlab-{username}'")
