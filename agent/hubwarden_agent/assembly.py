"""The agent put together from its configuration: one engine, one table of locks and one audit behind both listeners.

What holds here: nothing is decided; every part is made once and handed to whoever needs it.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass

import grpc
from aiohttp import web
from limits import parse as parse_rate

from hubwarden_agent.audit import AuditFile
from hubwarden_agent.audit_segments import Segments
from hubwarden_agent.budgets import Window
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
            server = await serve_agent(self.service, listen.grpc, listen.socket_mode, group)
            gateway = Listener(self.gateway, DRAIN_SECONDS)
            if listen.gateway:
                await gateway.start(bound_socket(listen.gateway, listen.socket_mode, group))
            following = asyncio.create_task(self.health.follow())
            _log.info("serving", extra={"listen": listen.grpc, "gateway": listen.gateway})
            await stopped.wait()
            _log.info("stopping: finishing what is under way")
            following.cancel()
            with suppress(asyncio.CancelledError):
                await following
            await self.health.leave()
            if not await self._drained(server, gateway):
                _log.error("some operations did not end in time")

    async def _drained(self, server: grpc.aio.Server, gateway: Listener) -> bool:
        """Take nothing new, and finish what is under way; what lost its client only the runner still knows."""
        *_, ended = await asyncio.gather(server.stop(DRAIN_SECONDS), gateway.stop(), self.runner.drain(DRAIN_SECONDS))
        return ended


def assemble(settings: Config, engine: Engine, clock: Clock) -> Agent:
    """Put an agent together.

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
    service = AgentService(
        Restarter(engine, names, runner, locks, audit, restarts, clock),
        Resetter(engine, names, runner, locks, audit, resets, resets_total, settings.reset, clock),
        Bounds(limits.max_stop_timeout, limits.max_deadline),
    )
    gateway = build_app(engine=engine, names=names, spawn=settings.spawn, locks=locks, audit=audit, clock=clock)
    recovery = Recovery(engine, audit, runner, clock)
    return Agent(settings, Health(engine, settings.state_directory), audit, runner, recovery, service, gateway)
