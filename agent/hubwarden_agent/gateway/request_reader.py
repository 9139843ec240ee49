"""One HTTP/1.1 request from a connection, parsed by h11, and one response.

Invariants:
- A connection carries one request. What follows it is never parsed, so nothing can pass for a second one.
- What is not plainly HTTP/1.1 is refused: h11 is lenient about line ends and folded headers, so those are refused here.
- Headers are taken as they were sent: h11 checks them, but merges equal lengths into one.
- Head and body are bounded in size, and each has a deadline however many pieces it arrives in.

Must not: decode chunks, or interpret a request.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import h11

from hubwarden_agent.clock import Clock
from hubwarden_agent.errors import Reason
from hubwarden_agent.gateway.refusals import GatewayRefusal
from hubwarden_agent.gateway.transports import Peer

HEAD_SECONDS = 5.0
"""From a connection to the end of its request's head. The Docker SDK sends it in one piece."""
BODY_SECONDS = 10.0
"""From the end of the head to the end of the body; then 408."""
HEAD_BYTES = 32 * 1024
HEADERS = 64
DRAIN_BYTES = 1024**2
DRAIN_SECONDS = 2.0
"""How much, and for how long, is read from a client that still sends after it was refused: it would miss the answer."""
CHUNK_BYTES = 64 * 1024

_HEAD_END = b"\r\n\r\n"
_TARGET = re.compile(rb"[!-~]{1,4096}")
_METHOD = re.compile(rb"[A-Z]{1,16}")
_VALUE = re.compile(r"[\t -~]{0,8192}")
_TOO_LONG, _UNKNOWN_CODING = 431, 501
_LENGTH = re.compile(r"0|[1-9][0-9]{0,17}")


class ClientDisconnected(Exception):  # noqa: N818 - no error: there is nobody to answer
    """The client left, or was too slow, before there was a request."""


@dataclass(frozen=True, slots=True)
class Head:
    """A request's line and headers. `target` is as the client wrote it; names of headers are in lower case."""

    method: str
    target: str
    headers: Mapping[str, tuple[str, ...]]

    @property
    def has_body(self) -> bool:
        """Whether anything follows it."""
        return "transfer-encoding" in self.headers or self.headers.get("content-length", ("0",)) != ("0",)

    def single(self, name: str, default: str) -> str:
        """The value of a header that may be there once.

        Raises:
            GatewayRefusal: it is duplicated.
        """
        values = self.headers.get(name.lower(), (default,))
        if len(values) != 1:
            raise GatewayRefusal(f"hubwarden: the header {name} is duplicated")
        return values[0]

    def length(self) -> int:
        """How many bytes of body it declares.

        Raises:
            GatewayRefusal: that is no number, or there are two.
        """
        length = self.single("Content-Length", "0")
        if not _LENGTH.fullmatch(length):
            raise GatewayRefusal("hubwarden: the length of the body is malformed")
        return int(length)


class RequestReader:
    """Reads the request of one connection in order: its head, then its body.

    Attributes:
        method: empty until there is a head.
        peer: who is connected. Nobody, until the listener has found out.
        body_pending: whether the client may still be sending.

    Args:
        connection: blocks; nobody else reads from it.
        clock: for deadlines. The head's begins now.
    """

    def __init__(self, connection: socket.socket, clock: Clock) -> None:
        self._connection = connection
        self._clock = clock
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_BYTES)
        self._received = bytearray()
        self.method = ""
        self.peer = Peer()
        self._head_until = clock.monotonic() + HEAD_SECONDS
        self.body_pending = True

    def head(self) -> Head:
        """The request's line and headers.

        Raises:
            ClientDisconnected: they did not arrive.
            GatewayRefusal: 400; they are not HTTP/1.1.
        """
        try:
            while (event := self._http.next_event()) is h11.NEED_DATA:
                chunk = self._receive(self._head_until)
                self._received += chunk
                self._http.receive_data(chunk)
        except OSError as error:
            raise ClientDisconnected from error
        except h11.RemoteProtocolError as error:
            raise _refusal(error) from error
        if not isinstance(event, h11.Request):
            raise ClientDisconnected
        lines, end, _ = self._received.partition(_HEAD_END)
        head = _head(event, bytes(lines), ends=bool(end))
        self._received.clear()
        self.method = head.method
        self.body_pending = head.has_body
        return head

    def body(self, length: int) -> bytes:
        """The `length` bytes after the head.

        Raises:
            GatewayRefusal: 408; they did not arrive.
        """
        until, body = self._clock.monotonic() + BODY_SECONDS, bytearray()
        try:
            while len(body) < length:
                event = self._http.next_event()
                if isinstance(event, h11.Data):
                    body += event.data
                else:
                    self._http.receive_data(self._receive(until))
        except (OSError, h11.RemoteProtocolError) as error:
            raise GatewayRefusal("hubwarden: the body did not arrive", Reason.DEADLINE_EXCEEDED) from error
        self.body_pending = False
        return bytes(body)

    def drain(self) -> None:
        """Read and discard what the client still sends: closed before that, the connection may lose the response."""
        until, remaining = self._clock.monotonic() + DRAIN_SECONDS, DRAIN_BYTES
        try:
            while remaining > 0:
                remaining -= len(self._receive(until))
        except OSError:
            return

    def _receive(self, until: float) -> bytes:
        """One more chunk. Raises OSError: there is none, or not in time."""
        remaining = until - self._clock.monotonic()
        if remaining <= 0:
            raise TimeoutError
        self._connection.settimeout(remaining)
        chunk = self._connection.recv(CHUNK_BYTES)
        if not chunk:
            raise ConnectionError
        return chunk


def _head(request: h11.Request, raw: bytes, *, ends: bool) -> Head:
    """A head as h11 read it, unless h11 had to be lenient to read it so."""
    if len(raw) > HEAD_BYTES:  # in one piece with its end, h11 takes it
        raise _malformed("has a head that is too long")
    folded = b"\r\n " in raw or b"\r\n\t" in raw
    if not ends or raw.startswith(b"\r\n") or raw.count(b"\n") != raw.count(b"\r\n") or folded:
        raise _malformed("has a header that is malformed")
    if request.http_version != b"1.1" or not _METHOD.fullmatch(request.method) or not _TARGET.fullmatch(request.target):
        raise _malformed("is not HTTP/1.1")
    if raw.count(b"\r\n") > HEADERS:
        raise _malformed("has too many headers")
    return Head(request.method.decode("ascii"), request.target.decode("ascii"), _headers(raw))


def _headers(raw: bytes) -> Mapping[str, tuple[str, ...]]:
    headers: dict[str, tuple[str, ...]] = {}
    for line in raw.decode("latin-1").split("\r\n")[1:]:
        name, _, value = (part.strip(" \t") for part in line.partition(":"))
        if not _VALUE.fullmatch(value):
            raise _malformed("has a header that is malformed")
        headers[name.lower()] = (*headers.get(name.lower(), ()), value)
    return MappingProxyType(headers)


def _refusal(error: h11.RemoteProtocolError) -> GatewayRefusal:
    """In the gateway's words: h11's own quote what the client sent."""
    if error.error_status_hint == _TOO_LONG:
        return _malformed("has a head that is too long")
    if error.error_status_hint == _UNKNOWN_CODING:
        return _malformed("has a Transfer-Encoding, which is not supported")
    return _malformed("is not HTTP/1.1")


def _malformed(why: str) -> GatewayRefusal:
    return GatewayRefusal(f"hubwarden: the request {why}")
