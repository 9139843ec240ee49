"""What the stops of all servers share: the use of DockerSpawner's only thread, and the Hub's shutdown.

Invariants: one attempt at a time uses the thread, so that other calls wait for one of them at most; repeated attempts
that fail slowly take about a fifth of the thread's time, all servers together.
Must not: decide whether a server has stopped.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hubwarden_hub.pending_stop import PendingStop

_SLOW_FAILURE = 1.0
"""Seconds after which an attempt that fails counts as slow. Below, the pauses of a stop are long enough."""
_PAUSE_FACTOR = 4
"""A slow attempt that took t seconds is followed by a pause of this times t, for all stops whose attempts are slow."""
_LONGEST_SLOW_PAUSE = 120.0


class Stops:
    """What the stops of all servers share.

    Args:
        shutdown_wait: seconds that a Hub that shuts down waits after the last server that stopped.

    Attributes:
        under_way: the stops that have not ended.
        shutting_down: whether the Hub has begun to shut down, with or without its servers.
    """

    def __init__(self, shutdown_wait: float) -> None:
        self._shutdown_wait = shutdown_wait
        self._last_stop = 0.0
        self._expired = False
        self._attempt = asyncio.Lock()
        self._slow_attempt = asyncio.Lock()
        self._slow_pause_ends = 0.0
        self.shutting_down = False
        self.under_way: set[PendingStop] = set()

    def begin(self, stop: PendingStop) -> None:
        """Register a stop. Once the shutdown's time is up, it ends at once."""
        self.under_way.add(stop)
        if self._expired:
            stop.keep()

    def succeeded(self) -> None:
        """A server has stopped, so the agent is at work."""
        self._last_stop = asyncio.get_running_loop().time()

    @asynccontextmanager
    async def attempt(self, stop: PendingStop) -> AsyncIterator[None]:
        """The body is the only attempt under way. If it fails slowly, all slow stops pause."""
        clock = asyncio.get_running_loop().time
        async with self._attempt:
            began = clock()
            try:
                yield
            except Exception:
                seconds = clock() - began
                stop.is_slow = seconds > _SLOW_FAILURE
                if stop.is_slow:
                    pause = min(_PAUSE_FACTOR * seconds, _LONGEST_SLOW_PAUSE)
                    self._slow_pause_ends = max(self._slow_pause_ends, clock() + pause)
                raise

    @asynccontextmanager
    async def after_slow_pause(self) -> AsyncIterator[None]:
        """Begin the body when the pause is over. One slow stop at a time is in it."""
        clock = asyncio.get_running_loop().time
        async with self._slow_attempt:
            while (left := self._slow_pause_ends - clock()) > 0:  # noqa: ASYNC110 - each slow attempt moves it
                await asyncio.sleep(left)
            yield

    def limiting(self, cleanup: Callable[[], Awaitable[None]]) -> Callable[[], Awaitable[None]]:
        """JupyterHub's `cleanup`, which abandons all stops when none has succeeded for `shutdown_wait`."""

        async def limited() -> None:
            self.shutting_down = True
            self.succeeded()
            expiry = asyncio.create_task(self._expire())
            try:
                await cleanup()
            finally:
                expiry.cancel()

        return limited

    async def _expire(self) -> None:
        clock = asyncio.get_running_loop().time
        while (left := self._last_stop + self._shutdown_wait - clock()) > 0:  # noqa: ASYNC110 - each stop moves it
            await asyncio.sleep(left)
        self._expired = True
        for stop in tuple(self.under_way):
            stop.keep()
