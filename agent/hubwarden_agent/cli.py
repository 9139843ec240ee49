"""The command line: `serve`, `check-config`, `healthcheck` and the operator's tools. Wiring only.

Invariants:
- Exit 0 is success, 1 a failure at run time, 2 a bad configuration or usage.
- What a command needs is imported once the command is known. gRPC reads its environment (TLS suites, verbosity) when
  it is imported, a health check imports nothing else of the agent, and nothing that serves ever imports a tool.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from hubwarden_agent.config import Config, Tls

CHECK_SECONDS = 5
"""How long `check-config` waits for Docker."""

CONFIG_VARIABLE = "HUBWARDEN_CONFIG"
TOOLS = {"certs": "make and show certificates for TCP"}
"""Modules of `hubwarden_agent.tools`, which read the rest of the command line themselves."""
CONFIGURED_TOOLS = {
    "audit": "verify the audit trail, or show what is in it",
    "backups": "list, show, verify or prune the backups",
    "restore": "bring a home back from a backup, while the agent is stopped",
}
"""The same, for those that need the configuration."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line. Returns the exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments and arguments[0] in TOOLS:
        return int(importlib.import_module(f"hubwarden_agent.tools.{arguments[0]}").main(arguments[1:]))
    parser = _parser()
    options, rest = parser.parse_known_args(arguments)
    if rest and options.command not in CONFIGURED_TOOLS:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    path = options.config or (Path(variable) if (variable := os.environ.get(CONFIG_VARIABLE)) else None)
    if options.command == "healthcheck":
        return int(importlib.import_module("hubwarden_agent.healthcheck").main(path))
    settings = _load(path, examine=options.command not in CONFIGURED_TOOLS)
    if settings is None:
        return 2
    if options.command == "check-config":
        return _check(settings)
    if options.command in CONFIGURED_TOOLS:
        return int(importlib.import_module(f"hubwarden_agent.tools.{options.command}").main(rest, settings))
    return _serve(path, settings)


def run() -> NoReturn:
    """Run the command line, and exit without joining threads: one of them may wait for a Docker that hangs."""
    status = main()
    logging.shutdown()
    sys.stdout.flush()
    os._exit(status)


def _serve(path: Path | None, settings: Config) -> int:
    from hubwarden_agent import config  # noqa: PLC0415 - see the top

    if settings.listen.tcp:
        from hubwarden_agent import tls  # noqa: PLC0415 - see the top

        tls.restrict_suites(settings.tls.minimum)
    # At INFO, gRPC's default, each failed TLS handshake is a line of 200 bytes, and clients decide how many there are.
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    from hubwarden_agent import app  # noqa: PLC0415 - only now gRPC

    return app.serve(settings, lambda: config.load_tls(path))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="hubwarden-agent", description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in (
        ("serve", "serve until SIGTERM"),
        ("check-config", "list the mistakes and warnings of the configuration, and end"),
        ("healthcheck", "exit 0 when the agent serves and Docker answers"),
        *CONFIGURED_TOOLS.items(),
    ):
        # A tool parses what is its own, its --help included, when it is imported.
        command = commands.add_parser(name, help=text, add_help=name not in CONFIGURED_TOOLS)
        command.add_argument("--config", type=Path, help=f"agent.toml (or {CONFIG_VARIABLE}; neither: all defaults)")
    for name, text in TOOLS.items():
        commands.add_parser(name, help=text)
    return parser


def _check(settings: Config) -> int:
    """Print the warnings of a sound configuration, and what Docker's runtime is known for. Never fails for them."""
    from hubwarden_agent import runtime_check  # noqa: PLC0415 - asks Docker
    from hubwarden_agent.engine.docker_engine import DockerEngine  # noqa: PLC0415 - asks Docker
    from hubwarden_agent.engine.port import EngineError  # noqa: PLC0415 - asks Docker

    warnings = list(settings.warnings)
    engine = DockerEngine(settings.docker.host, CHECK_SECONDS, CHECK_SECONDS)
    try:
        found = runtime_check.weakness(engine.runtime_version())
        warnings += [found[1]] if found else []
    except EngineError:
        warnings.append(f"Docker does not answer at {settings.docker.host}, so its container runtime was not checked")
    for warning in warnings:
        print(f"hubwarden-agent: warning: {warning}", file=sys.stderr)  # noqa: T201 - a command line answers so
    return 0


def _load(path: Path | None, *, examine: bool) -> Config | None:
    """The configuration; None with each mistake on stderr. `examine` looks at the files of `[tls]` as well."""
    from hubwarden_agent import config  # noqa: PLC0415 - see the top

    def mistakes(settings: Tls) -> list[str]:
        from hubwarden_agent import tls  # noqa: PLC0415 - see the top
        from hubwarden_agent.clock import SystemClock  # noqa: PLC0415 - see the top

        return tls.mistakes(settings, SystemClock().now())

    try:
        return config.load(path, mistakes if examine else None)
    except config.ConfigurationError as error:
        for mistake in error.mistakes:
            print(f"hubwarden-agent: {mistake}", file=sys.stderr)  # noqa: T201 - a command line answers so
        return None
