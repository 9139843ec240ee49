"""What a Spawner needs so that its server can be restarted in place, under a running Hub.

Invariants: while a restart runs, the Hub sees a server that is neither ready nor dead, whoever asks and whenever
they began to ask; a Spawner that gets no answer about its server keeps it; an address is asked for, not remembered.
The mixin adds behaviour to DockerSpawner (or a subclass) by cooperative inheritance, and its settings stay
`c.DockerSpawner.…`. It must never talk to Docker itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

from tornado import web

from hubwarden_hub import gateway_errors, marker, restart
from hubwarden_hub.commands import RequestId, RestartCommand
from hubwarden_hub.errors import AgentError
from hubwarden_hub.home_note import HomeNote
from hubwarden_hub.marker import Note
from hubwarden_hub.operations import PROGRESS, Operation
from hubwarden_hub.pending_stop import PendingStop
from hubwarden_hub.restart import RestartOutcome, ServerGone
from hubwarden_hub.restarting import Restarting
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

    marker: Note | None = None
    """The restart or reset under way, or one that a killed Hub left behind; part of the Spawner's state."""
    _spawn_future: Any  # JupyterHub's, like `_spawn_pending`
    _stopping = False
    _launched = True
    """Whether the container may run. A server that a Hub finds on record may."""

    @cached_property
    def restarts(self) -> Restarting:
        """This server's restarts."""
        return Restarting(self)

    @cached_property
    def pending_stop(self) -> PendingStop:
        """This server's stop."""
        return PendingStop(self)

    @property
    def plugin(self) -> Plugin:
        """The plugin's parts."""
        plugin: Plugin = self.user.settings["hubwarden"]
        return plugin

    # --- what JupyterHub asks -------------------------------------------------------------------------------------

    @property
    def pending(self) -> str | None:
        """As in JupyterHub, and `"restart"`: then no page, no check of routes and no API call takes it for ready."""
        if self.restarts.under_way is not None:
            return "restart"
        pending: str | None = super().pending
        return pending

    @property
    def _stop_pending(self) -> bool:
        """JupyterHub's flag; and set during a restart, so that JupyterHub refuses (400) to delete the user.

        Beside `pending`, which knows better, JupyterHub reads it for that alone. Without it a user's DELETE gets as far
        as telling the Authenticator before JupyterHub finds the server active, and fails.
        """
        return self._stopping or self.restarts.under_way is not None

    @_stop_pending.setter
    def _stop_pending(self, pending: bool) -> None:
        self._stopping = pending

    @property
    def server(self) -> Any:
        """As in JupyterHub."""
        return super().server

    @server.setter
    def server(self, server: Any) -> None:
        """As in JupyterHub; but a server that a Hub leaves running when it shuts down stays on record."""
        if server is not None or not self.pending_stop.keeps_record:
            super(RestartableSpawnerMixin, type(self)).server.fset(self, server)

    async def poll(self) -> Any:
        """Whether the server runs: None if it does, and also if nobody can tell while the Hub has one on record.

        A poll that was under way when a restart began tells about the moment in which the container was down.
        """
        if self.restarts.under_way is not None or (self._stopping and self._launched):  # a stop asks by itself
            return None
        before = self.restarts.count
        try:
            await self.restarts.resolve_left_over()
            status = await self.unguarded_poll()
        except Exception as error:
            if self.server is None:
                raise
            self.log.warning("No answer about %s, taking it to be running: %r", self._log_name, error)
            return None
        return status if self.restarts.count == before else None

    async def unguarded_poll(self) -> Any:
        """The Spawner's own poll, whatever is under way. Raises whatever that raises."""
        return await super().poll()

    async def get_url(self) -> str:
        """Where the server is now. Waits, if need be for long, until somebody can say; meanwhile a check is pending."""
        await self.restarts.resolve_left_over()
        try:
            address = await restart.locate(SpawnedServer(self))
        except ServerGone:
            return _NOWHERE
        host = f"[{address.ip}]" if ":" in address.ip else address.ip
        return f"{self.server.proto}://{host}:{address.port}{self.server.base_url}"

    async def start(self) -> Any:
        """Start when nothing else is being done to the user's containers and volumes; wait for that, or raise 409.

        Whoever starts has seen how the home stands: a reset whose end nobody knows is not asked about again.
        """
        self._launched = False
        async with self._turn():
            HomeNote(self.user).forget()
            try:
                return await self._while_busy(super().start)
            except Exception as error:
                gateway_errors.explain(error)
                raise

    async def start_object(self) -> Any:
        """As in DockerSpawner. From here on the container may run, whatever the answer."""
        self._launched = True
        return await super().start_object()

    async def stop(self, now: bool = False) -> None:  # noqa: FBT001, FBT002 - JupyterHub's signature
        """Return when Docker reports the container stopped or gone, however long that takes.

        Raises:
            StopAbandoned: an admin gave up, or the Hub shuts down.
        """
        if self._launched:
            await self.pending_stop.carry_out(now=now)
            return
        async with self._turn():  # JupyterHub cleans up after a start that failed before it started anything
            await self._while_busy(self.stop_container, now=now)

    async def stop_container(self, *, now: bool) -> None:
        """DockerSpawner's own stop: one attempt. Raises whatever that raises."""
        await super().stop(now)

    async def progress(self) -> AsyncIterator[dict[str, Any]]:
        """As in JupyterHub; during a restart, its phases."""
        if self.restarts.under_way is None:
            async for event in super().progress():
                yield event
            return
        async for phase in self.restarts.under_way.phases():
            percent, message = PROGRESS[phase]
            yield {"progress": percent, "message": message, "phase": str(phase)}

    def get_state(self) -> dict[str, Any]:
        """The Spawner's state, with what is under way."""
        state: dict[str, Any] = super().get_state()
        return state if self.marker is None else {**state, marker.KEY: marker.written(self.marker)}

    def load_state(self, state: dict[str, Any]) -> None:
        """Load the state, with what was under way when it was saved."""
        super().load_state(state)
        self.marker = marker.read(state)

    def clear_state(self) -> None:
        """Forget what belongs to a server that has stopped. A home's reset does not."""
        if self.pending_stop.keeps_record:
            self.orm_spawner.started = self.pending_stop.started
            return
        super().clear_state()
        if self.marker is not None and isinstance(self.marker.command, RestartCommand):
            self.marker = None

    # --- what the plugin asks -------------------------------------------------------------------------------------

    def request_restart(
        self, actor: str, request_id: RequestId, is_allowed: Callable[[], bool] = lambda: True
    ) -> Operation[RestartOutcome]:
        """Begin a restart, let it wait in the Hub's queue, or find the one that has this id.

        Args:
            actor: `user:NAME` or `service:NAME`.
            request_id: of the client, or new.
            is_allowed: whether the actor still may; asked if it had to wait.

        Returns:
            the operation, which goes on whether or not anybody waits for it.

        Raises:
            AgentError: `SERVER_NOT_RUNNING`, `OPERATION_IN_PROGRESS`, `TOO_BUSY`.
        """
        return self.restarts.request(actor, request_id, is_allowed)

    @property
    def latest_restart(self) -> Operation[RestartOutcome] | None:
        """The restart under way or waiting, or else the last one that this Hub has seen end."""
        return self.restarts.latest

    def home_volume(self) -> str:
        """The name of the user's home volume, as DockerSpawner renders it in `volumes`."""
        return str(self.format_volume_name(self.plugin.settings.home_volume, self))

    # --- taking turns ---------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        try:
            async with self.plugin.turns.take(self.user.id, self.plugin.settings.turn_wait):
                yield
        except AgentError as error:
            raise web.HTTPError(error.status, error.sentence(for_admin=False)) from error

    async def _while_busy(self, act: Any, **arguments: Any) -> Any:
        """Do something through the gateway, again and within bounds while the agent is at work for this user."""
        give_up_at = asyncio.get_running_loop().time() + self.plugin.settings.turn_wait
        while True:
            try:
                return await act(**arguments)
            except Exception as error:
                if not gateway_errors.is_busy(error) or asyncio.get_running_loop().time() >= give_up_at:
                    raise
            await asyncio.sleep(_PAUSE)
