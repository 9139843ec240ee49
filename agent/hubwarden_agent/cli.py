"""The command line: `serve`, `check-config`, `healthcheck`. Wiring only: everything is made here and decided elsewhere.

What holds here: exit 0 is success, 1 a failure at run time, 2 a bad configuration or usage.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from hubwarden_agent import config, log_context
from hubwarden_agent.assembly import assemble
from hubwarden_agent.clock import SystemClock
from hubwarden_agent.engine.docker_engine import DockerEngine
from hubwarden_agent.metrics import Metrics
from hubwarden_agent.server import HEALTH_SOCKET, SERVICE, AlreadyRunning, locked

CONFIG_VARIABLE = "HUBWARDEN_CONFIG"
HEALTHCHECK_SECONDS = 5.0

_log = logging.getLogger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line. Returns the exit status."""
    options = _parser().parse_args(arguments)
    try:
        settings = _load(options.config)
    except config.ConfigurationError as error:
        for mistake in error.mistakes:
            print(f"hubwarden-agent: {mistake}", file=sys.stderr)  # noqa: T201 - a command line answers so
        return 2
    if options.command == "check-config":
        return 0
    if options.command == "healthcheck":
        return asyncio.run(_healthcheck(settings))
    return _serve(settings)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="hubwarden-agent", description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in (
        ("serve", "serve until SIGTERM"),
        ("check-config", "say what is wrong with the configuration, and end"),
        ("healthcheck", "exit 0 when the agent serves and Docker answers"),
    ):
        command = commands.add_parser(name, help=text)
        command.add_argument("--config", type=Path, help=f"agent.toml (or {CONFIG_VARIABLE}; neither: all defaults)")
    return parser


def _load(path: Path | None) -> config.Config:
    if path is None and (variable := os.environ.get(CONFIG_VARIABLE)):
        path = Path(variable)
    return config.load(path) if path else config.parse("")


async def _healthcheck(settings: config.Config) -> int:
    channel = grpc.aio.insecure_channel(
        f"unix://{settings.state_directory / HEALTH_SOCKET}", options=(("grpc.enable_http_proxy", 0),)
    )
    async with channel:
        request = health_pb2.HealthCheckRequest(service=SERVICE)
        try:
            answer = await health_pb2_grpc.HealthStub(channel).Check(request, timeout=HEALTHCHECK_SECONDS)
        except grpc.aio.AioRpcError as error:
            print(f"hubwarden-agent: {error.code().name}", file=sys.stderr)  # noqa: T201 - as above
            return 1
    return 0 if answer.status == health_pb2.HealthCheckResponse.SERVING else 1


def _serve(settings: config.Config) -> int:
    log_context.configure()
    try:
        with locked(settings.state_directory):
            asyncio.run(_serve_until_stopped(settings))
    except (AlreadyRunning, OSError, KeyError) as error:
        _log.critical("cannot serve: %s", error)
        return 1
    return 0


async def _serve_until_stopped(settings: config.Config) -> None:
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    clock = SystemClock()
    metrics = Metrics(clock)
    docker, slow_threads = settings.docker, settings.limits.max_concurrent
    engine = DockerEngine(docker.host, docker.timeout, slow_threads, metrics.docker)
    agent = assemble(settings, engine, clock, metrics)
    await agent.serve(stopped)
    agent.audit.close()
    engine.close()
