"""Refusals at a bounded rate, for the log and for the audit: a client that is refused must not fill a disk.

Invariants: each suppressed refusal is counted once, in the next one that is let through. Threads share a limiter.
"""

from __future__ import annotations

import threading

from hubwarden_agent.budgets import Window
from hubwarden_agent.errors import Refusal


class DenialLimiter:
    """Lets as many refusals through as a window has room for.

    Args:
        window: of its own; its keys are not used.
    """

    def __init__(self, window: Window) -> None:
        self._window = window
        self._suppressed = 0
        self._lock = threading.Lock()

    def admit(self) -> int | None:
        """How many were suppressed since the last one that was let through; None if this one is suppressed too."""
        with self._lock:
            try:
                self._window.spend("")
            except Refusal:
                self._suppressed += 1
                return None
            suppressed, self._suppressed = self._suppressed, 0
        return suppressed
