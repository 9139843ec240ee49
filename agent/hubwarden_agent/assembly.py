"""The agent put together from its configuration: one engine, one table of locks and one audit behind both listeners.

What holds here: nothing is decided; every part is made once and handed to whoever needs it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial

import grpc
from aiohttp import web
from limits import parse as parse_rate

from hubwarden_agent.audit import AuditFile
from hubwarden_agent.audit_segments import Segments
from hubwarden_agent.budgets import Window
from hubwarden_agent.callers import SocketCallers, TlsCallers
from hubwarden_agent.clock import Clock
from hubwarden_agent.config import Config
from hubwarden_agent.engine.port import Engine
from hubwarden_agent.errors import Reason
from hubwarden_agent.gateway.app import build_app
from hubwarden_agent.gateway.listener import Listener
from hubwarden_agent.locks import UserLocks
from hubwarden_agent.names import Names
from hubwarden_agent.operations.recovery import Recovery
from hubwarden_agent.operations.reset import Resetter
from hubwarden_agent.operations.restart import Restarter
from hubwarden_agent.operations.runner import Runner
from hubwarden_agent.remote import Keyring, Remote, RemoteHealth
from hubwarden_agent.server import Health, bound_socket, group_id, serve_agent
from hubwarden_agent.service import AgentService, Bounds

DRAIN_SECONDS = 90.0
"""How long running operations get after SIGTERM. compose.yml's stop_grace_period is longer."""
DENIALS_RECORDED = "60/minute"
"""How many refusals the audit records, over all callers."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Agent:
    """Every part of a running agent."""

    settings: Config
    health: Health
    audit: AuditFile
    runner: Runner
    recovery: Recovery
    service: AgentService
    gateway: web.Application
    remote: Remote | None

    async def serve(self, stopped: asyncio.Event) -> None:
        """Serve until `stopped`, then finish what is under way.

        Raises:
            OSError: a socket cannot be made.
            KeyError: the sockets' group does not exist.
        """
        listen = self.settings.listen
        async with AsyncExitStack() as stack:
            self.recovery.begin(self.audit.history())
            stack.push_async_callback(self.recovery.stop)
            await self.health.start()
            stack.push_async_callback(self.health.stop)
            group = group_id(listen.socket_group)
            servers = [await serve_agent(self.service, listen.unix, listen.socket_mode, group)]
            gateway = Listener(self.gateway, DRAIN_SECONDS)
            if listen.gateway:
                await gateway.start(bound_socket(listen.gateway, listen.socket_mode, group))
            following = [asyncio.create_task(self.health.follow())]
            if self.remote:
                servers.append(await self.remote.serve())
                following.append(asyncio.create_task(self.remote.keyring.follow()))
            _log.info("serving", extra={"listen": listen.grpc, "gateway": listen.gateway})
            await stopped.wait()
            _log.info("stopping: finishing what is under way")
            for task in following:
                task.cancel()
            await asyncio.gather(*following, return_exceptions=True)
            await self.health.leave()
            if not await self._drained(servers, gateway):
                _log.error("some operations did not end in time")

    async def _drained(self, servers: Sequence[grpc.aio.Server], gateway: Listener) -> bool:
        """Take nothing new, and finish what is under way; what lost its client only the runner still knows."""
        stopping = (server.stop(DRAIN_SECONDS) for server in servers)
        ended, *_ = await asyncio.gather(self.runner.drain(DRAIN_SECONDS), gateway.stop(), *stopping)
        return bool(ended)


def assemble(settings: Config, engine: Engine, clock: Clock, keyring: Keyring | None = None) -> Agent:
    """Put an agent together; without a keyring, nothing listens on TCP.

    Raises:
        OSError: the audit file cannot be opened.
    """
    kept = settings.audit
    segments = Segments(settings.state_directory / kept.file, kept.max_bytes, kept.keep)
    audit = AuditFile(segments, clock, Window(parse_rate(DENIALS_RECORDED), clock))
    limits, names, locks = settings.limits, Names(settings.names), UserLocks()
    runner = Runner(locks, clock, limits.max_concurrent)
    restarts = Window(limits.restarts_per_user, clock)
    resets = Window(limits.resets_per_user, clock)
    resets_total = Window(limits.resets_total, clock, Reason.RESET_BUDGET_SPENT)
    serving = partial(
        AgentService,
        Restarter(engine, names, runner, locks, audit, restarts, clock),
        Resetter(engine, names, runner, locks, audit, resets, resets_total, settings.reset, clock),
        Bounds(limits.max_stop_timeout, limits.max_deadline),
    )
    health, remote = Health(engine, settings.state_directory), None
    if keyring:
        callers = TlsCallers(lambda: keyring.current.clients, audit)
        remote = Remote(settings.listen.tcp, keyring, serving(callers), RemoteHealth(health.servicer, callers))
    gateway = build_app(engine=engine, names=names, spawn=settings.spawn, locks=locks, audit=audit, clock=clock)
    recovery = Recovery(engine, audit, runner, clock)
    return Agent(settings, health, audit, runner, recovery, serving(SocketCallers()), gateway, remote)
