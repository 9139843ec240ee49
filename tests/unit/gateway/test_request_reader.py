"""A request as it is read: one spelling, bounded, in time; whatever is not plainly one is refused as a whole."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest
from hubwarden_agent.clock import SystemClock
from hubwarden_agent.errors import Reason, RequestRefused
from hubwarden_agent.gateway import request_reader
from hubwarden_agent.gateway.refusals import GatewayRefusal
from hubwarden_agent.gateway.request_reader import ClientDisconnected, Head, RequestReader
from hypothesis import given
from hypothesis import strategies as st
from support.agent.gateway import result_or_refusal
from support.fakes.edges import FakeClock, TickingClock

Ends = tuple[socket.socket, socket.socket]
LINE = b"GET /_ping HTTP/1.1\r\nHost: x"


@pytest.fixture
def ends() -> Iterator[Ends]:
    """A client's end of a connection, and ours."""
    client, ours = socket.socketpair()
    with client, ours:
        yield client, ours


def parse(lines: bytes) -> Head:
    """The head of a request that consists of these lines."""
    client, ours = socket.socketpair()
    with client, ours:
        client.sendall(lines + b"\r\n\r\n")
        client.shutdown(socket.SHUT_WR)
        return RequestReader(ours, SystemClock()).head()


@pytest.mark.parametrize(
    "line",
    [
        b"GET",
        b"GET /",
        b"GET / HTTP/1.0",
        b"GET / HTTP/1.2",
        b"GET / HTTP/2",
        b"GET / HTTP/1.1 ",
        b" GET / HTTP/1.1",
        b"GET  / HTTP/1.1",
        b"GET\t/ HTTP/1.1",
        b"get / HTTP/1.1",
        b"GET / http/1.1",
        b"GET /a b HTTP/1.1",
        b"GET /\x00 HTTP/1.1",
        b"GET /\xe6\x9c\xa8 HTTP/1.1",
        b"GET /\n HTTP/1.1",
        b"GET /\r HTTP/1.1",
        b"GET / HTTP/1.1\n",
        b"GET / HTTP/1.1\nX: y",
        b"G\xc3T / HTTP/1.1",
        b"A" * 17 + b" / HTTP/1.1",
        b"GET /" + b"a" * 4096 + b" HTTP/1.1",
    ],
)
def test_request_lines_that_are_none(line: bytes) -> None:
    """A method, a target and the version, each after one space; everything in printable ASCII."""
    with pytest.raises(GatewayRefusal) as refused:
        parse(line + b"\r\nHost: x")
    assert (refused.value.reason, refused.value.message.isascii()) == (Reason.INVALID_REQUEST, True)


@pytest.mark.parametrize(
    "header",
    [
        b"X",
        b": y",
        b"X : y",
        b" X: y",
        b"X\t: y",
        b"X: y\n",
        b"X: y\nZ: y",
        b"X: \ry",
        b"X: y\x00",
        b"X: y\x7f",
        b"X: \xe6\x9c\xa8",
        b"X\xe6: y",
        b"(X): y",
        b"X: " + b"y" * 8193,
        b"X: y\r\n folded",
        b"X: y\r\n\tfolded",
    ],
)
def test_headers_that_are_none(header: bytes) -> None:
    """A name that is a token, a colon right behind it, and a value in printable ASCII; on a line of its own."""
    with pytest.raises(GatewayRefusal) as refused:
        parse(LINE + b"\r\n" + header)
    assert (refused.value.reason, refused.value.message.isascii()) == (Reason.INVALID_REQUEST, True)


def test_too_many_headers() -> None:
    """When there is one header more than allowed, the request is refused."""
    most = b"\r\n".join([LINE, *[b"X: y"] * (request_reader.HEADERS - 1)])
    assert parse(most).headers == {"host": ("x",), "x": ("y",) * (request_reader.HEADERS - 1)}
    with pytest.raises(GatewayRefusal):
        parse(most + b"\r\nX: y")


def test_a_head() -> None:
    """Names count in any case, values without the spaces around them, the target as it is."""
    head = parse(b"POST /v1.44/a%2e?b=c%0a#d HTTP/1.1\r\nHost:x\r\nCONTENT-length: \t12 \r\nA: \r\na: b:c d")
    assert (head.method, head.target) == ("POST", "/v1.44/a%2e?b=c%0a#d")
    assert head.headers == {"host": ("x",), "content-length": ("12",), "a": ("", "b:c d")}
    assert (head.length(), head.has_body, head.single("Host", "")) == (12, True, "x")
    with pytest.raises(GatewayRefusal):
        head.single("A", "")


@pytest.mark.parametrize("length", ["", "-1", "+1", "01", "1 ", "1,1", "0x1", "1e1", "1" * 19, "\u0661"])
def test_lengths_that_are_none(length: str) -> None:
    """When Content-Length is not the plain spelling of a number, the request is refused."""
    head = request_reader.Head("POST", "/", {"content-length": (length,)})
    with pytest.raises(GatewayRefusal):
        head.length()


@pytest.mark.parametrize("lengths", ["Content-Length: 2\r\nContent-Length: 2", "Content-Length: 2, 2"])
def test_equal_lengths(lengths: str) -> None:
    """When a length is sent twice, the request is refused, also if both are equal."""
    with pytest.raises(GatewayRefusal):
        parse(LINE + b"\r\n" + lengths.encode()).length()


@given(
    st.binary(max_size=200)
    | st.lists(st.sampled_from([LINE, LINE + b"\r\n", b"X: y", b"\r\n", b"\n", b" ", b":", b"\x80"])).map(b"".join)
)
def test_whatever_is_sent_is_refused_or_read_back_the_same(sent: bytes) -> None:
    """What is taken has one reading: written out again, it is taken again, as the same."""
    head = result_or_refusal(lambda: parse(sent))
    if isinstance(head, RequestRefused):
        return
    lines = [f"{name}: {value}" for name, values in head.headers.items() for value in values]
    again = parse("\r\n".join([f"{head.method} {head.target} HTTP/1.1", *lines]).encode("ascii"))
    assert again == head


def test_in_pieces(ends: Ends) -> None:
    """A byte at a time is as good as at once; what comes behind the body stays where it is."""
    client, ours = ends
    reader = RequestReader(ours, SystemClock())

    def send() -> None:
        for byte in b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabcGET /":
            client.send(bytes([byte]))

    sending = threading.Thread(target=send)
    sending.start()
    head = reader.head()
    assert (head.target, reader.method, reader.body_pending) == ("/x", "POST", True)
    assert reader.body(head.length()) == b"abc"
    assert reader.body_pending is False
    sending.join()


@pytest.mark.parametrize("sent", [b"", b"GET", LINE + b"\r\n", LINE + b"\r\nHost: x\r\n\r"])
def test_a_client_that_leaves_early(ends: Ends, sent: bytes) -> None:
    """When the client leaves before the end of the head, no response is made."""
    client, ours = ends
    client.sendall(sent)
    client.close()
    with pytest.raises(ClientDisconnected):
        RequestReader(ours, SystemClock()).head()


def test_a_client_that_leaves_within_its_body(ends: Ends) -> None:
    """When the client ends its input within the body, the request is 408."""
    client, ours = ends
    client.sendall(b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nab")
    client.shutdown(socket.SHUT_WR)
    reader = RequestReader(ours, SystemClock())
    head = reader.head()
    with pytest.raises(GatewayRefusal) as refused:
        reader.body(head.length())
    assert refused.value.reason is Reason.DEADLINE_EXCEEDED


def test_pieces_do_not_put_off_the_deadline() -> None:
    """A second passes at each look at the clock: after ten pieces it is over, for the head and for the body."""

    class Trickling:
        sent = 0

        def settimeout(self, _: float) -> None:
            pass

        def recv(self, _: int) -> bytes:
            self.sent += 1
            return b"X"

    reader = RequestReader(trickling := Trickling(), TickingClock())  # type: ignore[arg-type] # all that is asked of it
    with pytest.raises(ClientDisconnected):
        reader.head()
    assert trickling.sent == int(request_reader.HEAD_SECONDS) - 1
    with pytest.raises(GatewayRefusal):
        reader.body(1000)
    assert trickling.sent == int(request_reader.HEAD_SECONDS + request_reader.BODY_SECONDS) - 2


def test_a_head_that_does_not_end(ends: Ends) -> None:
    """Is refused once it is too long, however fast it comes."""
    client, ours = ends
    sending = threading.Thread(
        target=_send, args=(client, b"X" * (request_reader.HEAD_BYTES + request_reader.CHUNK_BYTES))
    )
    sending.start()
    with pytest.raises(GatewayRefusal, match="too long"):
        RequestReader(ours, SystemClock()).head()
    ours.close()
    sending.join()


@pytest.mark.parametrize("pieces", [1, 3])
def test_a_head_is_too_long_however_it_comes(pieces: int) -> None:
    """At once or in pieces: the bound is the same, and what fits it is read."""
    for size, fits in ((request_reader.HEAD_BYTES, True), (request_reader.HEAD_BYTES + 1, False)):
        client, ours = socket.socketpair()
        with client, ours:
            lines = [LINE, *[b"X: " + b"y" * 5000] * 6]
            lines.append(b"X: " + b"y" * (size - len(b"\r\n".join(lines)) - 5))
            data = b"\r\n".join(lines) + b"\r\n\r\n"
            assert len(data) == size + 4
            for start in range(0, len(data), -(-len(data) // pieces)):
                client.sendall(data[start : start + -(-len(data) // pieces)])
            if fits:
                assert len(RequestReader(ours, SystemClock()).head().headers["x"]) == 7
            else:
                with pytest.raises(GatewayRefusal, match="too long"):
                    RequestReader(ours, SystemClock()).head()


def test_what_is_not_read_is_bounded(ends: Ends) -> None:
    """A client that never stops sending is let go of after so many bytes."""
    client, ours = ends
    sending = threading.Thread(target=_send, args=(client, bytes(3 * request_reader.DRAIN_BYTES)))
    sending.start()
    RequestReader(ours, FakeClock()).drain()  # a clock that stands still: it is not the time that ends it
    assert sending.is_alive()
    ours.close()
    sending.join()


def _send(client: socket.socket, data: bytes) -> None:
    try:
        client.sendall(data)
    except OSError:
        return
