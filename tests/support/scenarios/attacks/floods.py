"""Clients that send HTTP/2 by the frame: as much of it as a socket takes, or as little as keeps a connection."""

from __future__ import annotations

import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from support.agent.live_agent import restart_request

DATA, HEADERS, RST_STREAM, SETTINGS, CONTINUATION = 0, 1, 3, 4, 9
END_STREAM, END_HEADERS = 1, 4
BATCH = 200
CONNECT_SECONDS = 10.0
METHOD = "/hubwarden.v1.DockerAgentService/RestartContainer"


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """One frame."""
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def _length(number: int) -> bytes:
    """HPACK's integer with a prefix of seven bits."""
    if number < 127:
        return bytes([number])
    number -= 127
    rest = b""
    while number >= 128:
        rest += bytes([number % 128 + 128])
        number //= 128
    return b"\x7f" + rest + bytes([number])


def header(name: str, value: str) -> bytes:
    """A header that is in no table and goes into none."""
    return b"\0" + _length(len(name)) + name.encode() + _length(len(value)) + value.encode()


def call(**more: str) -> bytes:
    """The headers of a call, with metadata."""
    first = {":method": "POST", ":scheme": "http", ":path": METHOD, ":authority": "x", "te": "trailers"}
    rest = {"content-type": "application/grpc", "grpc-timeout": "60S", **more}
    return b"".join(header(name, value) for name, value in (first | rest).items())


HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(SETTINGS, 0, 0, b"")
"""A client's preface and its empty SETTINGS."""
CALL, LARGE_CALL = call(), call(x="v" * 14_000)
MESSAGE = restart_request("nobody", validate_only=True).SerializeToString()
BODY = b"\0" + struct.pack(">I", len(MESSAGE)) + MESSAGE
HALF_HEADERS = HELLO + frame(HEADERS, END_HEADERS, 1, CALL)[:40]

FLOODS: Mapping[str, Callable[[int], bytes]] = {
    "calls without a message": lambda n: frame(HEADERS, END_HEADERS, 2 * n + 1, CALL),
    "calls": lambda n: frame(HEADERS, END_HEADERS, 2 * n + 1, CALL) + frame(DATA, END_STREAM, 2 * n + 1, BODY),
    "malformed calls": lambda n: (
        frame(HEADERS, END_HEADERS, 2 * n + 1, CALL) + frame(DATA, END_STREAM, 2 * n + 1, b"\0\0\0\0\x01\xff")
    ),
    "calls with large metadata": lambda n: frame(HEADERS, END_HEADERS, 2 * n + 1, LARGE_CALL),
    "calls that are cancelled": lambda n: (
        frame(HEADERS, END_HEADERS, 2 * n + 1, CALL) + frame(RST_STREAM, 0, 2 * n + 1, bytes(4))
    ),
    "headers without end": lambda n: frame(CONTINUATION if n else HEADERS, 0, 1, header(f"x-{n}", "v" * 99)),
}
"""What the nth frames of a connection are."""


def flood(path: Path, frames: Callable[[int], bytes], seconds: float, connections: int = 1) -> None:
    """Send as fast as the other side takes it, and read what comes back; connect again when cut off."""
    give_up = time.monotonic() + seconds
    threads = [threading.Thread(target=_flood, args=(path, frames, give_up)) for _ in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _flood(path: Path, frames: Callable[[int], bytes], give_up: float) -> None:
    while time.monotonic() < give_up:
        with suppress(OSError), socket.socket(socket.AF_UNIX) as client:
            client.settimeout(1)
            client.connect(str(path))
            client.sendall(HELLO)
            client.setblocking(False)  # noqa: FBT003 - the socket's API
            number = 0
            while time.monotonic() < give_up:
                _send(client, b"".join(map(frames, range(number, number + BATCH))), give_up)
                number += BATCH


def _send(client: socket.socket, data: bytes, give_up: float) -> None:
    left = memoryview(data)
    while left and time.monotonic() < give_up:
        readable, writable, _ = select.select([client], [client], [], 0.1)
        if readable and not client.recv(1 << 20):
            raise ConnectionResetError
        if writable:
            with suppress(BlockingIOError):
                left = left[client.send(left) :]


@contextmanager
def held(path: Path, count: int, start: bytes) -> Iterator[list[socket.socket]]:
    """So many connections that send a start and nothing else, for the body.

    Raises:
        TimeoutError: they cannot all be made.
    """
    clients: list[socket.socket] = []
    give_up = time.monotonic() + CONNECT_SECONDS + count / 1000
    try:
        while len(clients) < count:
            client = socket.socket(socket.AF_UNIX)
            client.settimeout(1)
            clients.append(client)
            try:
                client.connect(str(path))
                client.sendall(start)
            except (BlockingIOError, TimeoutError):  # the backlog is full
                clients.pop().close()
                if time.monotonic() > give_up:
                    raise TimeoutError(f"{len(clients)} of {count} connections") from None
            except OSError:  # accepted and closed at once
                pass
        yield clients
    finally:
        for client in clients:
            client.close()


def wait_until_accepted(path: Path) -> None:
    """Return once a gRPC listener has accepted, or turned away, each client that came before."""
    with socket.socket(socket.AF_UNIX) as client, suppress(ConnectionError):
        client.settimeout(CONNECT_SECONDS)
        client.connect(str(path))
        client.sendall(HELLO)
        client.recv(1)
