"""HTTP to Docker on its unix socket, and Docker's failures as the port's. The only way from the agent to Docker.

What holds here: a connection carries one request, so that none outlives the dockerd that it was made to. Every part of
a path and every value of a query is quoted, so that a request's first line is ours alone. An answer is bounded.
Whatever goes wrong leaves as one of the port's errors, with what Docker said in its text, which is for the log.
Never: follows a redirect, keeps a connection, looks at the environment or at anybody's files, credentials among them.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, urlencode

from hubwarden_agent.engine.http_answer import HttpAnswer
from hubwarden_agent.engine.port import Conflict, EngineError, EngineUnavailable, NotFound
from hubwarden_agent.errors import Refusal

OLDEST_API = (1, 40)
"""Docker 19.03's. Before it, a mounted host path brings along what is mounted below it, whatever a mount asks for."""
NEWEST_API = (1, 45)
"""Docker 26.1's, which this was tested with. A newer Docker is asked in this one."""
ANSWER_BYTES = 64 * 1024**2
"""An engine with 50,000 volumes lists them in a third of this."""
COMPLAINT_BYTES = 4096
LINE_BYTES = 64 * 1024
"""The longest that Docker may say at once of a pull's progress."""
DONE = frozenset({*range(200, 300), 304})
"""The last: what was to be started or stopped is so already."""
REFUSALS: Mapping[int, type[EngineError]] = {404: NotFound, 409: Conflict}


@contextmanager
def translated() -> Iterator[None]:
    """What can go wrong between us and Docker as the port's errors."""
    try:
        yield
    except OSError as error:
        raise EngineUnavailable(f"Docker does not answer: {error!r}") from error
    except (KeyError, TypeError, ValueError, AttributeError, Refusal) as error:
        raise EngineError(f"Docker answered something that we cannot read: {error!r}") from error


class DockerApi:
    """Docker's API, in the newest version that both sides know. Threads share it.

    Every method raises the port's errors for what Docker refuses, and what `translated` is for.

    Args:
        path: the socket's.
        timeout: seconds for which Docker may be silent.
        first_timeout: the same while it is asked for its version, which comes before everything else.
    """

    def __init__(self, path: str, timeout: float, first_timeout: float) -> None:
        self._path = path
        self._timeout = timeout
        self._first_timeout = first_timeout
        self._spoken: tuple[int, int] | None = None

    def agree(self) -> tuple[int, int]:
        """Settle the API's version with Docker, which shows that it answers: the one question put without a version."""
        said = self._said("GET", "/version", self._first_timeout)
        oldest, newest = _version(said.get("MinAPIVersion", "1.24")), _version(said["ApiVersion"])
        if newest < OLDEST_API or oldest > NEWEST_API:
            raise EngineError(f"Docker's API is {oldest} to {newest}, and ours {OLDEST_API} to {NEWEST_API}")
        self._spoken = min(newest, NEWEST_API)
        return self._spoken

    def spoken(self) -> tuple[int, int]:
        """The API's version. Until there is an answer each thread asks for itself: none waits for another."""
        return self._spoken or self.agree()

    def get(self, *path: str, **query: str | int) -> Any:
        """What is there."""
        return self._said("GET", self._url(path, query), self._timeout)

    def delete(self, *path: str, **query: str | int) -> None:
        """Remove it."""
        self._said("DELETE", self._url(path, query), self._timeout)

    def post(self, *path: str, body: Mapping[str, Any] | None = None, longer: int = 0, **query: str | int) -> Any:
        """Change something, which may take that much `longer`. Returns what Docker says of it; None for nothing."""
        return self._said("POST", self._url(path, query), self._timeout + longer, body)

    @contextmanager
    def posted(self, *path: str, **query: str | int) -> Iterator[HttpAnswer]:
        """Change something, and read meanwhile how it goes."""
        with self._answered("POST", self._url(path, query), self._timeout) as answer:
            yield answer

    def upgraded(self, *path: str, **query: str | int) -> socket.socket:
        """A connection that Docker has turned into a container's streams."""
        with ExitStack() as stack:
            connection = stack.enter_context(_connected(self._path, self._timeout))
            connection.sendall(_request("POST", self._url(path, query), "Connection: Upgrade", "Upgrade: tcp"))
            with connection.makefile("rb") as stream:  # what it holds back is lost: nothing comes before an input does
                status = HttpAnswer(stream).status
            if status != HTTPStatus.SWITCHING_PROTOCOLS:
                raise EngineError(f"Docker does not attach: {status}")
            stack.pop_all()
        return connection

    def _url(self, path: tuple[str, ...], query: Mapping[str, str | int]) -> str:
        """Where `path` is in the API. A part of dots alone would lead to another place."""
        if not all(part.strip(".") for part in path):
            raise EngineError(f"nothing can be called so: {path}")
        major, minor = self.spoken()
        place = "/".join(quote(part, safe="") for part in path)
        return f"/v{major}.{minor}/{place}" + (f"?{urlencode(query)}" if query else "")

    @contextmanager
    def _answered(
        self, method: str, url: str, timeout: float, body: Mapping[str, Any] | None = None
    ) -> Iterator[HttpAnswer]:
        """Docker's answer to what it has done; any other is an error."""
        with _connected(self._path, timeout) as connection, connection.makefile("rb") as stream:
            connection.sendall(_request(method, url, "Connection: close", body=body))
            answer = HttpAnswer(stream)
            if answer.status not in DONE:
                complaint = b""
                with suppress(ConnectionError):  # the status counts, and what else Docker says is for the log
                    complaint = next(answer.pieces(), b"")[:COMPLAINT_BYTES]
                kind = REFUSALS.get(answer.status, EngineError)
                raise kind(f"Docker says {answer.status} to {method} {url}: {complaint.decode('utf-8', 'replace')}")
            yield answer

    def _said(self, method: str, url: str, timeout: float, body: Mapping[str, Any] | None = None) -> Any:
        """The JSON in Docker's answer; None of an empty one."""
        content, size = list[bytes](), 0
        with self._answered(method, url, timeout, body) as answer:
            for piece in answer.pieces():
                content.append(piece)
                size += len(piece)
                if size > ANSWER_BYTES:
                    raise EngineError("Docker's answer is too long")
        return json.loads(b"".join(content)) if content else None


def _version(text: str) -> tuple[int, int]:
    major, minor = text.split(".")
    return int(major), int(minor)


def _connected(path: str, timeout: float) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.settimeout(timeout)
        connection.connect(path)
    except BaseException:
        connection.close()
        raise
    return connection


def _request(method: str, url: str, *headers: str, body: Mapping[str, Any] | None = None) -> bytes:
    content = b"" if body is None else json.dumps(body).encode()
    about = ("Content-Type: application/json",) if content else ()
    length = (f"Content-Length: {len(content)}",) if method == "POST" else ()
    head = (f"{method} {url} HTTP/1.1", "Host: docker", *headers, *about, *length, "", "")
    return "\r\n".join(head).encode() + content


def lines(answer: HttpAnswer) -> Iterator[Any]:
    """An answer's lines, each of which is JSON, as they come."""
    rest = b""
    for piece in answer.pieces():
        *whole, rest = (rest + piece).split(b"\n")
        if len(rest) > LINE_BYTES:
            raise EngineError("a line of Docker's answer is too long")
        yield from map(json.loads, whole)
    if rest:
        yield json.loads(rest)
