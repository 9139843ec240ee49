"""The one way to wait: for a condition, and for a bounded time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")
PATIENCE = 60.0
"""Seconds after which a condition that has not come true is a failure."""
_BUSY_TURNS = 200
"""Turns of the event loop that `until` gives other tasks before it also gives way to threads and processes."""


def wait_for(condition: Callable[[], Found], what: str, seconds: float = PATIENCE) -> Found:
    """Return the first true value of a condition.

    Raises:
        TimeoutError: there was none in time.
    """
    give_up = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > give_up:
            raise TimeoutError(f"{what}: not in {seconds:g} s")
        time.sleep(0.02)
    return found


def stays(condition: Callable[[], bool], seconds: float) -> None:
    """Assert that a condition is true now and remains true for some seconds."""
    end = time.monotonic() + seconds
    while True:
        assert condition()
        if time.monotonic() >= end:
            return
        time.sleep(0.2)


async def until(condition: Callable[[], Found], what: str = "the condition", seconds: float = PATIENCE) -> Found:
    """Return the first true value of a condition, while the other tasks of the event loop run.

    Raises:
        TimeoutError: there was none in time.
    """
    give_up, turns = time.monotonic() + seconds, 0
    while not (found := condition()):
        if time.monotonic() > give_up:
            raise TimeoutError(f"{what}: not in {seconds:g} s")
        turns += 1
        await asyncio.sleep(0 if turns < _BUSY_TURNS else 0.005)
    return found
