"""How often something may be done: a window that slides over an injected clock.

Invariants: two budgets are spent together or not at all. Looking never spends. Memory is bounded: a key
is forgotten a window after it last spent, also if that was given back. No question goes through all keys. Threads share
budgets, and take turns at all of them: a turn waits for nothing else.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Iterable
from itertools import takewhile

from hubwarden_agent.clock import Clock
from hubwarden_agent.errors import Reason, Refusal
from hubwarden_agent.rates import Rate

_turn = threading.RLock()


class Window:
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
        self._spent: dict[str, deque[float]] = {}  # who spent last comes last

    def check(self, key: str) -> None:
        """Refuse as `spend` would now, without spending.

        Raises:
            Refusal: the window's reason, with the seconds until there is room again.
        """
        check_together((self, key))

    def spend(self, key: str) -> None:
        """Spend one.

        Raises:
            Refusal: as `check`; nothing is spent then.
        """
        with _turn:
            self.check(key)
            spent = self._spent[key] = self._spent.pop(key, deque())  # now the last
            spent.append(self._clock.monotonic())

    def give_back(self, key: str) -> None:
        """Take the newest spending back: what it was for did not begin."""
        with _turn:
            if spent := self._recent(key):
                spent.pop()

    def restore(self, charges: Iterable[tuple[str, float]]) -> None:
        """Count charges of an earlier process, before anything is spent in this one.

        A charge counts as no older than those before it and no newer than now, whatever its age says: after the time
        of day was changed, a budget is stricter and never looser.

        Args:
            charges: key and age in seconds, in the order in which they were spent.
        """
        with _turn:
            now, latest = self._clock.monotonic(), -math.inf
            for key, age in charges:
                latest = max(latest, now - max(age, 0.0))
                spent = self._spent[key] = self._spent.pop(key, deque())
                spent.append(latest)

    def left(self, key: str) -> int:
        """How many more could be spent now."""
        with _turn:
            return max(self._amount - len(self._recent(key)), 0)

    def refusal(self, key: str) -> Refusal | None:
        """What `check` raises; None when there is room."""
        with _turn:
            spent = self._recent(key)
            if len(spent) < self._amount:
                return None
            wait = spent[-self._amount] + self._span - self._clock.monotonic()
        return Refusal(self._reason, retry_after=max(wait, 0.0))

    def _recent(self, key: str) -> deque[float]:
        horizon = self._clock.monotonic() - self._span
        for known in list(takewhile(lambda known: self._is_over(known, horizon), self._spent)):
            del self._spent[known]
        spent = self._spent.get(key, deque())
        while spent and spent[0] <= horizon:
            spent.popleft()
        return spent

    def _is_over(self, key: str, horizon: float) -> bool:
        spent = self._spent[key]
        return not spent or spent[-1] <= horizon


def check_together(*budgets: tuple[Window, str]) -> None:
    """Refuse as `spend_together` would now, without spending.

    Raises:
        Refusal: of the one that has no room for longest, so that whoever waits as told is not refused by another.
    """
    refusals = [refusal for window, key in budgets if (refusal := window.refusal(key))]
    if refusals:
        raise max(refusals, key=lambda refusal: refusal.retry_after or 0.0)


def spend_together(*budgets: tuple[Window, str]) -> None:
    """Spend one of each, or nothing.

    Raises:
        Refusal: as `check_together`.
    """
    with _turn:
        check_together(*budgets)
        for window, key in budgets:
            window.spend(key)
