"""How often something may be done: a window that slides over an injected clock.

Invariants: two budgets are acquired together or not at all. `check()` consumes nothing. Memory is bounded: a key is
forgotten a window after its last charge, also if that was released. No call iterates over all keys. One lock guards all
windows; no I/O happens under it.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Iterable
from itertools import takewhile

from hubwarden_agent.clock import Clock
from hubwarden_agent.errors import Reason, RequestRefused
from hubwarden_agent.rates import Rate

_lock = threading.RLock()


class SlidingWindow:
    """At most `rate.amount` spendings of one key within `rate.seconds`.

    Args:
        rate: for example `parse_rate("3/hour")`.
        clock: only `monotonic` is used.
        reason: what a refusal says.
    """

    def __init__(self, rate: Rate, clock: Clock, reason: Reason = Reason.RATE_LIMITED) -> None:
        self._amount = rate.amount
        self._span = rate.seconds
        self._clock = clock
        self._reason = reason
        self._acquired: dict[str, deque[float]] = {}  # the key that acquired last is at the end

    def check(self, key: str) -> None:
        """Refuse as `acquire` would now, without acquiring.

        Raises:
            RequestRefused: the window's reason, with the seconds until there is room again.
        """
        check_together((self, key))

    def acquire(self, key: str) -> None:
        """Acquire one.

        Raises:
            RequestRefused: as `check`; nothing is acquired then.
        """
        with _lock:
            self.check(key)
            acquired = self._acquired[key] = self._acquired.pop(key, deque())  # now the last
            acquired.append(self._clock.monotonic())

    def release(self, key: str) -> None:
        """Release the newest one: what it was for did not begin."""
        with _lock:
            if acquired := self._recent(key):
                acquired.pop()

    def restore(self, charges: Iterable[tuple[str, float]]) -> None:
        """Count charges of an earlier process, before anything is acquired in this one.

        A charge counts as no older than those before it and no newer than now, whatever its age says: after the time
        of day was changed, a budget is stricter and never looser.

        Args:
            charges: key and age in seconds, in the order in which they were acquired.
        """
        with _lock:
            now, latest = self._clock.monotonic(), -math.inf
            for key, age in charges:
                latest = max(latest, now - max(age, 0.0))
                acquired = self._acquired[key] = self._acquired.pop(key, deque())
                acquired.append(latest)

    def remaining(self, key: str) -> int:
        """How many more could be acquired now."""
        with _lock:
            return max(self._amount - len(self._recent(key)), 0)

    def refusal(self, key: str) -> RequestRefused | None:
        """What `check` raises; None when there is room."""
        with _lock:
            acquired = self._recent(key)
            if len(acquired) < self._amount:
                return None
            wait = acquired[-self._amount] + self._span - self._clock.monotonic()
        return RequestRefused(self._reason, retry_after=max(wait, 0.0))

    def _recent(self, key: str) -> deque[float]:
        horizon = self._clock.monotonic() - self._span
        for known in list(takewhile(lambda known: self._is_over(known, horizon), self._acquired)):
            del self._acquired[known]
        acquired = self._acquired.get(key, deque())
        while acquired and acquired[0] <= horizon:
            acquired.popleft()
        return acquired

    def _is_over(self, key: str, horizon: float) -> bool:
        acquired = self._acquired[key]
        return not acquired or acquired[-1] <= horizon


def check_together(*budgets: tuple[SlidingWindow, str]) -> None:
    """Refuse as `acquire_together` would now, without acquiring.

    Raises:
        RequestRefused: of the one with the longest wait: a client that waits that long is not refused by another.
    """
    refusals = [refusal for window, key in budgets if (refusal := window.refusal(key))]
    if refusals:
        raise max(refusals, key=lambda refusal: refusal.retry_after or 0.0)


def acquire_together(*budgets: tuple[SlidingWindow, str]) -> None:
    """Acquire one of each, or none.

    Raises:
        RequestRefused: as `check_together`.
    """
    with _lock:
        check_together(*budgets)
        for window, key in budgets:
            window.acquire(key)
