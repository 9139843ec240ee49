"""Time, injected: nothing else in the agent asks the machine what time it is.

Invariants: `now` is for records and for comparing with Docker's times, `monotonic` for durations and budgets, so
that a clock that is set back changes neither a budget nor a duration.
"""

from __future__ import annotations

import datetime as dt
import time
from typing import Protocol


class Clock(Protocol):
    """The time of day and a clock that only goes forward."""

    def now(self) -> dt.datetime:
        """The time of day, in UTC."""

    def monotonic(self) -> float:
        """Seconds since some moment in the past."""

    def sleep(self, seconds: float) -> None:
        """Wait, in a thread that nobody needs to wake before."""


class SystemClock:
    """The machine's own clocks."""

    def now(self) -> dt.datetime:
        """The time of day, in UTC."""
        return dt.datetime.now(dt.UTC)

    def monotonic(self) -> float:
        """Seconds since some moment in the past."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)
