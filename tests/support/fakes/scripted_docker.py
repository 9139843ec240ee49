"""Docker's end of a unix socket, which answers with the very bytes that a test wrote.

Invariants: a connection carries one request, and ends after its answer, wherever that was cut.
"""

from __future__ import annotations

import re
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

VERSION = b'{"ApiVersion": "1.45"}'


def answer(content: bytes = b"", status: int = 200, *, chunks: int = 0) -> bytes:
    """A whole answer, as dockerd gives it to a request with `Connection: close`; with `chunks`, in such pieces."""
    head = b"HTTP/1.1 %d Said\r\nConnection: close\r\n" % status
    if not chunks:
        return b"HTTP/1.1 %d Said\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b" % (
            status,
            len(content),
            content,
        )
    pieces = [content[begin : begin + chunks] for begin in range(0, len(content), chunks)]
    body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in (*pieces, b""))
    return b"%bTransfer-Encoding: chunked\r\n\r\n%b" % (head, body)


@dataclass
class ScriptedDocker:
    """What it answers, by method and path without the query, and what it was asked.

    Attributes:
        asked: method, target, headers and body of each request, the question for the version left out.
    """

    answers: dict[str, bytes] = field(default_factory=dict)
    version: bytes = field(default_factory=lambda: answer(VERSION))
    asked: list[tuple[str, str, str, bytes]] = field(default_factory=list)

    @property
    def lines(self) -> list[str]:
        """Method and target of each request."""
        return [f"{method} {target}" for method, target, _, _ in self.asked]

    def said_to(self, head: str, body: bytes) -> bytes:
        """The answer to one request."""
        line, _, headers = head.partition("\r\n")
        method, target, _ = line.split(" ")
        if target == "/version":
            return self.version
        self.asked.append((method, target, headers, body))
        return self.answers.get(f"{method} {target.partition('?')[0]}", b"")


@contextmanager
def scripted(docker: ScriptedDocker, path: Path) -> Iterator[None]:
    """Have it listen for as long as the body runs."""

    class Connection(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            head = b""
            while not head.endswith(b"\r\n\r\n") and (line := self.rfile.readline()):
                head += line
            length = re.search(rb"(?i)\r\ncontent-length: *([0-9]+)", head)
            self.wfile.write(docker.said_to(head.decode(), self.rfile.read(int(length[1])) if length else b""))

    with socketserver.ThreadingUnixStreamServer(str(path), Connection) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()
            path.unlink()
