"""Batches: a restart for each of many servers, a few users at a time, through the Hub's queue of operations.

Invariants: every server of a batch ends with one result; servers of one user restart one after the other; a batch is
written before its first restart and after each change, so that the Hub that comes after reports what was not done; a
batch that is stopped begins no further restart. Whether its author may is asked for each server when its turn comes.
Must not: begin anything of a batch that an earlier Hub had.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from logging import Logger
from typing import Any

from hubwarden_hub.batch_store import BatchStore
from hubwarden_hub.commands import RequestId
from hubwarden_hub.compat import timeout
from hubwarden_hub.errors import AgentError, Reason
from hubwarden_hub.operations import Operation

ANNOUNCED, RUNNING, DONE, STOPPED, INTERRUPTED = "announced", "running", "done", "stopped", "interrupted"
"""States of a batch."""
WAITING, FAILED, SKIPPED = "waiting", "failed", "skipped"
"""States of a server in a batch, beside `RUNNING`, `DONE` and `INTERRUPTED`."""
_ENDED = frozenset({DONE, STOPPED, INTERRUPTED})
_MOST_AT_ONCE = 20
"""Batches that may be announced or running at a time."""
_REMEMBERED = 100
"""Batches that are kept in memory; older ones are read from the database."""


@dataclass
class Item:
    """One server of a batch.

    Attributes:
        request_id: of its restart, once that was submitted.
        reason: why it was not restarted.
    """

    username: str
    server_name: str
    state: str = WAITING
    request_id: str | None = None
    reason: str | None = None


@dataclass
class Batch:
    """Restarts that somebody asked for at once.

    Attributes:
        batch_id: the id of the request.
        author: `user:NAME` or `service:NAME`.
        created_at: seconds since the epoch.
        begins_at: the same; later than `created_at` if it was announced.
    """

    batch_id: str
    author: str
    created_at: float
    begins_at: float
    items: list[Item]
    state: str = ANNOUNCED
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    moved: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def has_ended(self) -> bool:
        """Whether nothing of it will happen any more."""
        return self.state in _ENDED

    def described(self) -> dict[str, Any]:
        """It as JSON, for the database and the REST API."""
        counts: dict[str, int] = {}
        for item in self.items:
            counts[item.state] = counts.get(item.state, 0) + 1
        return {
            "id": self.batch_id,
            "author": self.author,
            "operation": "restart",
            "state": self.state,
            "created_at": moment(self.created_at),
            "begins_at": moment(self.begins_at),
            "counts": counts,
            "servers": [
                {
                    "user": item.username,
                    "server": item.server_name,
                    "state": item.state,
                    "request_id": item.request_id,
                    "reason": item.reason,
                }
                for item in self.items
            ],
        }

    async def changes(self) -> AsyncIterator[dict[str, Any]]:
        """It as it is now and after each change, up to the end; changes that come together are one."""
        while True:
            moved, ended = self.moved, self.has_ended
            yield self.described()
            if ended:
                return
            await moved.wait()


def moment(seconds: float) -> str:
    """A time, in ISO 8601."""
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat()


Restart = Callable[[Item, RequestId], Operation[Any]]
"""Submits one server's restart. Raises `AgentError`."""


class Batches:
    """The batches of this Hub.

    Args:
        store: where they are written.
        concurrency: users whose servers restart at a time, of all batches together.
        log: the Hub's.
        clock: seconds since the epoch.
    """

    def __init__(
        self, store: BatchStore, concurrency: int, log: Logger, clock: Callable[[], float] = time.time
    ) -> None:
        self._store, self._log, self._clock = store, log, clock
        self._slots = asyncio.Semaphore(concurrency)
        self._batches: dict[str, Batch] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def begin(self, batch_id: str, author: str, items: list[Item], minutes: float, restart: Restart) -> Batch:
        """Write a batch, and begin it now or in some minutes.

        Raises:
            AgentError: `TOO_BUSY`; `DOCKER_ERROR`, it cannot be written.
        """
        if (known := self._batches.get(batch_id)) is not None:  # the same request, which was being written
            return known
        under_way = [batch for batch in self._batches.values() if not batch.has_ended]
        if len(under_way) >= _MOST_AT_ONCE:
            raise AgentError(Reason.TOO_BUSY, retry_after=60)
        now = self._clock()
        batch = Batch(batch_id, author, now, now + 60 * minutes, items)
        self._batches[batch_id] = batch
        if not await self._store.save(batch.described()):
            del self._batches[batch_id]
            raise AgentError(Reason.DOCKER_ERROR)
        for forgotten in [known for known, old in self._batches.items() if old.has_ended][:-_REMEMBERED]:
            del self._batches[forgotten]
        task = asyncio.create_task(self._run(batch, restart))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self._log.info("Hubwarden: %s begins the batch %s of %i servers", author, batch_id, len(items))
        return batch

    def get(self, batch_id: str) -> Batch | None:
        """A batch of this Hub."""
        return self._batches.get(batch_id)

    async def described(self, batch_id: str) -> dict[str, Any] | None:
        """A batch of this Hub or an earlier one, with what that did not do as interrupted."""
        if (batch := self.get(batch_id)) is not None:
            return batch.described()
        stored = await self._store.load(batch_id)
        if stored is None or stored["state"] in _ENDED:
            return stored
        for server in stored["servers"]:
            if server["state"] in {WAITING, RUNNING}:
                server["state"] = INTERRUPTED
        states = [server["state"] for server in stored["servers"]]
        return {**stored, "state": INTERRUPTED, "counts": {state: states.count(state) for state in states}}

    def announced_to(self, username: str) -> str | None:
        """When the first announced batch with a server of this user begins, in ISO 8601."""
        batches = [batch for batch in self._batches.values() if batch.state == ANNOUNCED]
        times = [batch.begins_at for batch in batches if any(item.username == username for item in batch.items)]
        return moment(min(times)) if times else None

    def stop(self, batch: Batch, actor: str) -> None:
        """Begin no further restart of a batch; those that have begun go on."""
        self._log.info("Hubwarden: %s stops the batch %s", actor, batch.batch_id)
        batch.stopping.set()

    async def _run(self, batch: Batch, restart: Restart) -> None:
        try:
            async with timeout(batch.begins_at - self._clock()):
                await batch.stopping.wait()
        except asyncio.TimeoutError:
            batch.state = RUNNING
            await self._changed(batch)
        usernames = dict.fromkeys(item.username for item in batch.items)
        await asyncio.gather(*(self._restart_all_of(batch, username, restart) for username in usernames))
        batch.state = STOPPED if any(item.state == SKIPPED for item in batch.items) else DONE
        await self._changed(batch)

    async def _restart_all_of(self, batch: Batch, username: str, restart: Restart) -> None:
        async with self._slots:
            for item in batch.items:
                if item.username != username:
                    continue
                if batch.stopping.is_set():
                    item.state = SKIPPED
                else:
                    await self._restart(batch, item, restart)

    async def _restart(self, batch: Batch, item: Item, restart: Restart) -> None:
        request_id = RequestId.new()
        item.state, item.request_id = RUNNING, str(request_id)
        await self._changed(batch)
        try:
            await restart(item, request_id).result()
            item.state = DONE
        except AgentError as error:
            item.state, item.reason = FAILED, str(error.reason)
        except Exception:  # noqa: BLE001 - logged; the other servers of the batch get their turn
            self._log.exception("Hubwarden: the restart %s of a batch failed", request_id)
            item.state, item.reason = FAILED, str(Reason.DOCKER_ERROR)
        await self._changed(batch)

    async def _changed(self, batch: Batch) -> None:
        batch.moved.set()
        batch.moved = asyncio.Event()
        await self._store.save(batch.described())
