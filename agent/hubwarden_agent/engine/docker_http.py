"""Docker's failures as the port's, and the two requests that Docker's client cannot make.

What holds here: whatever goes wrong between us and Docker leaves as one of the port's errors, with what Docker said in
its text, which is for the log.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import Any

import requests
from docker import errors as docker_errors  # noqa: TID251 - part of what talks to Docker

from hubwarden_agent.engine.port import Conflict, EngineError, EngineUnavailable, NotFound
from hubwarden_agent.errors import Refusal


@contextmanager
def translated() -> Iterator[None]:
    """Docker's client's errors as the port's. What Docker said stays in the text, which is for the log."""
    try:
        yield
    except docker_errors.NotFound as error:
        raise NotFound(str(error)) from error
    except docker_errors.APIError as error:
        kind = Conflict if error.status_code == HTTPStatus.CONFLICT else EngineError
        raise kind(str(error)) from error
    except (requests.RequestException, docker_errors.DockerException, OSError, HTTPException) as error:
        raise EngineUnavailable(str(error)) from error
    except (KeyError, TypeError, ValueError, AttributeError, Refusal) as error:
        raise EngineError(f"Docker answered something that we cannot read: {error!r}") from error


def upgraded(path: str, url: str, timeout: float) -> socket.socket:
    """A connection that Docker has turned into a container's streams. The client's own cannot be closed one way.

    Raises:
        EngineError: Docker does not.
        OSError: it cannot be reached, or does not answer within `timeout` seconds.
    """
    with ExitStack() as stack:
        connection = stack.enter_context(_connected(path, timeout))
        with _asked(connection, "POST", url, {"Connection": "Upgrade", "Upgrade": "tcp"}) as answer:
            if answer.status != HTTPStatus.SWITCHING_PROTOCOLS:
                raise EngineError(f"Docker does not attach: {answer.status}")
        stack.pop_all()
    return connection


def asked_json(path: str, url: str, timeout: float) -> Any:
    """What `GET url` answers.

    Raises:
        EngineError: not with 200.
        OSError: as `upgraded`.
    """
    with _connected(path, timeout) as connection, _asked(connection, "GET", url, {"Connection": "close"}) as answer:
        if answer.status != HTTPStatus.OK:
            raise EngineError(f"Docker does not say: {answer.status}")
        return json.load(answer)


def _connected(path: str, timeout: float) -> socket.socket:
    with ExitStack() as stack:
        connection = stack.enter_context(socket.socket(socket.AF_UNIX))
        connection.settimeout(timeout)
        connection.connect(path)
        stack.pop_all()
    return connection


def _asked(connection: socket.socket, method: str, url: str, headers: dict[str, str]) -> HTTPResponse:
    http = HTTPConnection("docker")
    http.sock = connection
    http.request(method, url, headers=headers)
    return http.getresponse()
