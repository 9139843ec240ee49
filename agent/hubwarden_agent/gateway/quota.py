"""How many containers and volumes there may be: the bounds on numbers, which hold under parallel creates.

Invariants: what is counted is made through the gateway, so `upper_bound` (the engine's last count, plus what was tried
since) plus `reserved` (what is being created) is never below the true number. (Adopted containers are counted too;
their number grows only while an old Hub still holds the raw socket, until the next count.) The engine is asked again
only when that sum reaches the maximum: a count can take one call a container, and no create should wait for 200. A
create without room waits for a count that is under way; all others do not.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from hubwarden_agent.errors import Reason
from hubwarden_agent.gateway.refusals import GatewayRefusal

RETRY_SECONDS = 60.0


class Quota:
    """The number of containers, or of volumes, that there may be.

    Args:
        count: asks the engine how many there are.
        maximum: how many there may be.
        key: of `[spawn]`, for the refusal.
    """

    def __init__(self, count: Callable[[], int], maximum: int, key: str) -> None:
        self._count = count
        self._maximum = maximum
        self._key = key
        self._upper_bound = maximum
        self._reserved = 0
        self._ended = 0
        self._counting = threading.Lock()
        self._changing = threading.Lock()

    @contextmanager
    def reserve(self, number: int = 1) -> Iterator[None]:
        """Reserve so many more while the body creates them.

        Raises:
            GatewayRefusal: 429; there would be more than there may be.
        """
        if not self._try_reserve(number):
            self._reserve_after_count(number)
        try:
            yield
        finally:
            # A create that failed may still have made them: the engine's answer can be lost.
            with self._changing:
                self._reserved -= number
                self._upper_bound += number
                self._ended += number

    def _try_reserve(self, number: int) -> bool:
        with self._changing:
            if number > 0 and self._upper_bound + self._reserved + number > self._maximum:
                return False
            self._reserved += number
            return True

    def _reserve_after_count(self, number: int) -> None:
        with self._counting:
            if self._try_reserve(number):  # another has counted meanwhile
                return
            # What ends while the engine counts is counted by us as well: the engine may not have seen it yet.
            ended = self._ended
            counted = self._count()
            with self._changing:
                self._upper_bound = counted + self._ended - ended
            if not self._try_reserve(number):
                message = f"hubwarden: there are as many as the policy allows (spawn.{self._key})"
                raise GatewayRefusal(message, Reason.LIMIT_REACHED, retry_after=RETRY_SECONDS)
