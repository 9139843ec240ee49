"""Refusals at a bounded rate, for the log and for the audit: a client that is refused must not fill a disk.

Invariants: each suppressed refusal is counted once, in the next one that is let through. Threads share a limiter.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Mapping

from hubwarden_agent.budgets import SlidingWindow
from hubwarden_agent.errors import Reason, RequestRefused

MAX_SHOWN = 1000
"""Characters of a value or a cause that are logged."""


class DenialLimiter:
    """Lets as many refusals through as a window has room for.

    Args:
        window: of its own; its keys are kinds of refusals.
    """

    def __init__(self, window: SlidingWindow) -> None:
        self._window = window
        self._suppressed: Counter[str] = Counter()
        self._lock = threading.Lock()

    def admit(self, kind: str = "") -> int | None:
        """How many of this kind were suppressed since the last one let through; None if this one is suppressed too."""
        with self._lock:
            # Asked and not caught: the frames of a raised refusal would keep the call that is refused.
            if self._window.refusal(kind):
                self._suppressed[kind] += 1
                return None
            self._window.acquire(kind)
            return self._suppressed.pop(kind, 0)


def is_ordinary(refusal: RequestRefused, *, reading: bool) -> bool:
    """Whether a client only asked for what is not there, as it may: DockerSpawner inspects before every create."""
    return reading and refusal.reason is not Reason.CLIENT_NOT_ALLOWED


def shown(value: object) -> str:
    """A value for the log, in ASCII and cut, so that it can neither forge nor fill the log."""
    return ascii(value)[:MAX_SHOWN] if value else ""


def log_refusal(
    log: logging.Logger,
    limiter: DenialLimiter,
    refusal: RequestRefused,
    *,
    failed: bool,
    reading: bool,
    extra: Mapping[str, object] | None = None,
) -> None:
    """Log a refusal with its reason and cause, at a bounded rate.

    Args:
        log: the caller's logger.
        limiter: the listener's.
        refusal: what the client was answered.
        failed: the agent or Docker failed. Other refusals do not count against the limit of failures.
        reading: the request would change nothing. If its refusal is ordinary and has no cause, it is not counted.
        extra: further fields of the line.
    """
    fields = {**(extra or {}), "reason": refusal.reason.value, "cause": shown(str(refusal.__cause__ or ""))}
    if is_ordinary(refusal, reading=reading) and not failed and refusal.__cause__ is None:
        log.debug("refused: %s", refusal.message, extra=fields)
    elif (suppressed := limiter.admit("failed" if failed else "")) is not None:
        log.info("refused: %s", refusal.message, extra=fields | {"suppressed": suppressed})
