"""The agent put together from its configuration: one engine, one table of locks and one audit behind both listeners.

What holds here: nothing is decided; every part is made once and handed to whoever needs it. What takes HTTP requests is
only imported where it is turned on.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import grpc

from hubwarden_agent import unfinished
from hubwarden_agent.audit import AuditFile
from hubwarden_agent.audit_segments import Segments
from hubwarden_agent.audit_trails import AsyncAudit, BlockingAudit
from hubwarden_agent.budgets import Window
from hubwarden_agent.callers import SocketCallers, TlsCallers
from hubwarden_agent.clock import Clock
from hubwarden_agent.config import Config
from hubwarden_agent.denials import DenialLimiter
from hubwarden_agent.engine.port import BlockingEngine, Container, Engine
from hubwarden_agent.errors import Reason
from hubwarden_agent.locks import UserLocks
from hubwarden_agent.measuring import Measuring
from hubwarden_agent.names import Names, Username
from hubwarden_agent.operations.backup import Backups
from hubwarden_agent.operations.charges import charges, restore_budgets
from hubwarden_agent.operations.recovery import Recovery
from hubwarden_agent.operations.reset import Resetter
from hubwarden_agent.operations.restart import Restarter
from hubwarden_agent.operations.runner import Runner
from hubwarden_agent.operations.sizes import Sizes
from hubwarden_agent.rates import parse_rate
from hubwarden_agent.remote import Keyring, Remote, RemoteHealth
from hubwarden_agent.runtime_check import RuntimeCheck
from hubwarden_agent.server import Health, bound_socket, group_id, serve_agent
from hubwarden_agent.service import AgentService, Bounds

if TYPE_CHECKING:
    from hubwarden_agent.gateway.listener import Listener

DRAIN_SECONDS = 90.0
"""How long running operations get after SIGTERM. compose.yml's stop_grace_period is longer."""
DENIALS_RECORDED = "60/minute"
"""How many refusals the audit records, over all callers."""
DENIALS_LOGGED = "60/minute"
"""How many refusals of one listener are logged, and as many failures beside them."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Agent:
    """Every part of a running agent."""

    settings: Config
    clock: Clock
    health: Health
    audit: AsyncAudit
    runner: Runner
    recovery: Recovery
    backups: Backups
    sizes: Sizes
    runtime: RuntimeCheck
    service: AgentService
    metrics: Measuring
    gateway: Listener | None
    remote: Remote | None

    async def serve(self, stopped: asyncio.Event) -> None:
        """Serve until `stopped`, then finish what is under way.

        Raises:
            OSError: a socket cannot be made, or required backups have no place.
            KeyError: the sockets' group does not exist.
        """
        listen = self.settings.listen
        async with AsyncExitStack() as stack:
            await self.backups.sweep()
            self.recovery.begin(self.audit.file.history())
            await self.audit.event("agent-start")
            stack.push_async_callback(self.recovery.stop)
            await self.health.start()
            stack.push_async_callback(self.health.stop)
            group = group_id(listen.socket_group)
            servers = [await serve_agent(self.service, listen.unix, listen.socket_mode, group)]
            if self.gateway is not None:
                stack.push_async_callback(asyncio.to_thread, self.gateway.stop)
                self.gateway.start(bound_socket(listen.gateway, listen.socket_mode, group))
            if listen.metrics:
                stack.push_async_callback(asyncio.to_thread, self._serve_metrics(group).stop)
            followed = (self.health.follow(), self.sizes.follow(), self.runtime.follow())
            following = [asyncio.create_task(one) for one in followed]
            if self.remote:
                servers.append(await self.remote.serve())
                following.append(asyncio.create_task(self.remote.keyring.follow()))
            for warning in self.settings.warnings:
                _log.warning(warning)
            self.metrics.warning("mount_target", standing=bool(self.settings.warnings))
            _log.info("serving", extra={"listen": listen.grpc, "gateway": listen.gateway})
            await stopped.wait()
            _log.info("stopping: finishing what is under way")
            for task in following:
                task.cancel()
            await asyncio.gather(*following, return_exceptions=True)
            await self.health.leave()
            self.backups.stop()
            drained = await self._drained(servers)
        if drained:
            await self.audit.event("agent-stop")
        else:
            _log.error("some operations did not end in time")

    def _serve_metrics(self, group: int | None) -> Listener:
        from hubwarden_agent.scrape import serve_metrics  # noqa: PLC0415 - see the top

        listen = self.settings.listen
        return serve_metrics(self.metrics, self.clock, listen.metrics, listen.socket_mode, group)

    async def _drained(self, servers: Sequence[grpc.aio.Server]) -> bool:
        """Take nothing new, and finish what is under way; then what lost its client, which only the runner knows."""
        give_up = asyncio.get_running_loop().time() + DRAIN_SECONDS
        async with asyncio.TaskGroup() as group:
            for server in servers:
                group.create_task(server.stop(DRAIN_SECONDS))
            answered = group.create_task(asyncio.to_thread(self.gateway.stop)) if self.gateway is not None else None
        drained = await self.runner.drain(max(0.0, give_up - asyncio.get_running_loop().time()))
        return drained and (answered is None or answered.result())


def assemble(
    settings: Config,
    engine: Engine,
    blocking_engine: BlockingEngine,
    clock: Clock,
    metrics: Measuring,
    keyring: Keyring | None = None,
) -> Agent:
    """Put an agent together; without a keyring, nothing listens on TCP.

    Raises:
        OSError: the audit file, or what the state directory says of unfinished restores, cannot be read.
    """
    kept = settings.audit
    segments = Segments(settings.state_directory / kept.file, kept.max_bytes, kept.keep)
    file = AuditFile(segments, clock, Window(parse_rate(DENIALS_RECORDED), clock))
    audit = AsyncAudit(file)
    limits, names = settings.limits, Names(settings.names)
    locks = UserLocks(unfinished.users(settings.state_directory, names))
    runner = Runner(locks, clock, limits.max_concurrent)
    backups = Backups(engine, names, settings.reset, clock)
    sizes = Sizes(engine, clock, settings.reset.sizes_interval)
    restarts = Window(limits.restarts_per_user, clock)
    resets = Window(limits.resets_per_user, clock)
    resets_total = Window(limits.resets_total, clock, Reason.RESET_BUDGET_SPENT)
    longest = max(limits.restarts_per_user.seconds, limits.resets_per_user.seconds, limits.resets_total.seconds)
    restore_budgets(charges(file.history(), clock.now(), longest), restarts, resets, resets_total)
    serving = partial(
        AgentService,
        Restarter(engine, names, runner, locks, audit, restarts, clock, _mount_check(settings, names)),
        Resetter(engine, names, runner, locks, audit, resets, resets_total, settings.reset, clock, backups, sizes),
        Bounds(limits.max_stop_timeout, limits.max_deadline),
        metrics,
    )
    metrics.state(resets_left=lambda: resets_total.left(""), audit_sequence=lambda: segments.head.sequence)
    health, remote = Health(engine, settings.state_directory), None
    if keyring:
        callers = TlsCallers(lambda: keyring.current.clients, audit)
        metrics.certificates(lambda: keyring.current.not_after, lambda: bool(keyring.problem))
        remote = Remote(
            settings.listen.tcp, keyring, serving(callers, _logged(clock)), RemoteHealth(health.servicer, callers)
        )
    gateway = None
    if settings.listen.gateway:
        gateway = _gateway(settings, blocking_engine, names, locks, BlockingAudit(file), clock, metrics)
    recovery = Recovery(engine, audit, runner, locks, clock)
    service = serving(SocketCallers(), _logged(clock))
    return Agent(
        settings=settings,
        clock=clock,
        health=health,
        audit=audit,
        runner=runner,
        recovery=recovery,
        backups=backups,
        sizes=sizes,
        runtime=RuntimeCheck(blocking_engine, metrics),
        service=service,
        metrics=metrics,
        gateway=gateway,
        remote=remote,
    )


def _mount_check(settings: Config, names: Names) -> Callable[[Username, Container], None] | None:
    """The check that holds a restart to the policy's mounts, as the gateway holds a start; None without a gateway."""
    if not settings.listen.gateway:
        return None
    from hubwarden_agent.gateway import mounts  # noqa: PLC0415 - see the top

    def check(username: Username, container: Container) -> None:
        mounts.check_held(container.mounts, mounts.offered(settings.spawn, names, username))

    return check


def _gateway(
    settings: Config,
    engine: BlockingEngine,
    names: Names,
    locks: UserLocks,
    audit: BlockingAudit,
    clock: Clock,
    metrics: Measuring,
) -> Listener:
    from hubwarden_agent.gateway.app import build_listener  # noqa: PLC0415 - see the top
    from hubwarden_agent.gateway.gateway import Gateway  # noqa: PLC0415 - as above

    logged = _logged(clock)
    gateway = Gateway(
        engine=engine, names=names, spawn=settings.spawn, locks=locks, audit=audit, clock=clock, logged=logged
    )
    return build_listener(gateway, audit, clock, metrics, logged, DRAIN_SECONDS)


def _logged(clock: Clock) -> DenialLimiter:
    return DenialLimiter(Window(parse_rate(DENIALS_LOGGED), clock))
