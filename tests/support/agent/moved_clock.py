"""`hubwarden-agent`, whose clock is off by the seconds in the file that MOVED_CLOCK names: what a test moves."""

from __future__ import annotations

import datetime as dt
import os
from pathlib import Path

from hubwarden_agent import cli, clock

MOVED = Path(os.environ["MOVED_CLOCK"])


class MovedClock(clock.SystemClock):
    """The machine's clock, set to another time of day. A clock that only goes forward cannot be set."""

    def now(self) -> dt.datetime:
        """See `Clock.now`."""
        return super().now() + dt.timedelta(seconds=float(MOVED.read_text()))


if __name__ == "__main__":
    clock.SystemClock = MovedClock  # type: ignore[misc] # the seam: what serves is imported later
    cli.run()
