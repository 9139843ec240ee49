"""The plugin's own history: who did what to whom, when, and how it ended.

Invariants: the database is never JupyterHub's; one thread of its own reads and writes it, so that the Hub's loop never
waits; a history that is broken or too slow loses entries, which the log and a metric say, and never blocks or fails an
operation; reads are bounded in number and time; no attribute is written by two threads. It is for people to look at:
the agent's audit is the record that counts.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from logging import Logger
from typing import Any, TypeVar

import sqlalchemy as sa
from prometheus_client import Counter

from hubwarden_hub.compat import timeout
from hubwarden_hub.history_schema import OPERATIONS, opened
from hubwarden_hub.records import Deed, End

Answer = TypeVar("Answer")
FAILURES = Counter("hubwarden_hub_history_failures", "Entries of the history that were lost.")
_WAITING = 1000
"""Entries that may wait for the database; beyond that new ones are lost."""
_READS = 20
"""Questions that may wait for it; beyond that new ones are refused at once."""
_READ_SECONDS = 10.0
"""Seconds for an answer. Behind `_WAITING` entries, or a locked file, a question is given up."""

_SAME = ("request_id", "kind", "username", "server_name")
"""What makes two entries one operation. An id alone does not: a client may send one twice, for different things."""


def _left_open(values: Mapping[str, Any]) -> sa.Select[Any]:
    """The entry of an operation that a killed Hub saw begin, and that begins again under its id to learn its end."""
    same = (OPERATIONS.c[name] == values[name] for name in _SAME)
    return sa.select(OPERATIONS.c.id).where(*same, OPERATIONS.c.result.is_(None))


@dataclass(frozen=True, slots=True)
class Filter:
    """Which entries; unset fields do not matter.

    Attributes:
        before: an entry's id: the page after it.
        since: seconds since the epoch, of the entry's begin; included.
        until: as `since`, not included.
    """

    username: str | None = None
    actor: str | None = None
    kind: str | None = None
    result: str | None = None
    before: int | None = None
    since: float | None = None
    until: float | None = None


class History:
    """A witness that writes to a database, and answers from it.

    Args:
        url: SQLAlchemy's, with a synchronous driver.
        keep: entries to keep, 1 or more; the oldest go.
        log: told about entries that are lost.
        clock: seconds since the epoch.
    """

    def __init__(self, url: str, keep: int, log: Logger, clock: Callable[[], float] = time.time) -> None:
        self._url, self._keep, self._log, self._clock = url, keep, log, clock
        self._thread = ThreadPoolExecutor(1, "hubwarden-history")
        self._opened: sa.Engine | None = None
        self._inserts: dict[Deed, Future[int]] = {}
        self._reads = 0
        self._submitted = 0
        self._written = 0  # by the thread, all others by the Hub's loop

    def begun(self, deed: Deed) -> None:
        """See `Witness`."""
        values = asdict(deed) | {"request_id": str(deed.request_id), "kind": deed.kind.value}
        values["began_at"] = self._clock()
        if insert := self._later(lambda: self._insert(values)):
            self._inserts[deed] = insert

    def ended(self, deed: Deed, end: End) -> None:
        """See `Witness`."""
        values = {"result": end.result, "reason": end.reason and end.reason.value, "seconds": end.seconds}
        if insert := self._inserts.pop(deed, None):
            self._later(lambda: self._update(insert.result(), values))

    async def entries(self, wanted: Filter, limit: int) -> list[dict[str, Any]]:
        """The newest entries that fit, newest first.

        Args:
            wanted: which.
            limit: how many at most.

        Raises:
            sqlalchemy.exc.SQLAlchemyError: the database does not answer, or not in time.
        """
        return await self._read(lambda: self._select(wanted, limit))

    async def latest(self, usernames: Collection[str]) -> list[dict[str, Any]]:
        """The newest entry of each of these users that has one.

        Raises:
            sqlalchemy.exc.SQLAlchemyError: the database does not answer, or not in time.
        """
        return await self._read(lambda: self._select_latest(usernames))

    def close(self) -> None:
        """Write what waits, and let go of the database."""
        self._thread.shutdown()
        if self._opened is not None:
            self._opened.dispose()

    async def _read(self, select: Callable[[], Answer]) -> Answer:
        if self._reads >= _READS:
            raise sa.exc.TimeoutError("too many questions wait for the history")
        self._reads += 1
        try:
            async with timeout(_READ_SECONDS):
                return await asyncio.wrap_future(self._thread.submit(select))
        except asyncio.TimeoutError as error:
            raise sa.exc.TimeoutError("the history does not answer in time") from error
        finally:
            self._reads -= 1

    def _later(self, write: Callable[[], Answer]) -> Future[Answer] | None:
        if self._submitted - self._written >= _WAITING:
            self._lost("too many entries wait for the database")
            return None
        self._submitted += 1
        return self._thread.submit(self._write, write)

    def _lost(self, why: str) -> None:
        FAILURES.inc()
        self._log.error("Hubwarden: an entry of the history is lost: %s", why)

    # --- in the thread --------------------------------------------------------------------------------------------

    def _write(self, write: Callable[[], Answer]) -> Answer:
        try:
            return write()
        except Exception as error:
            self._lost(repr(error))
            raise
        finally:
            self._written += 1

    def _engine(self) -> sa.Engine:
        if self._opened is None:
            self._opened = opened(self._url)
        return self._opened

    def _insert(self, values: dict[str, Any]) -> int:
        with self._engine().begin() as connection:
            if (left_open := connection.execute(_left_open(values)).first()) is not None:
                return int(left_open[0])
            key: Any = connection.execute(sa.insert(OPERATIONS).values(**values)).inserted_primary_key
            identifier = int(key[0])
            connection.execute(sa.delete(OPERATIONS).where(OPERATIONS.c.id <= identifier - self._keep))
        return identifier

    def _update(self, identifier: int, values: dict[str, Any]) -> None:
        with self._engine().begin() as connection:
            connection.execute(sa.update(OPERATIONS).where(OPERATIONS.c.id == identifier).values(**values))

    def _select(self, wanted: Filter, limit: int) -> list[dict[str, Any]]:
        columns = OPERATIONS.c
        query = sa.select(OPERATIONS).order_by(columns.id.desc()).limit(limit)
        for name in ("username", "actor", "kind", "result"):
            if (value := getattr(wanted, name)) is not None:
                query = query.where(columns[name] == value)
        if wanted.before is not None:
            query = query.where(columns.id < wanted.before)
        if wanted.since is not None:
            query = query.where(columns.began_at >= wanted.since)
        if wanted.until is not None:
            query = query.where(columns.began_at < wanted.until)
        return self._rows(query)

    def _select_latest(self, usernames: Collection[str]) -> list[dict[str, Any]]:
        columns = OPERATIONS.c
        newest = sa.select(sa.func.max(columns.id)).where(columns.username.in_(usernames)).group_by(columns.username)
        return self._rows(sa.select(OPERATIONS).where(columns.id.in_(newest)))

    def _rows(self, query: sa.Select[Any]) -> list[dict[str, Any]]:
        with self._engine().connect() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]
