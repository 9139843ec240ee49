"""The real `hubwarden-agent serve` as a process of its own, and what is needed to wait for it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grpc_health.v1.health_pb2 import HealthCheckResponse
from support.agent.launcher import COMMAND, configure, health, launch, wait_until_listening

PATIENCE = 60.0
"""Seconds until a condition that does not come true is a failure."""


def run(*arguments: str, patience: float = PATIENCE) -> subprocess.CompletedProcess[str]:
    """A short-lived command of `hubwarden-agent`."""
    environment = {key: value for key, value in os.environ.items() if key != "HUBWARDEN_CONFIG"}
    return subprocess.run(
        [*COMMAND, *arguments], capture_output=True, text=True, timeout=patience, check=False, env=environment
    )


@dataclass
class Place:
    """Where one agent keeps everything, and its configuration."""

    directory: Path
    docker: str

    @property
    def socket(self) -> Path:
        """Where it serves."""
        return self.directory / "agent.sock"

    @property
    def state(self) -> Path:
        """Its state directory."""
        return self.directory / "state"

    @property
    def configuration(self) -> Path:
        """Its agent.toml."""
        return self.directory / "agent.toml"

    def write(self, extra: str = "", listen: str = "") -> None:
        """Make the directories and the configuration."""
        self.state.mkdir(exist_ok=True)
        configure(self.directory, self.docker, state=self.state, listen=listen, sections=extra)

    def audit(self) -> list[dict[str, Any]]:
        """The records of its audit; its own start and end are left out."""
        lines = (self.state / "audit.jsonl").read_text(encoding="utf-8").splitlines()
        return [record for record in map(json.loads, lines) if record["phase"] != "event"]

    def healthy(self) -> bool:
        """Whether the agent's health service says SERVING."""
        return bool(health(self.state) == HealthCheckResponse.SERVING)

    def healthcheck(self) -> int:
        """The exit status of `hubwarden-agent healthcheck`."""
        return run("healthcheck", "--config", str(self.configuration)).returncode


@dataclass
class AgentProcess:
    """A running agent."""

    place: Place
    process: subprocess.Popen[bytes]
    log: Path

    def terminate(self) -> None:
        """SIGTERM, as an operator or Docker would."""
        self.process.send_signal(signal.SIGTERM)

    def logged(self, text: str) -> bool:
        """Whether its log holds a text."""
        return text in self.log.read_text(encoding="utf-8")


@contextmanager
def serving(place: Place, name: str = "agent") -> Iterator[AgentProcess]:
    """Run the agent for the body; it is ready when the body begins."""
    log = place.directory / f"{name}.log"
    log.unlink(missing_ok=True)
    process = launch(place.configuration, log)
    try:
        wait_until_listening(process, log, place.socket)
        yield AgentProcess(place, process, log)
    finally:
        process.kill()
        process.wait()
