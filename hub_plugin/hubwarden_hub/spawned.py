"""A Spawner's server, as the restart needs it: JupyterHub's database, proxy and Spawner behind one narrow port.

Invariants: a change to the database is committed before anything is awaited, because the Hub has one session and
every request's end rolls back what is dirty in it; of many restarts that end together one at a time has the database,
and the Hub's loop is free in between, because a commit keeps it from everybody. This file must never call `User.stop`,
nor `User._wait_up`, which stops servers that are slow to answer.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from jupyterhub.utils import AnyTimeoutError, make_ssl_context, url_path_join, wait_for_http_server

from hubwarden_hub.commands import RestartCommand
from hubwarden_hub.errors import AgentError, Reason
from hubwarden_hub.marker import Note
from hubwarden_hub.restart import Address, Unanswered
from hubwarden_hub.sessions import end_browser_sessions

if TYPE_CHECKING:
    from hubwarden_hub.spawner import RestartableSpawnerMixin


_PAUSE = 0.05
"""Seconds between two attempts to reach a server that starts, if it is the only one."""
_LONGEST_PAUSE = 0.5
"""The same when so many start at once that all attempts together would cost the Hub more than they find."""


class SpawnedServer:
    """`restart.Server` for a Spawner.

    Args:
        spawner: with a server on record.
        clock: seconds since the epoch.
    """

    _awaited = 0  # servers whose first answer is waited for

    def __init__(self, spawner: RestartableSpawnerMixin, clock: Callable[[], float] = time.time) -> None:
        self._spawner, self._clock = spawner, clock

    @property
    def _settings(self) -> Any:
        return self._spawner.user.settings

    @property
    def answer_timeout(self) -> float:
        """See `restart.Server`: what JupyterHub grants a server that it spawned."""
        return float(self._spawner.http_timeout)

    async def remember(self, command: RestartCommand, started_at: datetime) -> None:
        """See `restart.Server`. An earlier restart's start stays noted: whether that happened may not be known yet."""
        async with self._alone():
            earlier = self._spawner.marker
            if earlier is not None and isinstance(earlier.command, RestartCommand):
                started_at = earlier.started_at or started_at
            self._spawner.marker = Note(command, self._clock(), started_at)
            try:
                self.commit_state()
            except Exception as error:
                # What is not asked for must not be found by the next Hub, nor be written with the state later.
                self._spawner.marker = earlier
                self._spawner.user.db.rollback()
                self._spawner.log.exception("Could not note the restart of %s", self._spawner.proxy_spec)
                raise AgentError(Reason.DOCKER_ERROR) from error

    async def conclude(self, address: Address | None, started_at: datetime | None) -> None:
        """See `restart.Server`."""
        async with self._alone():
            self._conclude(address, started_at)

    def _conclude(self, address: Address | None, started_at: datetime | None) -> None:
        spawner, note = self._spawner, self._spawner.marker
        if address is not None and spawner.server is not None:
            spawner.server.ip, spawner.server.port = address.ip, address.port
        if started_at is None:
            spawner.marker = note and replace(note, look_only=True)
        else:
            if note is None or note.started_at != started_at:
                ended = end_browser_sessions(spawner.user.db, spawner.oauth_client_id)
                spawner.log.debug("Ended %i browser sessions at %s", ended, spawner._log_name)  # noqa: SLF001 - log name
            spawner.marker = None
        try:
            self.commit_state()
        except Exception:
            spawner.marker = note
            raise

    @asynccontextmanager
    async def _alone(self) -> AsyncIterator[None]:
        """Have the database, and let everything else that waits for the loop come before the next restart has it."""
        async with self._spawner.plugin.commits:
            yield
            await asyncio.sleep(0)

    def commit_state(self) -> None:
        """Write the Spawner's state, with its note."""
        self._spawner.orm_spawner.state = self._spawner.get_state()
        self._spawner.user.db.commit()

    async def unroute(self) -> None:
        """See `restart.Server`."""
        try:
            await self._settings["proxy"].delete_route(self._spawner.proxy_spec)
        except Exception as error:  # each kind of proxy has exceptions of its own
            self._spawner.log.exception("Could not remove the route %s", self._spawner.proxy_spec)
            raise AgentError(Reason.PROXY_UNAVAILABLE) from error

    async def route(self) -> None:
        """See `restart.Server`. Not `Proxy.add_user`, which refuses while anything but a spawn is pending."""
        spawner = self._spawner
        data = {"user": spawner.user.name, "server_name": spawner.name}
        try:
            await self._settings["proxy"].add_route(spawner.proxy_spec, spawner.server.host, data)
        except Exception:
            # The server is there; JupyterHub's periodic check_routes adds what is missing once the proxy is back.
            spawner.log.exception("Could not add the route %s", spawner.proxy_spec)

    async def is_running(self) -> bool:
        """See `restart.Server`."""
        try:
            return await self._spawner.unguarded_poll() is None
        except Exception as error:
            self._spawner.log.warning("Could not ask whether %s runs: %r", self._spawner.proxy_spec, error)
            raise Unanswered from error

    async def address(self) -> Address:
        """See `restart.Server`."""
        try:
            ip, port = await self._spawner.get_ip_and_port()
        except Exception as error:
            self._spawner.log.warning("Could not ask where %s is: %r", self._spawner.proxy_spec, error)
            raise Unanswered from error
        if not ip or not port:  # Docker says so for a moment, while it connects a container to its network
            raise Unanswered
        return Address(str(ip), int(port))

    async def answers_within(self, seconds: float) -> bool:
        """See `restart.Server`."""
        settings = self._settings
        key, cert, ca = (settings.get(f"internal_ssl_{name}") for name in ("key", "cert", "ca"))
        context = make_ssl_context(key, cert, cafile=ca)
        url = url_path_join(self._spawner.server.url, "api")
        clock = asyncio.get_running_loop().time
        give_up_at = clock() + seconds
        SpawnedServer._awaited += 1
        try:
            while clock() < give_up_at:
                try:
                    # One attempt: within one wait, JupyterHub looks less and less often.
                    await wait_for_http_server(url, timeout=0, ssl_context=context)
                except AnyTimeoutError:
                    await asyncio.sleep(min(_PAUSE * SpawnedServer._awaited, _LONGEST_PAUSE))
                else:
                    return True
            return False
        finally:
            SpawnedServer._awaited -= 1
