"""The agent put together from its configuration: one engine, one table of locks and one audit behind both listeners.

What holds here: nothing is decided; every part is made once and handed to whoever needs it. What speaks HTTP is only
imported where it is turned on: aiohttp costs memory and time at every start.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import grpc
from limits import parse as parse_rate

from hubwarden_agent.audit import AuditFile
from hubwarden_agent.budgets import Window
from hubwarden_agent.clock import Clock
from hubwarden_agent.config import Config
from hubwarden_agent.engine.port import Engine
from hubwarden_agent.errors import Reason
from hubwarden_agent.locks import UserLocks
from hubwarden_agent.metrics import Metrics
from hubwarden_agent.names import Names
from hubwarden_agent.operations.reset import Resetter
from hubwarden_agent.operations.restart import Restarter
from hubwarden_agent.operations.runner import Runner
from hubwarden_agent.server import Health, bound_socket, group_id, serve_agent
from hubwarden_agent.service import AgentService, Bounds

if TYPE_CHECKING:
    from hubwarden_agent.gateway.listener import Listener

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
    service: AgentService
    metrics: Metrics
    gateway: Listener | None

    async def serve(self, stopped: asyncio.Event) -> None:
        """Serve until `stopped`, then finish what is under way.

        Raises:
            OSError: a socket cannot be made.
            KeyError: the sockets' group does not exist.
        """
        listen = self.settings.listen
        async with AsyncExitStack() as stack:
            await self.health.start()
            stack.push_async_callback(self.health.stop)
            group = group_id(listen.socket_group)
            server = await serve_agent(self.service, listen.grpc, listen.socket_mode, group)
            if self.gateway is not None:
                await self.gateway.start(bound_socket(listen.gateway, listen.socket_mode, group))
            if listen.metrics:
                await self._serve_metrics(stack, group)
            following = asyncio.create_task(self.health.follow())
            _log.info("serving", extra={"listen": listen.grpc, "gateway": listen.gateway})
            await stopped.wait()
            _log.info("stopping: finishing what is under way")
            following.cancel()
            with suppress(asyncio.CancelledError):
                await following
            await self.health.leave()
            if not await self._drained(server):
                _log.error("some operations did not end in time")

    async def _serve_metrics(self, stack: AsyncExitStack, group: int | None) -> None:
        from hubwarden_agent.scrape import serve_metrics  # noqa: PLC0415 - see the top

        listen = self.settings.listen
        metrics = await serve_metrics(self.metrics, listen.metrics, listen.socket_mode, group)
        stack.push_async_callback(metrics.stop)

    async def _drained(self, server: grpc.aio.Server) -> bool:
        """Take nothing new, and finish what is under way; what lost its client only the runner still knows."""
        async with asyncio.TaskGroup() as group:
            group.create_task(server.stop(DRAIN_SECONDS))
            if self.gateway is not None:
                group.create_task(self.gateway.stop())
            running = group.create_task(self.runner.drain(DRAIN_SECONDS))
        return running.result()


def assemble(settings: Config, engine: Engine, clock: Clock, metrics: Metrics) -> Agent:
    """Put an agent together.

    Raises:
        OSError: the audit file cannot be opened.
    """
    audit = AuditFile(
        settings.state_directory / settings.audit.file,
        max_bytes=settings.audit.max_bytes,
        keep=settings.audit.keep,
        clock=clock,
        denials=Window(parse_rate(DENIALS_RECORDED), clock),
    )
    limits, names, locks = settings.limits, Names(settings.names), UserLocks()
    runner = Runner(locks, clock, limits.max_concurrent)
    restarts = Window(limits.restarts_per_user, clock)
    resets = Window(limits.resets_per_user, clock)
    resets_total = Window(limits.resets_total, clock, Reason.RESET_BUDGET_SPENT)
    service = AgentService(
        Restarter(engine, names, runner, locks, audit, restarts, clock),
        Resetter(engine, names, runner, locks, audit, resets, resets_total, settings.reset, clock),
        Bounds(limits.max_stop_timeout, limits.max_deadline),
        metrics,
    )
    metrics.resets_left.set_function(lambda: resets_total.left(""))
    gateway = _gateway(settings, engine, names, locks, audit, clock, metrics) if settings.listen.gateway else None
    return Agent(settings, Health(engine, settings.state_directory), audit, runner, service, metrics, gateway)


def _gateway(
    settings: Config,
    engine: Engine,
    names: Names,
    locks: UserLocks,
    audit: AuditFile,
    clock: Clock,
    metrics: Metrics,
) -> Listener:
    from hubwarden_agent.gateway import app, listener  # noqa: PLC0415 - see the top

    front = app.build_app(
        engine=engine, names=names, spawn=settings.spawn, locks=locks, audit=audit, clock=clock, metrics=metrics
    )
    return listener.Listener(front, DRAIN_SECONDS)
