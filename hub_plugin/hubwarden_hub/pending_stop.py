"""The stop of one server: it ends when Docker reports the container stopped or gone, or when the Hub gives up.

JupyterHub's `User.stop` forgets the server whatever `Spawner.stop` returns or raises, so the latter must not end early.

Invariants: a failed attempt is repeated with a growing pause; a Hub that shuts down before the stop keeps the server on
record.
Must not: take a missing answer for a stopped server.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from hubwarden_hub import gateway_errors
from hubwarden_hub.commands import ForgetCommand, RequestId
from hubwarden_hub.errors import AgentError, Reason
from hubwarden_hub.operations import Operation
from hubwarden_hub.sessions import revoke_token

if TYPE_CHECKING:
    from hubwarden_hub.spawner import RestartableSpawnerMixin

WaitsFor = Literal["agent", "operation"]
_FIRST_PAUSE = 0.3
_LONGEST_PAUSE = 5.0
_SLOW = 5.0
"""Seconds after which an unanswered attempt is reported as waiting for the agent."""


class StopAbandoned(Exception):  # noqa: N818 - not an error: the Hub decided to stop waiting
    """The Hub stopped waiting. The container may still run."""


class PendingStop:
    """The stop of a Spawner's server.

    Attributes:
        waiting_for: what delays the stop; unset while nothing does.
        keeps_record: whether JupyterHub must keep the server on record although it takes it for stopped.
        started: when the kept server was started.
        is_slow: whether the last attempt failed slowly.
    """

    def __init__(self, spawner: RestartableSpawnerMixin) -> None:
        self._spawner = spawner
        self._task: asyncio.Task[None] | None = None
        self.waiting_for: WaitsFor | None = None
        self.keeps_record = False
        self.started: datetime | None = None
        self.is_slow = False

    async def carry_out(self, *, now: bool) -> None:
        """Stop the server, however long that takes. A second caller joins the first.

        A Hub that shuts down and leaves servers running cancels every caller: that ends the stop. When a caller is
        cancelled otherwise, the stop goes on, with the server on record until it ends or another caller joins it.

        Raises:
            StopAbandoned: an admin gave up, or the Hub shuts down.
        """
        self.keeps_record = False
        if self._task is None or self._task.done():
            self.is_slow = False
            self._task = asyncio.create_task(self._until_stopped(now=now))
            self._task.add_done_callback(self._ended)
        stops, task = self._spawner.plugin.stops, self._task
        stops.begin(self)
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
            if stops.shutting_down:
                self.keep()
            elif not task.done():
                self._keep_record()
            raise
        if task.cancelled():
            raise StopAbandoned(f"{self._spawner.object_name} may still run")
        task.result()

    def forget(self, actor: str, request_id: RequestId) -> None:
        """Give up on a server whose stop waits: JupyterHub forgets it, its token is revoked, its container may run on.

        Args:
            actor: `user:NAME` or `service:NAME`.
            request_id: of the client, or new.

        Raises:
            AgentError: `STOP_NOT_WAITING`.
        """
        if self.waiting_for is None:
            raise AgentError(Reason.STOP_NOT_WAITING)
        spawner, operation = self._spawner, Operation[None](request_id)
        command = ForgetCommand(spawner.user.name, spawner.name, actor, request_id)
        spawner.plugin.records.follow(operation, command)
        spawner.log.warning(
            "Hubwarden: the Hub forgets %s for %s without having stopped it: container %s may still run (%s)",
            spawner._log_name,  # noqa: SLF001 - JupyterHub's log name
            actor,
            spawner.object_name,
            request_id,
        )
        revoke_token(spawner.user.db, spawner.api_token)
        spawner.user.db.commit()
        self._abandon()
        operation.succeed(None)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if task is not self._task:  # a new stop has begun
            return
        self.waiting_for = None
        self._spawner.plugin.stops.under_way.discard(self)
        if not task.cancelled():
            self.keeps_record = False

    def _abandon(self) -> None:
        self.waiting_for = None
        if self._task is not None:
            self._task.cancel()

    def keep(self) -> None:
        """Stop waiting, because the Hub shuts down; the next Hub finds the server on record."""
        spawner = self._spawner
        self._keep_record()
        spawner.log.warning(
            "Hubwarden: the Hub shuts down, but %s was not stopped: container %s may still run",
            spawner._log_name,  # noqa: SLF001 - JupyterHub's log name
            spawner.object_name,
        )
        self._abandon()

    def _keep_record(self) -> None:
        self.keeps_record, self.started = True, self._spawner.orm_spawner.started

    async def _until_stopped(self, *, now: bool) -> None:
        stops, pause, stopped = self._spawner.plugin.stops, _FIRST_PAUSE, await self._attempt(now=now)
        while not stopped:
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
            async with stops.after_slow_pause() if self.is_slow else nullcontext():
                stopped = await self._attempt(now=now)
        stops.succeeded()

    async def _attempt(self, *, now: bool) -> bool:
        """Whether Docker reports the container stopped or gone."""
        spawner, plugin, before = self._spawner, self._spawner.plugin, self.waiting_for
        self.waiting_for = "operation"
        try:
            async with plugin.turns.take(spawner.user.id, plugin.settings.turn_wait):
                self.waiting_for = before
                with self._late_answer() as late:
                    async with plugin.stops.attempt(self):
                        # A container that is down may be in the middle of a restart: only a stop, under the user's
                        # lock in the agent, confirms that it stays down.
                        if await spawner.unguarded_poll() is not None and not spawner.object_id:
                            return True
                        late.cancel()
                        self.waiting_for = None if before == "agent" else before  # it has answered now
                        await spawner.stop_container(now=now)
        except Exception as error:  # noqa: BLE001 - whatever it is: Docker has not confirmed the stop
            self._delayed(error, before)
            return False
        return True

    @contextmanager
    def _late_answer(self) -> Iterator[asyncio.TimerHandle]:
        """Report that the stop waits for the agent once `_SLOW` has passed, unless that is cancelled."""
        late = asyncio.get_running_loop().call_later(_SLOW, setattr, self, "waiting_for", "agent")
        try:
            yield late
        finally:
            late.cancel()

    def _delayed(self, error: Exception, before: WaitsFor | None) -> None:
        busy = isinstance(error, AgentError) or gateway_errors.is_busy(error)
        self.waiting_for = "operation" if busy else "agent"
        if self.waiting_for != before:
            self._spawner.log.warning(
                "Hubwarden: %s cannot be stopped yet (waiting for the %s): %r",
                self._spawner._log_name,  # noqa: SLF001 - JupyterHub's log name
                self.waiting_for,
                error,
            )
