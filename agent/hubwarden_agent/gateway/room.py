"""How many containers there may be: the bound on numbers, which holds under parallel creates.

What holds here: a container is counted as soon as somebody is about to create it, and until the engine lists it. The
reservations are read before the engine is asked, under a lock under which none is made, so that a create that ends in
between is counted by one or the other, or by both, never by neither.
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
        existing: asks the engine how many there are.
        maximum: how many there may be (`spawn.max_containers`).
    """

    def __init__(self, existing: Callable[[], Awaitable[int]], maximum: int) -> None:
        self._existing = existing
        self._maximum = maximum
        self._reserved = 0
        self._counting = asyncio.Lock()

    @asynccontextmanager
    async def for_one_more(self) -> AsyncIterator[None]:
        """Hold room for one container while the body creates it.

        Raises:
            GatewayRefusal: 429; there are as many as there may be.
        """
        async with self._counting:
            reserved = self._reserved
            if reserved + await self._existing() >= self._maximum:
                raise GatewayRefusal(
                    "hubwarden: there are as many containers as the policy allows (spawn.max_containers)",
                    Reason.TOO_BUSY,
                    retry_after=RETRY_SECONDS,
                )
            self._reserved += 1
        try:
            yield
        finally:
            self._reserved -= 1
