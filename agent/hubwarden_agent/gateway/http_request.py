"""An HTTP request as the gateway's clients make it, read from their connection.

What holds here: what is not plainly one request of HTTP/1.1 is none, and is refused as a whole: a line ends with CR and
LF, a header has a name and nothing but printable ASCII, and everything is of a bounded size. A connection carries one
request: what comes behind it is never looked at, so that nothing can pass for a second one. Whoever is slow has until a
deadline, however many pieces they send.
Never: chunks, what a request means.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from hubwarden_agent.clock import Clock
from hubwarden_agent.gateway import refusals
from hubwarden_agent.gateway.refusals import GatewayRefusal

HEAD_SECONDS = 10.0
"""From a connection to the end of its request's head."""

BODY_SECONDS = 10.0
"""From the head's end to the body's; then 408."""

HEAD_BYTES = 32 * 1024
LINE_BYTES = 8190
"""docker-py sends a registry's credentials in a header; nobody reads it."""
HEADERS = 64
UNREAD_BYTES = 1024**2
UNREAD_SECONDS = 2.0
"""How much, and for how long, is taken from a client that was refused while it still sends, so that it can be told."""
PIECE_BYTES = 64 * 1024

_END = b"\r\n\r\n"
_REQUEST_LINE = re.compile(rb"([A-Z]{1,16}) ([!-~]{1,4096}) HTTP/1\.1")
_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(rb"[\t -~]*")
_LENGTH = re.compile(r"0|[1-9][0-9]{0,17}")


class Gone(Exception):  # noqa: N818 - no error: there is nobody to answer
    """The client left, or was too slow, before there was a request."""


@dataclass(frozen=True, slots=True)
class Head:
    """A request's line and headers. `target` is as the client wrote it; headers' names are in lower case."""

    method: str
    target: str
    headers: Mapping[str, tuple[str, ...]]

    @property
    def has_body(self) -> bool:
        """Whether anything comes after it."""
        return "transfer-encoding" in self.headers or self.headers.get("content-length", ("0",)) != ("0",)

    def single(self, name: str, default: str) -> str:
        """The value of a header that may be there once.

        Raises:
            GatewayRefusal: it is there twice.
        """
        values = self.headers.get(name.lower(), (default,))
        if len(values) != 1:
            raise GatewayRefusal(f"hubwarden: the header {name} is there twice")
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


class Incoming:
    """The request of one connection, to be read in order: its head, then its body.

    `unread` says whether the client may still be sending; `method` is empty until there is one.

    Args:
        connection: blocks; nobody else reads from it.
        clock: for deadlines.
    """

    def __init__(self, connection: socket.socket, clock: Clock) -> None:
        self._connection = connection
        self._clock = clock
        self._received = bytearray()
        self.method = ""
        self.unread = True

    def head(self, seconds: float | None = None) -> Head:
        """The request's line and headers.

        Args:
            seconds: how long they may take to arrive; by default `HEAD_SECONDS`.

        Raises:
            Gone: they did not arrive.
            GatewayRefusal: 400; they are not HTTP as it is spoken here.
        """
        until = self._clock.monotonic() + (HEAD_SECONDS if seconds is None else seconds)
        end = -1
        try:
            while end < 0 and len(self._received) <= HEAD_BYTES:
                searched = max(0, len(self._received) - len(_END))
                self._receive(until)
                end = self._received.find(_END, searched)
        except OSError as error:
            raise Gone from error
        if not 0 <= end <= HEAD_BYTES:
            raise _malformed("is too long")
        head = parse(bytes(self._received[:end]))
        del self._received[: end + len(_END)]
        self.method = head.method
        self.unread = head.has_body
        return head

    def body(self, length: int) -> bytes:
        """So many bytes after the head.

        Raises:
            GatewayRefusal: 408; they did not arrive.
        """
        until = self._clock.monotonic() + BODY_SECONDS
        try:
            while len(self._received) < length:
                self._receive(until)
        except OSError as error:
            raise GatewayRefusal("hubwarden: the body did not arrive", status=refusals.TIMED_OUT) from error
        self.unread = False
        del self._received[length:]
        body, self._received = bytes(self._received), bytearray()  # or it would be there twice while it is answered
        return body

    def read_out(self) -> None:
        """Take what the client still sends, and forget it: closed before it has been read, its answer may be lost."""
        until, left = self._clock.monotonic() + UNREAD_SECONDS, UNREAD_BYTES
        try:
            while left > 0:
                self._received.clear()
                self._receive(until)
                left -= len(self._received)
        except OSError:
            return

    def _receive(self, until: float) -> None:
        """One more piece. Raises OSError: there is none, or not in time."""
        left = until - self._clock.monotonic()
        if left <= 0:
            raise TimeoutError
        self._connection.settimeout(left)
        piece = self._connection.recv(PIECE_BYTES)
        if not piece:
            raise ConnectionError
        self._received += piece


def parse(head: bytes) -> Head:
    """A head without the empty line that ends it.

    Raises:
        GatewayRefusal: 400.
    """
    first, *lines = head.split(b"\r\n")
    request = _REQUEST_LINE.fullmatch(first)
    if request is None:
        raise _malformed("is not one of HTTP/1.1")
    if len(lines) > HEADERS:
        raise _malformed("has too many headers")
    headers: dict[str, tuple[str, ...]] = {}
    for line in lines:
        name, colon, value = line.partition(b":")
        value = value.strip(b" \t")
        if not colon or len(line) > LINE_BYTES or not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
            raise _malformed("has a header that is malformed")
        key = name.decode("ascii").lower()
        headers[key] = (*headers.get(key, ()), value.decode("ascii"))
    return Head(request[1].decode("ascii"), request[2].decode("ascii"), MappingProxyType(headers))


def _malformed(why: str) -> GatewayRefusal:
    return GatewayRefusal(f"hubwarden: the request {why}")
