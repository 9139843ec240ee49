"""One Spawner's restarts: those that the Hub's queue begins, and what an earlier Hub or a lost answer left to find out.

Invariants: while a restart is under way JupyterHub finds something pending, with a future that it cannot cancel; one
that a killed Hub left behind is asked about, under its own id and on the record, before anything about the server is
trusted, unless that was so long ago that asking might do it now; one whose outcome is not known is found out without
asking for it again. The order of a restart's steps is `restart`'s business.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from hubwarden_hub import restart
from hubwarden_hub.commands import RequestId, RestartCommand
from hubwarden_hub.errors import AgentError, Reason
from hubwarden_hub.marker import Note
from hubwarden_hub.operation_queue import Job, Target
from hubwarden_hub.operations import Operation
from hubwarden_hub.records import Kind
from hubwarden_hub.restart import RestartOutcome, ServerGone
from hubwarden_hub.spawned import SpawnedServer

if TYPE_CHECKING:
    from hubwarden_hub.spawner import RestartableSpawnerMixin

_FIRST_PAUSE = 1.0
_LONGEST_PAUSE = 60.0
"""Seconds between two looks at whether a restart happened whose outcome is not known."""


class Restarting:
    """See the module.

    Args:
        spawner: whose restarts these are.
        clock: seconds since the epoch.
    """

    def __init__(self, spawner: RestartableSpawnerMixin, clock: Callable[[], float] = time.time) -> None:
        self._spawner, self._clock = spawner, clock
        self._asking: asyncio.Task[None] | None = None
        self._settling: asyncio.Task[None] | None = None
        self.under_way: Operation[RestartOutcome] | None = None
        self.count = 0
        """How many have begun: whoever sees it grow has seen the server at another time."""

    @property
    def latest(self) -> Operation[RestartOutcome] | None:
        """See `RestartableSpawnerMixin.latest_restart`."""
        user = self._spawner.user
        return self._spawner.plugin.queue.latest(Target(user.id, user.name, Kind.RESTART, self._spawner.name))

    def request(self, actor: str, request_id: RequestId, is_allowed: Callable[[], bool]) -> Operation[RestartOutcome]:
        """See `RestartableSpawnerMixin.request_restart`."""
        spawner = self._spawner
        command = RestartCommand(
            username=spawner.user.name,
            server_name=spawner.name,
            actor=actor,
            request_id=request_id,
            expected_container=spawner.object_name,
            stop_timeout=spawner.plugin.settings.stop_timeout,
        )
        job = Job(
            spawner.user.id,
            command,
            check=self._check,
            begin=lambda operation: self._begin(operation, command),
            awaits=self._spawn_under_way,
            is_allowed=is_allowed,
            note=partial(self._note_wait, command),
        )
        return spawner.plugin.queue.submit(job)

    def _spawn_under_way(self) -> asyncio.Future[Any] | None:
        spawner = self._spawner
        future: asyncio.Future[Any] | None = spawner._spawn_future  # noqa: SLF001 - JupyterHub's
        return future if spawner.pending == "spawn" and future is not None and not future.done() else None

    def _check(self) -> None:
        """Raises `AgentError` unless the server is ready, or will be when its start has ended."""
        if self._spawn_under_way() is not None:
            return
        if self._spawner.pending:
            raise AgentError(Reason.OPERATION_IN_PROGRESS)
        if not self._spawner.ready:
            raise AgentError(Reason.SERVER_NOT_RUNNING)

    def _note_wait(self, command: RestartCommand, *, waits: bool) -> None:
        """Note that a restart waits, where the next Hub finds it; what is left of an earlier one is worth more."""
        spawner = self._spawner
        if spawner.marker is not None and spawner.marker.command != command:
            return
        spawner.marker = Note(command, self._clock(), is_waiting=True) if waits else None
        try:
            SpawnedServer(spawner).commit_state()
        except Exception:  # the restart can be done all the same; only the next Hub would not know of it
            spawner.log.exception("Could not note that a restart of %s waits", spawner.proxy_spec)
            spawner.user.db.rollback()

    def _begin(self, operation: Operation[RestartOutcome], command: RestartCommand) -> Coroutine[Any, Any, None]:
        self._check()
        spawner = self._spawner
        self.under_way = operation
        self.count += 1
        # With these, JupyterHub's pending page and progress API follow the restart as they follow a spawn.
        spawner._spawn_pending = True  # noqa: SLF001 - JupyterHub's
        spawner._spawn_future = operation.outcome  # noqa: SLF001 - JupyterHub's
        return self._carry_out(operation, command)

    async def _carry_out(self, operation: Operation[RestartOutcome], command: RestartCommand) -> None:
        spawner, plugin = self._spawner, self._spawner.plugin
        try:
            lock = plugin.turns.take(spawner.user.id, plugin.settings.turn_wait)
            outcome = await restart.carry_out(SpawnedServer(spawner), plugin.agent, command, operation.enter, lock)
        except AgentError as error:
            self._end()
            self._settle()
            operation.fail(error)
        except Exception:  # ServerGone; and a server in an unforeseen state is better stopped than misrouted
            spawner.log.exception("Restart %s of %s failed", command.request_id, spawner.proxy_spec)
            self._end()
            # JupyterHub keeps a stopped Spawner whose future has no result yet, and its pages say what went wrong.
            spawner._spawn_future = operation.outcome  # noqa: SLF001 - JupyterHub's
            await self._stop_for_good()
            operation.fail(AgentError(Reason.RESTART_FAILED))
        else:
            self._end()
            operation.succeed(outcome)

    async def _stop_for_good(self) -> None:
        """Have JupyterHub stop what may be left of the server, and show it stopped."""
        spawner = self._spawner
        try:
            await spawner.user.stop(spawner.name)
        except Exception:
            spawner.log.exception("Could not stop %s; the Hub shows it stopped all the same", spawner.proxy_spec)

    def _end(self) -> None:
        self.under_way = None
        self._spawner._spawn_pending = False  # noqa: SLF001 - JupyterHub's
        self._spawner._spawn_future = None  # noqa: SLF001 - JupyterHub's

    # --- what is left to find out ---------------------------------------------------------------------------------

    async def resolve_left_over(self) -> None:
        """Learn what became of a restart that a killed Hub left behind, before anything about the server is trusted."""
        note = self._spawner.marker
        if note is None or not isinstance(note.command, RestartCommand) or self.under_way is not None:
            return
        if note.is_waiting:
            return
        if note.look_only:
            self._settle()
            return
        if self._asking is None:
            fresh = note.is_fresh(self._clock(), self._spawner.plugin.settings.note_lifetime)
            self._asking = asyncio.create_task(self._resolve(note.command, fresh=fresh))
        await asyncio.shield(self._asking)

    async def _resolve(self, command: RestartCommand, *, fresh: bool) -> None:
        """A failure keeps the note, for whoever asks next."""
        try:
            started_at = await self._ask_about(command, fresh=fresh)
            await SpawnedServer(self._spawner).conclude(None, started_at)
        finally:
            self._asking = None
        self._settle()

    async def _ask_about(self, command: RestartCommand, *, fresh: bool) -> datetime | None:
        """The start of the container by this restart; None: it is not known whether it happened."""
        spawner = self._spawner
        operation: Operation[RestartOutcome] = Operation(command.request_id)
        spawner.plugin.queue.register(spawner.user.id, command, operation)
        if not fresh:
            spawner.log.warning("Restart %s of %s, left behind: too old to ask", command.request_id, spawner.proxy_spec)
            operation.fail(AgentError(Reason.INTERRUPTED))
            return None
        try:
            restarted = await spawner.plugin.agent.restart(command)
        except AgentError as error:
            spawner.log.warning("Restart %s of %s, left behind: %s", command.request_id, spawner.proxy_spec, error)
            operation.fail(error)
            return None
        except Exception:
            operation.fail(AgentError(Reason.DOCKER_ERROR))
            raise
        operation.succeed(RestartOutcome(restarted, ready=False))
        return restarted.started_at

    def _settle(self) -> None:
        """Begin to find out whether a restart happened, if that is not known and nobody is at it."""
        if self._unsettled() is not None and (self._settling is None or self._settling.done()):
            self._settling = asyncio.create_task(self._until_settled())

    def _unsettled(self) -> RestartCommand | None:
        note = self._spawner.marker
        if note is None or not note.look_only or not isinstance(note.command, RestartCommand):
            return None
        return note.command

    async def _until_settled(self) -> None:
        """Look until it is known; a server that does not run is left to JupyterHub, which then clears its state."""
        spawner, plugin, pause = self._spawner, self._spawner.plugin, _FIRST_PAUSE
        while (command := self._unsettled()) is not None:
            lock = plugin.turns.take(spawner.user.id, plugin.settings.turn_wait)
            try:
                await restart.settle(SpawnedServer(spawner), plugin.agent, command, lock)
            except ServerGone:
                return
            except Exception as error:  # noqa: BLE001 - whatever does not answer now is asked again
                spawner.log.warning("Not known yet whether %s was restarted: %r", spawner.proxy_spec, error)
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
