"""What a Spawner needs so that its server can be restarted in place, under a running Hub.

What holds here: while a restart runs, the Hub sees a server that is neither ready nor dead, whoever asks and whenever
they began to ask; a Spawner that gets no answer about its server keeps it; an address is asked for, not remembered.
The mixin adds behaviour to DockerSpawner (or a subclass) by cooperative inheritance, and its settings stay
`c.DockerSpawner.…`. It must never talk to Docker itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from tornado import web

from hubwarden_hub import gateway_errors, marker, restart
from hubwarden_hub.commands import RequestId, RestartCommand
from hubwarden_hub.errors import AgentError, Reason
from hubwarden_hub.operations import PROGRESS, Operation
from hubwarden_hub.restart import RestartOutcome, ServerGone
from hubwarden_hub.spawned import SpawnedServer

if TYPE_CHECKING:
    from jupyterhub.spawner import Spawner as _Base

    from hubwarden_hub.plugin import Plugin
else:
    _Base = object

_PAUSE = 0.3
"""Seconds between two attempts at something that another operation holds up."""
_NOWHERE = "http://127.0.0.1:1/"
"""An address that nothing answers at: JupyterHub then stops the server, instead of trusting a stranger's answer."""


class RestartableSpawnerMixin(_Base):  # type: ignore[misc]  # JupyterHub is not typed
    """Put before a DockerSpawner class: `class MySpawner(RestartableSpawnerMixin, DockerSpawner)`."""

    marker: RestartCommand | None = None
    """The restart under way, or one that a killed Hub left behind; part of the Spawner's state."""
    _restarting: Operation[RestartOutcome] | None = None
    _last_restart: Operation[RestartOutcome] | None = None
    _restart_task: asyncio.Task[None] | None = None
    _left_over: asyncio.Task[None] | None = None
    _spawn_future: Any  # JupyterHub's
    _generation = 0

    @property
    def _plugin(self) -> Plugin:
        plugin: Plugin = self.user.settings["hubwarden"]
        return plugin

    # --- what JupyterHub asks -------------------------------------------------------------------------------------

    @property
    def pending(self) -> str | None:
        """As in JupyterHub, and `"restart"`: then no page, no check of routes and no API call takes it for ready."""
        if self._restarting is not None:
            return "restart"
        pending: str | None = super().pending
        return pending

    async def poll(self) -> Any:
        """Whether the server runs: None if it does, and also if nobody can tell while the Hub has one on record.

        A poll that was under way when a restart began tells about the moment in which the container was down.
        """
        if self._restarting is not None:
            return None
        generation = self._generation
        await self._resolve_left_over()
        try:
            status = await self.unguarded_poll()
        except Exception as error:
            if self.server is None:
                raise
            self.log.warning("No answer about %s, taking it to be running: %r", self._log_name, error)
            return None
        return status if self._generation == generation else None

    async def unguarded_poll(self) -> Any:
        """The Spawner's own poll, whatever is under way. Raises whatever that raises."""
        return await super().poll()

    async def get_url(self) -> str:
        """Where the server is now. Waits, if need be for long, until somebody can say; meanwhile a check is pending."""
        await self._resolve_left_over()
        try:
            address = await restart.locate(SpawnedServer(self))
        except ServerGone:
            return _NOWHERE
        host = f"[{address.ip}]" if ":" in address.ip else address.ip
        return f"{self.server.proto}://{host}:{address.port}{self.server.base_url}"

    async def start(self) -> Any:
        """Start when nothing else is being done to the user's containers and volumes; wait for that, or raise 409."""
        async with self._turn():
            try:
                return await self._while_busy(super().start)
            except Exception as error:
                gateway_errors.explain(error)
                raise

    async def stop(self, now: bool = False) -> None:  # noqa: FBT001, FBT002 - JupyterHub's signature
        """Stop when nothing else is being done to the user's containers and volumes; wait for that, or raise 409."""
        async with self._turn():
            await self._while_busy(super().stop, now)

    async def progress(self) -> AsyncIterator[dict[str, Any]]:
        """As in JupyterHub; during a restart, its phases."""
        if self._restarting is None:
            async for event in super().progress():
                yield event
            return
        async for phase in self._restarting.phases():
            percent, message = PROGRESS[phase]
            yield {"progress": percent, "message": message, "phase": str(phase)}

    def get_state(self) -> dict[str, Any]:
        """The Spawner's state, with the restart under way."""
        state: dict[str, Any] = super().get_state()
        return state if self.marker is None else {**state, marker.KEY: marker.written(self.marker)}

    def load_state(self, state: dict[str, Any]) -> None:
        """Load the state, with a restart that was under way when it was saved."""
        super().load_state(state)
        self.marker = marker.read(state)

    def clear_state(self) -> None:
        """Forget what belongs to a server that has stopped."""
        super().clear_state()
        self.marker = None

    # --- what the plugin asks -------------------------------------------------------------------------------------

    async def request_restart(self, actor: str, request_id: RequestId) -> Operation[RestartOutcome]:
        """Begin a restart, or find the one that has this id. A spawn under way is waited for, within bounds.

        Args:
            actor: `user:NAME` or `service:NAME`.
            request_id: of the client, or new.

        Returns:
            the operation, which goes on whether or not anybody waits for it.

        Raises:
            AgentError: `SERVER_NOT_RUNNING`, `OPERATION_IN_PROGRESS`.
        """
        if (last := self._last_restart) is not None and last.request_id == request_id and not last.is_lost:
            return last
        if self.pending == "spawn" and self._spawn_future is not None:
            await asyncio.wait({self._spawn_future}, timeout=self._plugin.settings.turn_wait)
        if self.pending:
            raise AgentError(Reason.OPERATION_IN_PROGRESS)
        if not self.ready:
            raise AgentError(Reason.SERVER_NOT_RUNNING)
        return self._begin_restart(actor, request_id)

    @property
    def latest_restart(self) -> Operation[RestartOutcome] | None:
        """The restart under way, or else the last one that this Hub has seen end."""
        return self._last_restart

    def home_volume(self) -> str:
        """The name of the user's home volume, as DockerSpawner renders it in `volumes`."""
        return str(self.format_volume_name(self._plugin.settings.home_volume, self))

    # --- the restart ----------------------------------------------------------------------------------------------

    def _begin_restart(self, actor: str, request_id: RequestId) -> Operation[RestartOutcome]:
        operation: Operation[RestartOutcome] = Operation(request_id)
        command = RestartCommand(
            username=self.user.name,
            server_name=self.name,
            actor=actor,
            request_id=request_id,
            expected_container=self.object_name,
            stop_timeout=self._plugin.settings.stop_timeout,
        )
        self._plugin.records.follow(operation, command)
        self._restarting = self._last_restart = operation
        self._generation += 1
        # With these, JupyterHub's pending page and progress API follow the restart as they follow a spawn.
        self._spawn_pending = True
        self._spawn_future = operation.outcome
        self._restart_task = asyncio.create_task(self._carry_out(operation, command))
        return operation

    async def _carry_out(self, operation: Operation[RestartOutcome], command: RestartCommand) -> None:
        plugin = self._plugin
        try:
            async with plugin.turns.take(self.user.id, plugin.settings.turn_wait):
                outcome = await restart.carry_out(SpawnedServer(self), plugin.agent, command, operation.enter)
        except AgentError as error:
            self._end_restart()
            operation.fail(error)
        except Exception:  # ServerGone; and a server in an unforeseen state is better stopped than misrouted
            self.log.exception("Restart %s of %s failed", command.request_id, self._log_name)
            self._end_restart()
            await self._stop_for_good()
            self._spawn_future = operation.outcome  # JupyterHub's pages then say what went wrong
            operation.fail(AgentError(Reason.RESTART_FAILED))
        else:
            self._end_restart()
            operation.succeed(outcome)

    async def _stop_for_good(self) -> None:
        """Have JupyterHub stop what may be left of the server, and show it stopped."""
        try:
            await self.user.stop(self.name)
        except Exception:
            self.log.exception("Could not stop %s; the Hub shows it stopped all the same", self._log_name)

    def _end_restart(self) -> None:
        self._restarting = None
        self._spawn_pending = False
        self._spawn_future = None

    async def _resolve_left_over(self) -> None:
        """Learn what became of a restart that a killed Hub left behind, before anything about the server is trusted."""
        if self.marker is None or self._restarting is not None:
            return
        if self._left_over is None:
            self._left_over = asyncio.create_task(self._ask_about(self.marker))
        await asyncio.shield(self._left_over)

    async def _ask_about(self, command: RestartCommand) -> None:
        try:
            await self._plugin.agent.restart(command)
        except AgentError as error:
            self.log.warning("Restart %s of %s, left behind: %s", command.request_id, self._log_name, error)
        SpawnedServer(self).conclude(None, end_sessions=True)
        self._left_over = None

    # --- taking turns ---------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        try:
            async with self._plugin.turns.take(self.user.id, self._plugin.settings.turn_wait):
                yield
        except AgentError as error:
            raise web.HTTPError(error.status, error.sentence(for_admin=False)) from error

    async def _while_busy(self, act: Any, *arguments: Any) -> Any:
        """Do something through the gateway, again and within bounds while the agent is at work for this user."""
        give_up_at = asyncio.get_running_loop().time() + self._plugin.settings.turn_wait
        while True:
            try:
                return await act(*arguments)
            except Exception as error:
                if not gateway_errors.is_busy(error) or asyncio.get_running_loop().time() >= give_up_at:
                    raise
            await asyncio.sleep(_PAUSE)
