"""The relay between an agent and Docker: it kills the agent at a chosen request, and is stopped or frozen like dockerd.

Invariants: every request that changes something is noted, together with whether its intent was on disk by then. Each
connection carries one request, so that a stop is exact. The engine that other tests use is never touched.
"""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Moment = Literal["before", "during", "after"]
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(frozen=True)
class Point:
    """A request of the agent's to Docker: the `nth` whose method and path match, and when to stop there.

    `before`: Docker never sees it. `during`: Docker does it, nobody reads the answer. `after`: Docker has answered, and
    the agent does not see it.
    """

    moment: Moment
    request: str
    nth: int = 1

    def __str__(self) -> str:
        return f"{self.moment} {self.request} {self.nth}"


class Relay:
    """Passes requests on.

    Args:
        docker: the engine's socket.
        intent_on_disk: asked before each change whether the record of it is there.

    Attributes:
        streaming: is set once a container's output has begun to come.
        flowing: while it is not set, none of that is passed on.
        thawed: while it is not set, connections are accepted and nothing is passed on.
    """

    def __init__(self, docker: str, intent_on_disk: Callable[[], bool]) -> None:
        self._docker = docker
        self._intent_on_disk = intent_on_disk
        self._point: Point | None = None
        self._kill: Callable[[], None] = lambda: None
        self._seen = 0
        self._under_way: set[asyncio.Task[None]] = set()
        self.stopped = asyncio.Event()
        self.streaming = asyncio.Event()
        self.flowing = asyncio.Event()
        self.flowing.set()
        self.thawed = asyncio.Event()
        self.thawed.set()
        self.changes: list[str] = []
        self.unrecorded: list[str] = []

    def stop_at(self, point: Point, kill: Callable[[], None]) -> None:
        """Kill there, once; `stopped` is set when Docker is done with that request, too."""
        self._point, self._kill, self._seen = point, kill, 0

    async def before(self, request: str) -> None:
        """Called with each request's method and path before it is passed on: for relays that do more."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        task = asyncio.create_task(self._pass_on(reader, writer))
        self._under_way.add(task)
        await asyncio.wait([task])
        self._under_way.discard(task)
        writer.close()
        if not task.cancelled() and not isinstance(task.exception(), ConnectionError | asyncio.IncompleteReadError):
            task.result()  # anything but that the agent was killed

    async def end(self) -> None:
        """Wait no longer for what Docker has not answered."""
        while self._under_way:
            for task in self._under_way:
                task.cancel()
            await asyncio.sleep(0)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = re.search(r"(?i)\r\ncontent-length: *([0-9]+)", head)
        body = await reader.readexactly(int(length[1])) if length else b""
        request = " ".join(head.split(" ", 2)[:2])
        await self.thawed.wait()
        await self.before(request)
        moment = self._moment(request)
        if moment == "before":
            self._kill()
            self.stopped.set()
            return
        if not request.startswith("GET "):
            (self.changes if self._intent_on_disk() else self.unrecorded).append(request)
        from_docker, to_docker = await asyncio.open_unix_connection(self._docker)
        if "/attach?" not in request:
            head = re.sub(r"(?i)\r\nconnection: [^\r]*", "", head)
            head = head.replace("\r\n", "\r\nConnection: close\r\n", 1)
        to_docker.write(head.encode() + body)
        await to_docker.drain()
        if "/attach?" in request:
            await self._stream(moment, (reader, writer), (from_docker, to_docker))
            return
        if moment == "during":
            self._kill()
        try:
            answer = await from_docker.read()
        finally:
            to_docker.close()
        if moment == "after":
            self._kill()
        if moment is None:
            await self.thawed.wait()
            writer.write(answer)
            await writer.drain()
        else:
            self.stopped.set()

    async def _stream(self, moment: Moment | None, agent: Streams, docker: Streams) -> None:
        """A container's streams. `during` is once some has gone by, `after` once all has, its end not passed on."""
        (from_agent, to_agent), (from_docker, to_docker) = agent, docker
        to_agent.write(await from_docker.readuntil(b"\r\n\r\n"))
        gone_by = asyncio.Event()
        sending = asyncio.create_task(_passed_in(from_agent, to_docker, gone_by))
        receiving = asyncio.create_task(self._passed_out(from_docker, to_agent, gone_by))
        try:
            await (gone_by.wait() if moment == "during" else receiving)
            if moment is not None:
                self._kill()
                self.stopped.set()
        finally:
            sending.cancel()
            receiving.cancel()
            await asyncio.gather(sending, receiving, return_exceptions=True)
            to_agent.close()
            to_docker.close()

    async def _passed_out(
        self, from_docker: asyncio.StreamReader, to_agent: asyncio.StreamWriter, gone_by: asyncio.Event
    ) -> None:
        while data := await from_docker.read(65536):
            self.streaming.set()
            await self.flowing.wait()
            to_agent.write(data)
            await to_agent.drain()
            gone_by.set()

    def _moment(self, request: str) -> Moment | None:
        if self._point is None or not re.search(self._point.request, request):
            return None
        self._seen += 1
        if self._seen != self._point.nth:
            return None
        moment, self._point = self._point.moment, None
        return moment


async def _passed_in(from_agent: asyncio.StreamReader, to_docker: asyncio.StreamWriter, gone_by: asyncio.Event) -> None:
    """A container's input and its end; who only reads and hangs up has that passed on, too."""
    is_input = False
    with suppress(ConnectionError):
        while data := await from_agent.read(65536):
            is_input = True
            to_docker.write(data)
            await to_docker.drain()
            gone_by.set()
    if is_input:
        to_docker.write_eof()
    else:
        to_docker.close()


@asynccontextmanager
async def relay(path: Path, docker: str, intent_on_disk: Callable[[], bool]) -> AsyncIterator[Relay]:
    """Relay for the body."""
    made = Relay(docker, intent_on_disk)
    async with served(made, path):
        yield made


@asynccontextmanager
async def served(made: Relay, path: Path) -> AsyncIterator[None]:
    """Have a relay listen for as long as the body runs."""
    server = await asyncio.start_unix_server(made.serve, str(path))
    try:
        yield
    finally:
        server.close()
        await made.end()
        await server.wait_closed()


class RelayThread:
    """A relay at a socket, served by a thread, which tests stop, freeze and start again in dockerd's place.

    Args:
        socket: where it listens.
        make: called at each start.
    """

    def __init__(self, socket: Path, make: Callable[[], Relay]) -> None:
        self.socket = socket
        self._make = make
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Listen, and pass requests on."""
        ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(ready)))
        self._thread.start()
        ready.wait()

    def stop(self) -> None:
        """End every connection and remove the socket, as dockerd does when it stops."""
        if self._thread is not None:
            self._loop.call_soon_threadsafe(self._end.set)
            self._thread.join()
            self._thread = None

    def freeze(self) -> None:
        """Accept connections and pass nothing on, as dockerd does after SIGSTOP."""
        self._loop.call_soon_threadsafe(self._relay.thawed.clear)

    def thaw(self) -> None:
        """Pass on what has waited, and whatever comes."""
        self._loop.call_soon_threadsafe(self._relay.thawed.set)

    async def _serve(self, ready: threading.Event) -> None:
        self._loop, self._end, self._relay = asyncio.get_running_loop(), asyncio.Event(), self._make()
        async with served(self._relay, self.socket):
            ready.set()
            await self._end.wait()
        self.socket.unlink(missing_ok=True)
