"""A real agent as a process of its own, in a directory of its own, which tests kill and start again."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from hubwarden.v1 import agent_pb2_grpc
from support.agent.client import PATIENCE, channel, client
from support.agent.launcher import COMMAND, configure, launch


class AgentProcess:
    """An agent whose state and socket lie in `directory`, and whose Docker is at `docker`.

    Args:
        directory: has to have a short path.
        docker: the engine's socket.
        log: `agent.log` in the directory, unless another.
        program: what to run instead of `hubwarden-agent`.
        extra: TOML that is put at the end of its configuration.
    """

    def __init__(
        self, directory: Path, docker: Path, log: Path | None = None, program: tuple[str, ...] = (), extra: str = ""
    ) -> None:
        self.directory = directory
        self.socket = directory / "agent.sock"
        self.audit = directory / "audit.jsonl"
        self._log = log or directory / "agent.log"
        self._program = program or COMMAND
        self._process: subprocess.Popen[bytes] | None = None
        configure(directory, docker, state=directory, sections=f"[audit]\nmax_bytes = 65536\n{extra}")

    async def start(self) -> None:
        """Start, and wait until it serves."""
        self._process = launch(self.directory / "agent.toml", self._log, self._program)
        async with asyncio.timeout(PATIENCE), channel(self.socket) as opened:
            await opened.channel_ready()

    def kill(self) -> None:
        """SIGKILL, and wait until it is dead."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def terminate(self) -> int:
        """SIGTERM, and wait until it has ended. Returns its exit status."""
        assert self._process is not None
        self._process.terminate()
        return self._process.wait(PATIENCE)

    def close(self) -> None:
        """Kill it if it is alive."""
        if self._process is not None and self._process.poll() is None:
            self.kill()

    def lines(self) -> list[dict[str, Any]]:
        """What the audit says; a last line that is not whole is left out."""
        files = [*sorted(self.directory.glob("audit-*.jsonl")), self.audit]
        whole = [line for file in files if file.exists() for line in file.read_bytes().split(b"\n")[:-1]]
        return [json.loads(line) for line in whole]

    @asynccontextmanager
    async def client(self) -> AsyncIterator[agent_pb2_grpc.DockerAgentServiceAsyncStub]:
        """The generated stub."""
        async with client(self.socket) as stub:
            yield stub
