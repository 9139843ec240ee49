"""A process between the agent and Docker's socket, to be stopped, frozen and started again in the engine's place.

What holds here: the engine that others use is never touched; what the agent sees is what a dockerd in trouble shows.
"""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from pathlib import Path


class Relay:
    """Forwards a unix socket to another."""

    def __init__(self, socket: Path, target: str) -> None:
        self.socket = socket
        self._target = target
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Forward, from now on."""
        command = [sys.executable, __file__, str(self.socket), self._target]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert self._process.stdout
        self._process.stdout.readline()

    def stop(self) -> None:
        """As if dockerd had been stopped: connections end and the socket is gone."""
        if self._process:
            self._process.kill()
            self._process.communicate()
        self.socket.unlink(missing_ok=True)
        self._process = None

    def freeze(self) -> None:
        """As if dockerd had got SIGSTOP: connections are there, and nothing comes back."""
        assert self._process
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Go on."""
        assert self._process
        self._process.send_signal(signal.SIGCONT)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()


async def _serve(socket: str, target: str) -> None:
    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_unix_connection(target)
        await asyncio.gather(_pump(reader, back), _pump(there, writer), return_exceptions=True)

    server = await asyncio.start_unix_server(forward, socket)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(*sys.argv[1:]))
