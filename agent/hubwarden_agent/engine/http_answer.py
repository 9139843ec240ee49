"""An HTTP answer as Docker gives it: a status, and a body that says where it ends.

What holds here: an answer is believed only as far as it is whole. One that ends early, that does not say where its body
ends, or that is no HTTP is a lost connection (`ConnectionError`). Lines and headers are bounded; whoever takes the body
bounds that. Of the headers nothing is kept but what delimits the body.
Never: a request, a connection, what an answer means.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from http import HTTPStatus
from io import BufferedReader

LINE_BYTES = 8192
HEADERS = 100
PIECE_BYTES = 64 * 1024

_STATUS = re.compile(rb"HTTP/1\.1 ([1-5][0-9]{2})(?: [^\r\n]*)?")
_LENGTH = re.compile(rb"[0-9]{1,18}")
_CHUNKED = re.compile(rb"chunked")
_CHUNK = re.compile(rb"[0-9A-Fa-f]{1,15}")
_WITHOUT_BODY = frozenset({HTTPStatus.SWITCHING_PROTOCOLS, HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED})


class HttpAnswer:
    """One answer. Its head is read at once, its body as it is asked for.

    Args:
        stream: a connection's, where the answer begins.

    Raises:
        ConnectionError: see above.
    """

    def __init__(self, stream: BufferedReader) -> None:
        self._stream = stream
        self.status = int(_matched(_STATUS, self._line())[1])
        self._chunked = False
        self._length: int | None = None
        for _ in range(HEADERS):
            if not (line := self._line()):
                break
            self._delimited(line)
        else:
            raise ConnectionError("the answer has too many headers")

    def pieces(self) -> Iterator[bytes]:
        """The body, as it comes, in pieces of at most `PIECE_BYTES`.

        Raises:
            ConnectionError: it is not whole.
            OSError: the connection failed.
        """
        if self.status in _WITHOUT_BODY:
            return
        if not self._chunked:
            if self._length is None:
                raise ConnectionError("the answer does not say where it ends")
            yield from self._exactly(self._length)
            return
        while size := int(_matched(_CHUNK, self._line())[0], 16):
            yield from self._exactly(size)
            if self._line():
                raise ConnectionError("a chunk of the answer is longer than it says")
        if self._line():
            raise ConnectionError("the answer goes on after its end")

    def _delimited(self, header: bytes) -> None:
        name, _, value = header.partition(b":")
        match name.lower():
            case b"content-length":
                self._length = int(_matched(_LENGTH, value.strip())[0])
            case b"transfer-encoding":
                _matched(_CHUNKED, value.strip())
                self._chunked = True

    def _line(self) -> bytes:
        line = self._stream.readline(LINE_BYTES)
        if not line.endswith(b"\r\n"):
            raise ConnectionError("the answer ends early, or within a line that is too long")
        return line[:-2]

    def _exactly(self, size: int) -> Iterator[bytes]:
        while size:
            piece = self._stream.read1(min(size, PIECE_BYTES))
            if not piece:
                raise ConnectionError("the answer ends early")
            size -= len(piece)
            yield piece


def _matched(pattern: re.Pattern[bytes], text: bytes) -> re.Match[bytes]:
    match = pattern.fullmatch(text)
    if match is None:
        raise ConnectionError(f"the answer is no HTTP that we know: {text[:100]!r}")
    return match
