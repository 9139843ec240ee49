"""What pages that only look cost the Hub: they share looks at Docker, and take turns when there are many.

Invariants: pages that ask during a look, or within `LIFETIME` of its end, share it, unless an operation of that server
ended since; looks at all servers together take at most a quarter of DockerSpawner's only thread, in the order in which
they were asked for; no answer waits for one longer than `_PATIENCE`. Pages that keep to their turns ask at most `RATE`
times a second, all together.
Must not: act beyond JupyterHub's poll.
"""

from __future__ import annotations

import asyncio
import math
from typing import Any

from hubwarden_hub.records import Deed, End

LIFETIME = 0.4
"""Seconds. A page that asks just after another one learns of a crash this much later than by its own beat."""
BEAT = 1.5
"""Seconds between two questions of a page."""
RATE = 30
"""Questions a second of all pages that follow nothing. With more than `BEAT * RATE` pages the beat gets longer."""
_PATIENCE = 0.5
"""Seconds: a slow engine must not make the page slow."""
_REST_FACTOR = 3
"""A look that took t seconds is followed by a pause of this times t, for all servers."""
_LONGEST_REST = 2.0


class Looks:
    """The looks under way and those that are still fresh, by user and server name; and the pages' turns."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._thread = asyncio.Lock()
        self._last_turn = 0.0

    def seconds_to_next(self) -> int | None:
        """Reserve a page's next turn: whole seconds until it should ask again, or None for its own beat."""
        now = asyncio.get_running_loop().time()
        self._last_turn = max(now + BEAT, self._last_turn + 1 / RATE)
        wait = self._last_turn - now
        return math.ceil(wait) if wait > BEAT else None

    async def look(self, spawner: Any) -> None:
        """Let JupyterHub notice now, not at its next poll, whether a server that it has for ready still runs."""
        if not spawner.ready:
            return
        key = (spawner.user.name, spawner.name)
        if (look := self._known.get(key)) is None:
            look = self._known[key] = asyncio.create_task(self._poll(spawner))
            expire_later = asyncio.get_running_loop().call_later
            look.add_done_callback(lambda look: expire_later(LIFETIME, self._expire, key, look))
        await asyncio.wait({look}, timeout=_PATIENCE)

    def begun(self, deed: Deed) -> None:
        """See `Witness`. The server is no longer ready, so it is not looked at."""

    def ended(self, deed: Deed, end: End) -> None:  # noqa: ARG002 - a witness
        """See `Witness`. What was seen before is out of date."""
        self._known.pop((deed.username, deed.server_name), None)

    def _expire(self, key: tuple[str, str], look: asyncio.Task[None]) -> None:
        if self._known.get(key) is look:
            del self._known[key]

    async def _poll(self, spawner: Any) -> None:
        await self._thread.acquire()
        loop = asyncio.get_running_loop()
        begin = loop.time()
        try:
            if spawner.ready:
                await spawner.poll_and_notify()
        finally:
            loop.call_later(min(_REST_FACTOR * (loop.time() - begin), _LONGEST_REST), self._thread.release)
