"""What runs once the configuration is sound: the agent itself, and the healthcheck that asks it.

What holds here: wiring only. This is the first module of the process to import gRPC, so that `cli` can decide before
which TLS suites gRPC takes.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from collections.abc import Callable

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from hubwarden_agent import log_context, tls
from hubwarden_agent.assembly import assemble
from hubwarden_agent.clock import Clock, SystemClock
from hubwarden_agent.config import HEALTH_SOCKET, Config, ConfigurationError, Tls
from hubwarden_agent.engine.docker_calls import DockerCalls
from hubwarden_agent.engine.docker_engine import DockerEngine
from hubwarden_agent.measuring import Measuring
from hubwarden_agent.remote import Keyring
from hubwarden_agent.server import SERVICE, AlreadyRunning, locked

HEALTHCHECK_SECONDS = 5.0
MAX_SLOW_THREADS = 128
"""Changes that the RPCs ask Docker for at once; the rest wait. All threads together, the gateway's too, stay below
compose.yml's pids_limit: 287 of ours, and gRPC's, of which there are 20 at most here and 20 in a healthcheck."""

_log = logging.getLogger(__name__)


def healthcheck(settings: Config) -> int:
    """Ask the running agent how it is. Returns the exit status."""
    return asyncio.run(_ask(settings))


async def _ask(settings: Config) -> int:
    channel = grpc.aio.insecure_channel(
        f"unix://{settings.state_directory / HEALTH_SOCKET}", options=(("grpc.enable_http_proxy", 0),)
    )
    async with channel:
        request = health_pb2.HealthCheckRequest(service=SERVICE)
        try:
            answer = await health_pb2_grpc.HealthStub(channel).Check(request, timeout=HEALTHCHECK_SECONDS)
        except grpc.aio.AioRpcError as error:
            print(f"hubwarden-agent: {error.code().name}", file=sys.stderr)  # noqa: T201 - a command line answers so
            return 1
    return 0 if answer.status == health_pb2.HealthCheckResponse.SERVING else 1


def serve(settings: Config, read_tls: Callable[[], Tls]) -> int:
    """Serve until SIGTERM. Returns the exit status.

    Args:
        settings: everything that the operator decided.
        read_tls: reads `[tls]` anew; the rest of the configuration is for the next start.
    """
    log_context.configure()
    clock = SystemClock()
    try:
        with locked(settings.state_directory):
            keyring = Keyring(lambda: tls.read(read_tls(), clock.now())) if settings.listen.tcp else None
            asyncio.run(_serve_until_stopped(settings, clock, keyring))
    except (AlreadyRunning, ConfigurationError, OSError, KeyError) as error:
        _log.critical("cannot serve: %s", error)
        return 1
    return 0


async def _serve_until_stopped(settings: Config, clock: Clock, keyring: Keyring | None) -> None:
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    metrics = _measuring(settings.listen.metrics, clock)
    docker, limits = settings.docker, settings.limits
    calls = DockerCalls(docker.host, docker.timeout, limits.max_deadline, clock, metrics.docker)
    engine = DockerEngine(calls, min(limits.max_concurrent, MAX_SLOW_THREADS))
    agent = assemble(settings, engine, calls, clock, metrics, keyring)
    try:
        await agent.serve(stopped)
    finally:
        agent.audit.close()
        engine.close()


def _measuring(address: str, clock: Clock) -> Measuring:
    if not address:
        return Measuring()
    from hubwarden_agent.metrics import Metrics  # noqa: PLC0415 - takes memory, see `measuring`

    return Metrics(clock)
