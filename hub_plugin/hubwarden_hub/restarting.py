"""One Spawner's restarts: the one under way, the last one, and one that a killed Hub left behind.

Invariants: there is at most one at a time; whoever repeats the id of the last one gets that one; while one is
under way JupyterHub finds something pending, with a future that it cannot cancel; one that was left behind is asked
about, under its own id and on the record, before anything about the server is trusted, unless that was so long ago that
asking might do it now. The order of a restart's steps is `restart`'s business.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from hubwarden_hub import restart
from hubwarden_hub.commands import RequestId, RestartCommand
from hubwarden_hub.errors import AgentError, Reason
from hubwarden_hub.operations import Operation
from hubwarden_hub.restart import RestartOutcome
from hubwarden_hub.spawned import SpawnedServer

if TYPE_CHECKING:
    from hubwarden_hub.spawner import RestartableSpawnerMixin


class Restarting:
    """See the module.

    Args:
        spawner: whose restarts these are.
        clock: seconds since the epoch.
    """

    def __init__(self, spawner: RestartableSpawnerMixin, clock: Callable[[], float] = time.time) -> None:
        self._spawner, self._clock = spawner, clock
        self._task: asyncio.Task[None] | None = None
        self._asking: asyncio.Task[None] | None = None
        self.under_way: Operation[RestartOutcome] | None = None
        self.latest: Operation[RestartOutcome] | None = None
        self.count = 0
        """How many have begun: whoever sees it grow has seen the server at another time."""

    async def request(self, actor: str, request_id: RequestId) -> Operation[RestartOutcome]:
        """See `RestartableSpawnerMixin.request_restart`."""
        spawner, turn_wait = self._spawner, self._spawner.plugin.settings.turn_wait
        if (known := self._known(request_id)) is not None:
            return known
        if spawner.pending == "spawn" and spawner._spawn_future is not None:  # noqa: SLF001 - what there is to wait for
            await asyncio.wait({spawner._spawn_future}, timeout=turn_wait)  # noqa: SLF001 - as above
            if (known := self._known(request_id)) is not None:  # the same request, which waited too
                return known
        if spawner.pending:
            raise AgentError(Reason.OPERATION_IN_PROGRESS)
        if not spawner.ready:
            raise AgentError(Reason.SERVER_NOT_RUNNING)
        return self._begin(actor, request_id)

    def _known(self, request_id: RequestId) -> Operation[RestartOutcome] | None:
        """The latest restart, if it has this id and it is known, or will be, how it ends."""
        latest = self.latest
        return latest if latest is not None and latest.request_id == request_id and not latest.is_lost else None

    def _begin(self, actor: str, request_id: RequestId) -> Operation[RestartOutcome]:
        spawner = self._spawner
        operation: Operation[RestartOutcome] = Operation(request_id)
        command = RestartCommand(
            username=spawner.user.name,
            server_name=spawner.name,
            actor=actor,
            request_id=request_id,
            expected_container=spawner.object_name,
            stop_timeout=spawner.plugin.settings.stop_timeout,
        )
        spawner.plugin.records.follow(operation, command)
        self.under_way = self.latest = operation
        self.count += 1
        # With these, JupyterHub's pending page and progress API follow the restart as they follow a spawn.
        spawner._spawn_pending = True  # noqa: SLF001 - JupyterHub's
        spawner._spawn_future = operation.outcome  # noqa: SLF001 - JupyterHub's
        self._task = asyncio.create_task(self._carry_out(operation, command))
        return operation

    async def _carry_out(self, operation: Operation[RestartOutcome], command: RestartCommand) -> None:
        spawner, plugin = self._spawner, self._spawner.plugin
        try:
            async with plugin.turns.take(spawner.user.id, plugin.settings.turn_wait):
                outcome = await restart.carry_out(SpawnedServer(spawner), plugin.agent, command, operation.enter)
        except AgentError as error:
            self._end()
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

    # --- what a killed Hub left behind ----------------------------------------------------------------------------

    async def resolve_left_over(self) -> None:
        """Learn what became of a restart that a killed Hub left behind, before anything about the server is trusted."""
        note = self._spawner.marker
        if note is None or not isinstance(note.command, RestartCommand) or self.under_way is not None:
            return
        if self._asking is None:
            fresh = note.is_fresh(self._clock(), self._spawner.plugin.settings.note_lifetime)
            self._asking = asyncio.create_task(self._conclude(note.command, fresh=fresh))
        await asyncio.shield(self._asking)

    async def _conclude(self, command: RestartCommand, *, fresh: bool) -> None:
        """A failure keeps the note, for whoever asks next."""
        try:
            await self._ask_about(command, fresh=fresh)
            await SpawnedServer(self._spawner).conclude(None, end_sessions=True)
        finally:
            self._asking = None

    async def _ask_about(self, command: RestartCommand, *, fresh: bool) -> None:
        spawner = self._spawner
        operation: Operation[RestartOutcome] = Operation(command.request_id)
        self.latest = operation
        spawner.plugin.records.follow(operation, command)
        if not fresh:
            spawner.log.warning("Restart %s of %s, left behind: too old to ask", command.request_id, spawner.proxy_spec)
            operation.fail(AgentError(Reason.INTERRUPTED))
            return
        try:
            outcome = RestartOutcome(await spawner.plugin.agent.restart(command), ready=False)
        except AgentError as error:
            spawner.log.warning("Restart %s of %s, left behind: %s", command.request_id, spawner.proxy_spec, error)
            operation.fail(error)
        except Exception:
            operation.fail(AgentError(Reason.DOCKER_ERROR))
            raise
        else:
            operation.succeed(outcome)
