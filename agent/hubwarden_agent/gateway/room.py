"""How many containers there may be: the bound on numbers, which holds under parallel creates.

What holds here: nobody but this agent makes containers with its labels, so `ceiling` (what the engine counted once,
plus what was created since) plus `reserved` (what is being created) is never below what there is. (What is adopted is
counted with the others; it only becomes more while an old Hub still holds the raw socket, until the next count.)
Only when that reaches the maximum is the engine asked again: a count takes a call a container, and no create should
wait for 200.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from hubwarden_agent.errors import Reason
from hubwarden_agent.gateway.refusals import GatewayRefusal

RETRY_SECONDS = 60.0


class Room:
    """Room for containers.

    Args:
        count: asks the engine how many there are.
        maximum: how many there may be (`spawn.max_containers`).
    """

    def __init__(self, count: Callable[[], Awaitable[int]], maximum: int) -> None:
        self._count = count
        self._maximum = maximum
        self._ceiling = maximum
        self._reserved = 0
        self._counting = asyncio.Lock()

    @asynccontextmanager
    async def for_one_more(self) -> AsyncIterator[None]:
        """Hold room for one container while the body creates it.

        Raises:
            GatewayRefusal: 429; there are as many as there may be.
        """
        async with self._counting:
            if self._full():
                await self._count_again()
            if self._full():
                raise GatewayRefusal(
                    "hubwarden: there are as many containers as the policy allows (spawn.max_containers)",
                    Reason.TOO_BUSY,
                    retry_after=RETRY_SECONDS,
                )
            self._reserved += 1
        try:
            yield
        finally:
            # A create that failed may still have made its container: the engine's answer can be lost.
            self._reserved -= 1
            self._ceiling += 1

    def _full(self) -> bool:
        return self._ceiling + self._reserved >= self._maximum

    async def _count_again(self) -> None:
        """What ended while the engine counted is counted by us as well: the engine may not have seen it yet."""
        reserved = self._reserved
        counted = await self._count()
        self._ceiling = counted + reserved - self._reserved
