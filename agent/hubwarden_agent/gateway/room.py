"""How many containers and volumes there may be: the bounds on numbers, which hold under parallel creates.

Invariants: what is counted is made through the gateway, so `ceiling` (what the engine counted once, plus what was
tried since) plus `reserved` (what is being created) is never below what came of it. (What is adopted is counted with
the others; it only becomes more while an old Hub still holds the raw socket, until the next count.) Only when that
reaches the maximum is the engine asked again: a count can take a call a container, and no create should wait for 200.
Whoever has no room while another counts waits for that count; whoever has, or is done, does not.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from hubwarden_agent.errors import Reason
from hubwarden_agent.gateway import refusals
from hubwarden_agent.gateway.refusals import GatewayRefusal

RETRY_SECONDS = 60.0


class Room:
    """Room for containers, or for volumes.

    Args:
        count: asks the engine how many there are.
        maximum: how many there may be.
        key: of `[spawn]`, which says so.
    """

    def __init__(self, count: Callable[[], int], maximum: int, key: str) -> None:
        self._count = count
        self._maximum = maximum
        self._key = key
        self._ceiling = maximum
        self._reserved = 0
        self._ended = 0
        self._counting = threading.Lock()
        self._changing = threading.Lock()

    @contextmanager
    def for_more(self, number: int = 1) -> Iterator[None]:
        """Hold room for so many more while the body creates them.

        Raises:
            GatewayRefusal: 429; there would be more than there may be.
        """
        if not self._reserve(number):
            self._reserve_after_a_count(number)
        try:
            yield
        finally:
            # A create that failed may still have made them: the engine's answer can be lost.
            with self._changing:
                self._reserved -= number
                self._ceiling += number
                self._ended += number

    def _reserve(self, number: int) -> bool:
        with self._changing:
            if number > 0 and self._ceiling + self._reserved + number > self._maximum:
                return False
            self._reserved += number
            return True

    def _reserve_after_a_count(self, number: int) -> None:
        with self._counting:
            if self._reserve(number):  # another has counted meanwhile
                return
            # What ends while the engine counts is counted by us as well: the engine may not have seen it yet.
            ended = self._ended
            counted = self._count()
            with self._changing:
                self._ceiling = counted + self._ended - ended
            if not self._reserve(number):
                message = f"hubwarden: there are as many as the policy allows (spawn.{self._key})"
                raise GatewayRefusal(
                    message, Reason.TOO_BUSY, status=refusals.TOO_MANY_REQUESTS, retry_after=RETRY_SECONDS
                )
