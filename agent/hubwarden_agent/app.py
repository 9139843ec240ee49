"""The agent put together from its configuration, and its life from start to exit.

Invariants:
- One engine, one table of locks and one audit serve all listeners. Each part is made once.
- What listens on TCP, takes HTTP requests or reads homes is imported only where it is turned on.
- After SIGTERM, the process exits within `DRAIN_SECONDS` and a few seconds more, whatever Docker does: nothing joins a
  thread that may wait for Docker, and the audit is closed before the exit.

Must not: decide about requests.
"""

from __future__ import annotations

import _thread
import logging
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import grpc

from hubwarden_agent import grpc_limits, logging_setup
from hubwarden_agent.audit import Audit
from hubwarden_agent.audit_store import AUDIT_FILE, AuditStore
from hubwarden_agent.authorization import SocketAuthorizer, TlsAuthorizer
from hubwarden_agent.budgets import SlidingWindow
from hubwarden_agent.clock import Clock, SystemClock
from hubwarden_agent.config import Config, ConfigurationError, Limits, ResetPolicy, Tls
from hubwarden_agent.denials import DenialLimiter
from hubwarden_agent.engine.docker_engine import DockerEngine
from hubwarden_agent.engine.port import Container, Engine
from hubwarden_agent.errors import Reason
from hubwarden_agent.listeners import Health, bound_socket, group_id, serve_unix
from hubwarden_agent.locks import UserLocks
from hubwarden_agent.metrics import Metrics
from hubwarden_agent.names import Names, Username
from hubwarden_agent.operations.charges import charges, restore_budgets
from hubwarden_agent.operations.operation_registry import OperationRegistry
from hubwarden_agent.operations.recovery import Recovery
from hubwarden_agent.operations.reset import ResetService, unknown_size
from hubwarden_agent.operations.restart import RestartService
from hubwarden_agent.operations.volume_removal import Removal
from hubwarden_agent.rates import parse_rate
from hubwarden_agent.runtime_check import RuntimeCheck
from hubwarden_agent.service import AgentService, Bounds
from hubwarden_agent.state_lock import PENDING_RESTORES, AlreadyRunning, locked
from hubwarden_agent.work_pool import WorkPool

if TYPE_CHECKING:
    from hubwarden_agent.engine.docker_spawn import DockerSpawnEngine
    from hubwarden_agent.engine.spawn_port import SpawnEngine
    from hubwarden_agent.gateway.listener import Listener
    from hubwarden_agent.home_content.home_content import HomeContent
    from hubwarden_agent.tls_listener import CertificateStore, TlsListener

DRAIN_SECONDS = 90.0
"""How long running operations get after SIGTERM. compose.yml's stop_grace_period is longer."""
SIGNAL_SECONDS = 1.0
"""How soon a signal is noticed at the latest."""
CHANGE_SECONDS = 600
"""How long a change may take Docker, however short the clients' deadlines are."""
DENIALS_RECORDED = "60/minute"
"""How many refusals of one listener the audit records."""
DENIALS_LOGGED = "60/minute"
"""How many refusals of one listener are logged, and as many failures beside them."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Agent:
    """Each part of a running agent."""

    settings: Config
    clock: Clock
    health: Health
    audit: Audit
    registry: OperationRegistry
    recovery: Recovery
    home: HomeContent | None
    runtime: RuntimeCheck
    service: AgentService
    metrics: Metrics
    gateway: Listener | None
    tls: TlsListener | None
    certificates: CertificateStore | None

    def serve(self, stopping: threading.Event) -> None:
        """Serve until `stopping`, then finish what is under way.

        Raises:
            OSError: a socket cannot be made, or required backups have no place.
            KeyError: a group of the sockets does not exist.
        """
        self.recovery.remove_helpers()
        if self.home is not None:
            self.home.begin()
        self.recovery.begin(self.audit.history())
        self.audit.event("agent-start")
        with ExitStack() as stack:
            self.health.start()
            stack.callback(self.health.stop)
            servers = self._listen()
            for run in self._background():
                threading.Thread(target=run, args=(stopping,), name=run.__qualname__, daemon=True).start()
            for warning in self.settings.warnings:
                _log.warning(warning)
            self.metrics.warning("mount_target", standing=bool(self.settings.warnings))
            _log.info("serving", extra={"listen": self.settings.listen.grpc, "gateway": self.settings.listen.gateway})
            # In turns: the kernel may give SIGTERM to another thread, and that does not wake the main thread.
            while not stopping.wait(SIGNAL_SECONDS):
                pass
            _log.info("stopping: finishing what is under way")
            self.health.set_not_serving()
            if self.home is not None:
                self.home.stop()
            drained = self._drain([server.stop(DRAIN_SECONDS) for server in servers])
        if drained:
            self.audit.event("agent-stop")
        else:
            _log.error("some operations did not end in time")

    def _listen(self) -> list[grpc.Server]:
        listen = self.settings.listen
        group = group_id(listen.socket_group)
        servers = [serve_unix(self.service, listen.unix, listen.socket_mode, group)]
        if self.gateway is not None:
            self.gateway.start(bound_socket(listen.gateway, listen.socket_mode, group))
        if listen.metrics:
            from hubwarden_agent.metrics_server import serve_metrics  # noqa: PLC0415 - see the top

            serve_metrics(self.metrics.registry, listen.metrics, listen.socket_mode, group_id(listen.metrics_group))
        if self.tls is not None:
            servers.append(self.tls.serve())
        return servers

    def _background(self) -> Iterator[Callable[[threading.Event], None]]:
        """What runs beside the listeners, each in a thread, until the agent stops."""
        yield from (self.health.run, self.runtime.run, self.recovery.run)
        if self.certificates is not None:
            yield self.certificates.run
        if self.home is not None:
            yield self.home.run

    def _drain(self, stopped: list[threading.Event]) -> bool:
        """Accept nothing new, and finish what is under way, also what lost its client. Whether all of it ended."""
        give_up_at = self.clock.monotonic() + DRAIN_SECONDS
        gateway_drained = self.gateway is None or self.gateway.stop(DRAIN_SECONDS)
        for event in stopped:
            event.wait(max(0.0, give_up_at - self.clock.monotonic()))
        return self.registry.drain(max(0.0, give_up_at - self.clock.monotonic())) and gateway_drained


def build(
    settings: Config,
    engine: Engine,
    clock: Clock,
    metrics: Metrics,
    certificates: CertificateStore | None,
    spawner: SpawnEngine | None,
) -> Agent:
    """Put an agent together. What listens on TCP needs certificates; without a spawner there is no gateway.

    Raises:
        OSError: the audit, or what the state directory says of unfinished restores, cannot be read.
    """
    limits, names = settings.limits, Names(settings.names)
    segments = AuditStore(settings.state_directory / AUDIT_FILE, settings.audit.max_bytes, settings.audit.keep)
    audit = Audit(segments, clock, _limiter(DENIALS_RECORDED, clock))
    locks = UserLocks(_blocked_users(settings.state_directory, names))
    registry = OperationRegistry(locks, clock)
    home = home_content(engine, names, settings.reset, clock)
    restarts = SlidingWindow(limits.restarts_per_user, clock)
    resets = SlidingWindow(limits.resets_per_user, clock)
    resets_total = SlidingWindow(limits.resets_total, clock, Reason.RESET_BUDGET_SPENT)
    longest = max(limits.restarts_per_user.seconds, limits.resets_per_user.seconds, limits.resets_total.seconds)
    restore_budgets(charges(audit.history(), clock.now(), longest), restarts, resets, resets_total)
    if certificates:
        metrics.certificates(lambda: certificates.current.not_after, lambda: bool(certificates.last_error))
    metrics.state(resets_left=lambda: resets_total.remaining(""), audit_sequence=lambda: segments.head.sequence)
    service = partial(
        AgentService,
        RestartService(engine, names, registry, locks, audit, restarts, clock, _mount_check(settings, names)),
        ResetService(
            Removal(engine, names, settings.reset, clock),
            registry,
            locks,
            audit,
            resets,
            resets_total,
            backups=home.backups if home else None,
            size_of=home.sizes.of if home else unknown_size,
        ),
        Bounds(limits.max_stop_timeout, limits.max_deadline),
        metrics,
    )
    health = Health(engine, settings.state_directory)
    return Agent(
        settings=settings,
        clock=clock,
        health=health,
        audit=audit,
        registry=registry,
        recovery=Recovery(engine, names, audit, registry, locks, clock),
        home=home,
        runtime=RuntimeCheck(engine, metrics),
        service=service(
            SocketAuthorizer(), _limiter(DENIALS_LOGGED, clock), WorkPool(grpc_limits.UNIX.calls, "unix-work")
        ),
        metrics=metrics,
        gateway=_gateway(settings, spawner, names, locks, audit, clock, metrics, certificates) if spawner else None,
        tls=_tls_listener(settings, certificates, audit, clock, service, health)
        if certificates and settings.listen.tcp
        else None,
        certificates=certificates,
    )


def change_timeout(limits: Limits) -> int:
    """Seconds in which Docker has to complete a change, beyond a stop timeout.

    Never short: Docker goes on with a request that nobody waits for, while the user's lock is free again.
    """
    return max(limits.max_deadline, CHANGE_SECONDS)


def _docker(settings: Config, metrics: Metrics) -> DockerEngine:
    docker = settings.docker
    return DockerEngine(docker.host, docker.timeout, change_timeout(settings.limits), metrics.docker)


def _spawner(settings: Config, clock: Clock, metrics: Metrics) -> DockerSpawnEngine:
    from hubwarden_agent.engine.docker_spawn import DockerSpawnEngine  # noqa: PLC0415 - see the top

    docker = settings.docker
    return DockerSpawnEngine(docker.host, docker.timeout, change_timeout(settings.limits), clock, metrics.docker)


def _certificates(read_tls: Callable[[], Tls], clock: Clock) -> CertificateStore:
    from hubwarden_agent import tls  # noqa: PLC0415 - see the top
    from hubwarden_agent.tls_listener import CertificateStore  # noqa: PLC0415 - see the top

    return CertificateStore(read_tls, lambda settings: tls.read(settings, clock.now()))


def _tls_listener(
    settings: Config,
    certificates: CertificateStore,
    audit: Audit,
    clock: Clock,
    service: Callable[..., AgentService],
    health: Health,
) -> TlsListener:
    from hubwarden_agent.tls_listener import AuthorizedHealth, TlsListener  # noqa: PLC0415 - see the top

    authorizer = TlsAuthorizer(lambda: certificates.current.clients, audit)
    return TlsListener(
        settings.listen.tcp,
        certificates,
        service(authorizer, _limiter(DENIALS_LOGGED, clock), WorkPool(grpc_limits.TCP.calls, "tcp-work")),
        AuthorizedHealth(health.servicer, authorizer),
    )


def home_content(engine: Engine, names: Names, policy: ResetPolicy, clock: Clock) -> HomeContent | None:
    """What reads homes; None if the policy turns none of it on."""
    if policy.backup != "required" and not policy.sizes_interval:
        return None
    from hubwarden_agent.home_content.home_content import HomeContent  # noqa: PLC0415 - see the top

    return HomeContent.by_policy(engine, names, policy, clock)


def _blocked_users(state: Path, names: Names) -> Iterable[Username]:
    """The users whose home an interrupted restore left half filled."""
    if not any(state.glob(PENDING_RESTORES)):
        return ()
    from hubwarden_agent.home_content import pending_restores  # noqa: PLC0415 - see the top

    return pending_restores.users(state, names)


def _gateway(
    settings: Config,
    engine: SpawnEngine,
    names: Names,
    locks: UserLocks,
    audit: Audit,
    clock: Clock,
    metrics: Metrics,
    certificates: CertificateStore | None,
) -> Listener:
    from hubwarden_agent.gateway.app import build_listener  # noqa: PLC0415 - see the top
    from hubwarden_agent.gateway.gateway import Gateway  # noqa: PLC0415 - see the top
    from hubwarden_agent.gateway.transports import TlsTransport, UnixTransport  # noqa: PLC0415 - see the top

    logged = _limiter(DENIALS_LOGGED, clock)
    gateway = Gateway(
        engine=engine, names=names, spawn=settings.spawn, locks=locks, audit=audit, clock=clock, logged=logged
    )
    # On TCP it is TLS, whatever else is configured: without certificates nothing is built.
    if not settings.listen.gateway_tcp:
        return build_listener(gateway, clock, metrics, logged, UnixTransport())
    if certificates is None:
        raise ValueError("a gateway on TCP needs certificates")
    return build_listener(gateway, clock, metrics, logged, TlsTransport(lambda: certificates.current))


def _mount_check(settings: Config, names: Names) -> Callable[[Username, Container], None] | None:
    """The check that holds a restart to the policy's mounts, as the gateway holds a start; None without a gateway."""
    if not settings.listen.gateway:
        return None
    from hubwarden_agent.gateway import mounts  # noqa: PLC0415 - see the top

    def check(username: Username, container: Container) -> None:
        mounts.check_held(container.mounts, mounts.offered(settings.spawn, names, username))

    return check


def _limiter(rate: str, clock: Clock) -> DenialLimiter:
    return DenialLimiter(SlidingWindow(parse_rate(rate), clock))


def serve(settings: Config, read_tls: Callable[[], Tls]) -> int:
    """Serve until SIGTERM. Returns the exit status; the caller exits without joining threads.

    Args:
        settings: the configuration.
        read_tls: reads `[tls]` again; the rest of the configuration is for the next start.
    """
    logging_setup.configure()
    clock, stopping = SystemClock(), threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        # In a thread: `set` takes a lock that the main thread may hold at the moment it is interrupted.
        signal.signal(number, lambda *_: _thread.start_new_thread(stopping.set, ()))
    try:
        with locked(settings.state_directory):
            certificates = _certificates(read_tls, clock) if settings.listen.tls_keys else None
            metrics = Metrics(clock)
            spawner = _spawner(settings, clock, metrics) if settings.listen.gateway else None
            engine = spawner or _docker(settings, metrics)
            agent = build(settings, engine, clock, metrics, certificates, spawner)
            try:
                agent.serve(stopping)
            finally:
                engine.close()  # first: no change may be asked for that the audit no longer records
                agent.audit.close()
    except (AlreadyRunning, ConfigurationError, OSError, KeyError, RuntimeError) as error:
        _log.critical("cannot serve: %s", error)
        return 1
    return 0
