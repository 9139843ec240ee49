"""What is believed of Docker's answers: those that are whole, whatever pieces they come in, and no others."""

from __future__ import annotations

from io import BufferedReader, BytesIO, RawIOBase
from itertools import islice

import pytest
from hubwarden_agent.engine.http_answer import HEADERS, LINE_BYTES, PIECE_BYTES, HttpAnswer
from hypothesis import given
from hypothesis import strategies as st

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


class Arriving(RawIOBase):
    """A connection whose bytes come a few at a time."""

    def __init__(self, content: bytes, at_once: int) -> None:
        self._content = BytesIO(content)
        self._at_once = at_once

    def readable(self) -> bool:
        """See `RawIOBase`."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # what is called has a memoryview
        """See `RawIOBase`."""
        piece = self._content.read(min(len(buffer), self._at_once))
        buffer[: len(piece)] = piece
        return len(piece)


def said(content: bytes, at_once: int = 2**20) -> HttpAnswer:
    """An answer to read."""
    return HttpAnswer(BufferedReader(Arriving(content, at_once)))


def body(content: bytes, at_once: int = 2**20) -> bytes:
    """The whole body of an answer."""
    return b"".join(said(content, at_once).pieces())


def measured(content: bytes) -> bytes:
    """An answer that says how long it is."""
    return OK + b"Api-Version: 1.45\r\ncontent-LENGTH:  %d \r\n\r\n%b" % (len(content), content)


def chunked(content: bytes, size: int) -> bytes:
    """An answer in chunks of so many bytes."""
    pieces = [content[begin : begin + size] for begin in range(0, len(content), size)]
    return CHUNKED + b"".join(b"%X\r\n%b\r\n" % (len(piece), piece) for piece in (*pieces, b""))


class TestRefused:
    @given(st.binary(max_size=60), st.integers(1, 9), st.data())
    def test_no_beginning_of_an_answer_is_an_answer(self, content: bytes, size: int, data: st.DataObject) -> None:
        """Wherever the connection ends before the last byte, however the end of the body is said."""
        whole = data.draw(st.sampled_from([measured(content), chunked(content, size)]))
        with pytest.raises(ConnectionError):
            body(whole[: data.draw(st.integers(0, len(whole) - 1))])

    @pytest.mark.parametrize(
        "content",
        [
            b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
            b"HTTP/1.1  200 OK\r\nContent-Length: 0\r\n\r\n",
            b"HTTP/1.1 99 Low\r\nContent-Length: 0\r\n\r\n",
            b"HTTP/1.1 600 High\r\nContent-Length: 0\r\n\r\n",
            b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
            b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        ],
    )
    def test_another_protocol(self, content: bytes) -> None:
        """Whatever listens there, it is not Docker."""
        with pytest.raises(ConnectionError):
            said(content)

    @pytest.mark.parametrize("length", [b"", b"-1", b"+1", b"1_0", b"0x1", b"1 1", b"10\n", b"1" * 19])
    def test_a_length_that_is_none(self, length: bytes) -> None:
        """What Python's `int` would take is more than HTTP knows."""
        with pytest.raises(ConnectionError):
            said(OK + b"Content-Length: " + length + b"\r\n\r\n1234567890")

    @pytest.mark.parametrize("coding", [b"gzip", b"gzip, chunked", b"identity", b"Chunked\x0b", b""])
    def test_another_coding(self, coding: bytes) -> None:
        """We asked for none."""
        with pytest.raises(ConnectionError):
            said(OK + b"Transfer-Encoding: " + coding + b"\r\n\r\n0\r\n\r\n")

    @pytest.mark.parametrize(
        "chunks",
        [
            b"-1\r\n\r\n0\r\n\r\n",
            b"0x1\r\na\r\n0\r\n\r\n",
            b" 1\r\na\r\n0\r\n\r\n",
            b"1;more=1\r\na\r\n0\r\n\r\n",
            b"1\r\nab\r\n0\r\n\r\n",
            b"\r\n\r\n",
            b"0\r\nTrailer: 1\r\n\r\n",
        ],
    )
    def test_chunks_that_docker_does_not_send(self, chunks: bytes) -> None:
        """Their size and their end have one spelling, and nothing comes after the last."""
        with pytest.raises(ConnectionError):
            body(CHUNKED + chunks)

    def test_a_chunk_of_any_size(self) -> None:
        """Its size is a number of bounded length."""
        with pytest.raises(ConnectionError, match="no HTTP"):
            body(CHUNKED + b"1" * 16 + b"\r\n")

    def test_an_end_that_is_not_said(self) -> None:
        """A body that goes on until the connection ends cannot be told from one that was cut off."""
        with pytest.raises(ConnectionError, match="where it ends"):
            body(OK + b"\r\n{}")

    def test_a_head_without_end(self) -> None:
        """Neither a line nor the number of lines can take our memory."""
        long = b"A: " + b"a" * LINE_BYTES + b"\r\n"
        for head in (long, OK + long, OK + b"A: a\r\n" * (HEADERS + 1)):
            with pytest.raises(ConnectionError):
                said(head + b"Content-Length: 0\r\n\r\n")


class TestRead:
    @given(st.binary(max_size=300), st.integers(1, 50), st.integers(1, 50))
    def test_a_whole_one(self, content: bytes, size: int, at_once: int) -> None:
        """In whatever chunks it is sent, and however few bytes come at a time."""
        assert body(measured(content), at_once) == content
        assert body(chunked(content, size), at_once) == content

    @pytest.mark.parametrize("status", [101, 204, 304])
    def test_answers_without_a_body(self, status: int) -> None:
        """Their status says so, whatever else does."""
        answer = said(b"HTTP/1.1 %d\r\nContent-Length: 5\r\n\r\n" % status)
        assert answer.status == status
        assert not list(answer.pieces())

    def test_what_has_come_is_handed_on(self) -> None:
        """A pull's progress is told as it comes: nothing waits for a whole chunk, and no piece is too large."""
        size = 3 * PIECE_BYTES
        pieces = said(CHUNKED + b"%X\r\n" % size + b"a" * size, 1000).pieces()
        lengths = [len(piece) for piece in islice(pieces, 100)]
        assert sum(lengths) >= 100 * 1000 - 1000
        assert max(lengths) <= PIECE_BYTES
        whole = said(CHUNKED + b"%X\r\n" % size + b"a" * size + b"\r\n0\r\n\r\n").pieces()
        assert max(map(len, whole)) <= PIECE_BYTES
