"""Where batches are written: a table of their own in the history's database.

Invariants: one thread reads and writes, so that the Hub's loop never waits; a failure is logged and answered.
Must not: know what a batch means.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from logging import Logger
from typing import Any

import sqlalchemy as sa

from hubwarden_hub.compat import timeout
from hubwarden_hub.history_schema import BATCHES, opened

_PATIENCE = 10.0
"""Seconds that the Hub waits for the database: no request stays open for long."""
_KEPT = 1000
"""Batches that are kept; the oldest go."""


class BatchStore:
    """The table.

    Args:
        url: SQLAlchemy's, with a synchronous driver.
        log: the Hub's.
    """

    def __init__(self, url: str, log: Logger) -> None:
        self._url, self._log = url, log
        self._thread = ThreadPoolExecutor(1, "hubwarden-batches")

    async def save(self, batch: dict[str, Any]) -> bool:
        """Write a batch, new or known by its `id`. Whether that worked."""
        try:
            async with timeout(_PATIENCE):
                await asyncio.wrap_future(self._thread.submit(self._save, batch))
        except (sa.exc.SQLAlchemyError, asyncio.TimeoutError):
            self._log.exception("Hubwarden: the batch %s could not be written", batch["id"])
            return False
        return True

    async def load(self, batch_id: str) -> dict[str, Any] | None:
        """The batch of this id.

        Raises:
            sqlalchemy.exc.SQLAlchemyError, asyncio.TimeoutError: the database does not answer.
        """
        async with timeout(_PATIENCE):
            return await asyncio.wrap_future(self._thread.submit(self._load, batch_id))

    @cached_property
    def _engine(self) -> sa.Engine:
        return opened(self._url)

    def _save(self, batch: dict[str, Any]) -> None:
        columns = BATCHES.c
        with self._engine.begin() as connection:
            known = sa.update(BATCHES).where(columns.id == batch["id"]).values(batch=batch)
            if connection.execute(known).rowcount:
                return
            added = connection.execute(sa.insert(BATCHES).values(id=batch["id"], batch=batch))
            number = (added.inserted_primary_key or (0,))[0]
            connection.execute(sa.delete(BATCHES).where(columns.number <= number - _KEPT))

    def _load(self, batch_id: str) -> dict[str, Any] | None:
        with self._engine.connect() as connection:
            batch = connection.execute(sa.select(BATCHES.c.batch).where(BATCHES.c.id == batch_id)).scalar()
        return None if batch is None else dict(batch)
