"""The command line: `serve`, `check-config`, `healthcheck` and the operator's tools. Wiring only.

What holds here: exit 0 is success, 1 a failure at run time, 2 a bad configuration or usage. gRPC, and whatever a tool
needs, is imported only once it is known what to do: gRPC reads its environment (TLS suites, verbosity) when it is
imported, and nothing that serves ever imports a tool.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from hubwarden_agent import config, tls
from hubwarden_agent.clock import SystemClock

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

_UNEXAMINED = ("healthcheck", *CONFIGURED_TOOLS)
"""These work however the certificates are."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line. Returns the exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments and arguments[0] in TOOLS:
        return int(importlib.import_module(f"hubwarden_agent.tools.{arguments[0]}").main(arguments[1:]))
    parser = _parser()
    options, rest = parser.parse_known_args(arguments)
    if rest and options.command not in CONFIGURED_TOOLS:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    try:
        settings = _load(options.config, examine=None if options.command in _UNEXAMINED else _examine)
    except config.ConfigurationError as error:
        for mistake in error.mistakes:
            print(f"hubwarden-agent: {mistake}", file=sys.stderr)  # noqa: T201 - a command line answers so
        return 2
    if options.command == "check-config":
        return _check(settings)
    if options.command in CONFIGURED_TOOLS:
        return int(importlib.import_module(f"hubwarden_agent.tools.{options.command}").main(rest, settings))
    tls.restrict_suites(settings.tls.minimum)
    # At INFO, gRPC's default, each failed TLS handshake is a line of 200 bytes, and clients decide how many there are.
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    from hubwarden_agent import serving  # noqa: PLC0415 - only now gRPC

    if options.command == "healthcheck":
        return serving.healthcheck(settings)
    return serving.serve(settings, lambda: _load(options.config, examine=None).tls)


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


def _check(settings: config.Config) -> int:
    """Print the warnings of a sound configuration, and what Docker's runtime is known for. Never fails for them."""
    from hubwarden_agent import runtime_check  # noqa: PLC0415 - asks Docker, which no other command does without gRPC
    from hubwarden_agent.engine.docker_calls import DockerCalls  # noqa: PLC0415 - as above
    from hubwarden_agent.engine.port import EngineError  # noqa: PLC0415 - as above

    warnings = list(settings.warnings)
    calls = DockerCalls(settings.docker.host, CHECK_SECONDS, CHECK_SECONDS, SystemClock())
    try:
        found = runtime_check.problem(calls.runtime_version())
        warnings += [found[1]] if found else []
    except EngineError:
        warnings.append(f"Docker does not answer at {settings.docker.host}, so its container runtime was not checked")
    for warning in warnings:
        print(f"hubwarden-agent: warning: {warning}", file=sys.stderr)  # noqa: T201 - a command line answers so
    return 0


def _load(path: Path | None, *, examine: config.Examine | None) -> config.Config:
    if path is None and (variable := os.environ.get(CONFIG_VARIABLE)):
        path = Path(variable)
    return config.load(path, examine) if path else config.parse("")


def _examine(settings: config.Tls) -> list[str]:
    return tls.mistakes(settings, SystemClock().now())
